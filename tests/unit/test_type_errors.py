"""What is wrong with a member is told in JSON's words, with the values that it may have."""

from __future__ import annotations

from typing import Any

import pytest

from postback.errors import InvalidRequest
from postback.media_buys.update_request import UpdateMediaBuyRequest
from postback.tasks.arguments import Arguments
from postback.tasks.get_media_buys import GetMediaBuysRequest

_STATUSES = "pending_creatives, pending_start, active, paused, completed, rejected, canceled"
_PACKAGE = b'{"media_buy_id": "mb", "packages": [{"package_id": "p", %s}]}'


@pytest.mark.parametrize(
    ("shape", "body", "told"),
    [
        (GetMediaBuysRequest, b'{"status_filter": "ended"}', f"status_filter must be one of {_STATUSES}."),
        (GetMediaBuysRequest, b'{"status_filter": ["active", "x"]}', f"status_filter[1] must be one of {_STATUSES}."),
        (
            UpdateMediaBuyRequest,
            _PACKAGE % b'"pacing": 1',
            "packages[0].pacing must be one of even, asap, front_loaded.",
        ),
        (
            UpdateMediaBuyRequest,
            _PACKAGE % b'"budget": "7"',
            "packages[0].budget must be a JSON number, for example 12.50 without quotes and with a point before the "
            "decimals; it is a string.",
        ),
        (
            UpdateMediaBuyRequest,
            b'{"media_buy_id": 5}',
            "media_buy_id must be a string in quotes; it is an integer.",
        ),
        (UpdateMediaBuyRequest, b"{}", "media_buy_id is required."),
    ],
)
def test_a_member_of_the_wrong_shape_is_told_what_it_should_be(shape: Any, body: bytes, told: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Arguments(body).to(shape)

    assert refused.value.message == told
