"""Identifiers and cursors that nobody can have find nothing, whichever database the control data lies in."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import call, order
from tests.acceptance.official import unique_key
from tests.integration.orders import buy, found, package

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

NUL = "mb\u0000"


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


@pytest.mark.parametrize("position", [(2**63, "a", "b"), (2**53, "a", "b"), (-1, "a", "b"), (1, "a"), ("1", "a", "b")])
def test_a_cursor_that_no_list_returned_is_refused(shop: Server, position: tuple[Any, ...]) -> None:
    answer = call(shop, "rest", "get_media_buys", cursor(*position))

    assert answer["adcp_error"]["code"] == "INVALID_REQUEST"
    assert answer["adcp_error"]["field"] == "pagination.cursor"


@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        ("get_media_buys", {"media_buy_ids": [NUL]}),
        ("get_media_buy_delivery", {"media_buy_ids": [NUL]}),
        ("update_media_buy", {"media_buy_id": NUL, "paused": True, "idempotency_key": unique_key()}),
    ],
)
def test_a_nul_names_no_media_buy(shop: Server, task: str, arguments: dict[str, Any]) -> None:
    answer = call(shop, "rest", task, arguments)

    assert answer["errors"][0]["code"] == "MEDIA_BUY_NOT_FOUND"


def test_a_nul_names_no_source_and_no_account(shop: Server) -> None:
    unknown = {"event_source_id": NUL, "events": [order("1")]}

    assert call(shop, "rest", "log_event", unknown)["adcp_error"]["code"] == "EVENT_SOURCE_NOT_FOUND"
    strange = {"account": {"account_id": NUL}}
    assert call(shop, "rest", "get_products", strange)["adcp_error"]["code"] == "ACCOUNT_NOT_FOUND"


def test_a_nul_in_a_path_finds_nothing(shop: Server) -> None:
    with shop.client() as client:
        assert client.get("/v1/media-buys/mb%00/conversions").status_code == 404
        assert client.get("/v1/events/shop%00/purchase/1").status_code == 404


def test_a_position_after_a_nul_is_one_in_the_list(shop: Server) -> None:
    assert call(shop, "rest", "get_media_buys", cursor(1, NUL, NUL))["media_buys"] == []


def test_what_a_buyer_calls_things_is_kept_and_shown_as_it_is(shop: Server) -> None:
    bought = buy(shop, package(context={"trace": NUL}), name=NUL)

    [shown] = found(shop, media_buy_ids=[bought["media_buy_id"]])

    assert (shown["name"], shown["packages"][0]["context"]) == (NUL, {"trace": NUL})
