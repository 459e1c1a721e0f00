"""Identifiers and cursors of nobody's making are refused or find nothing, whichever database the control data is in."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import call
from tests.acceptance.official import unique_key

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

NUL = "mb\u0000"
PERIOD = {"start_date": "2026-01-01"}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, start_server: StartServer) -> Iterator[Server]:
    """A sandbox whose control data lies in a database of this kind."""
    settings = {"control": request.getfixturevalue("new_postgresql")()} if request.param == "postgresql" else {}
    running = start_server(sandbox="true", **settings)
    yield running
    running.stop()


def cursor(*position: Any) -> dict[str, Any]:
    """The arguments for the page after a position."""
    return {"pagination": {"cursor": urlsafe_b64encode(json.dumps(position).encode()).decode()}}


@pytest.mark.parametrize(
    ("task", "arguments", "field"),
    [
        ("get_media_buys", cursor(2**63, "a", "b"), "pagination.cursor"),
        ("get_media_buys", cursor(-1, "a", "b"), "pagination.cursor"),
        ("get_media_buys", cursor(1, NUL, "b"), "pagination.cursor"),
        ("get_media_buys", {"media_buy_ids": [NUL]}, "media_buy_ids"),
        ("get_media_buy_delivery", {"media_buy_ids": [NUL]} | PERIOD, "media_buy_ids"),
        ("update_media_buy", {"media_buy_id": NUL, "paused": True, "idempotency_key": unique_key()}, "media_buy_id"),
        ("get_products", {"account": {"account_id": NUL}}, "account"),
        ("list_accounts", {"account": {"brand": {"domain": NUL}, "operator": "a"}}, "account"),
    ],
)
def test_what_no_store_takes_is_refused(shop: Server, task: str, arguments: dict[str, Any], field: str) -> None:
    answer = call(shop, "rest", task, arguments)

    assert (answer["adcp_error"]["code"], answer["adcp_error"]["field"]) == ("INVALID_REQUEST", field)


def test_a_nul_in_a_path_finds_nothing(shop: Server) -> None:
    with shop.client() as client:
        assert client.get("/v1/media-buys/mb%00/conversions").status_code == 404
        assert client.get("/v1/events/shop%00/purchase/1").status_code == 404


def test_a_nul_that_is_only_echoed_is_and_one_that_is_spelt_out_is_text(shop: Server) -> None:
    answer = call(shop, "rest", "get_media_buys", {"context": {"trace": NUL}, "media_buy_ids": ["mb\\u0000"]})

    assert answer["context"] == {"trace": NUL}
    assert answer["errors"][0]["code"] == "MEDIA_BUY_NOT_FOUND"
