"""A buyer's agent chooses products, buys them with conversion goals, and reads back what it bought."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import DOORS, Door, call
from tests.acceptance.official import DIALECTS, pinned, refuse_unless_valid, unique_key
from tests.integration.orders import CPA, ROAS, buy, found, found_on_all_pages, goal, order, package

if TYPE_CHECKING:
    from tests.conftest import Server


@pytest.mark.parametrize("release", DIALECTS)
@pytest.mark.parametrize("door", DOORS)
def test_the_whole_story_is_valid_in_every_release(seller: Server, door: Door, release: str | None) -> None:
    products = call(seller, door, "get_products", pinned(release) | {"buying_mode": "brief", "brief": "video"})
    refuse_unless_valid("get_products", products, release)
    assert products["products"][0]["product_id"] == "sandbox_video_fixed"
    assert len(products["products"]) == 3

    packages = package(ROAS, CPA, bid_price=2, pacing="even", context={"line": 1}), package(paused=True)
    created = call(seller, door, "create_media_buy", pinned(release) | order(*packages, name="Autumn"))
    refuse_unless_valid("create_media_buy", created, release)
    assert created["status"] == ("active" if release == "3.0" else "completed")
    assert created["media_buy_status"] == "active"
    assert created["sandbox"] is True

    named = {"media_buy_ids": [created["media_buy_id"], "mb_of_nobody"]}
    read = call(seller, door, "get_media_buys", pinned(release) | named)
    refuse_unless_valid("get_media_buys", read, release)
    [bought] = read["media_buys"]
    assert bought["packages"] == created["packages"]
    assert (bought["name"], bought["currency"], bought["total_budget"]) == ("Autumn", "USD", 10_000)
    assert [error["field"] for error in read["errors"]] == ["media_buy_ids[1]"]


def test_capabilities_say_which_goals_can_be_set(seller: Server) -> None:
    answer = call(seller, "rest", "get_adcp_capabilities", {"adcp_version": "3.2"})

    tracking = answer["media_buy"]["conversion_tracking"]
    assert tracking["supported_targets"] == ["cost_per", "per_ad_spend", "maximize_value"]
    assert {"interval": 90, "unit": "days"} in tracking["attribution_windows"][0]["post_click"]
    assert {"interval": 30, "unit": "days"} in tracking["attribution_windows"][0]["post_view"]
    refuse_unless_valid("get_adcp_capabilities", answer, "3.2")


def test_goals_come_back_with_the_windows_that_apply(seller: Server) -> None:
    [first] = buy(seller, package(ROAS, CPA))["packages"]

    chosen, default = (goal["attribution_window"] for goal in first["optimization_goals"])
    assert chosen["post_click"] == {"interval": 7, "unit": "days"}
    assert chosen["post_view"] == {"interval": 1, "unit": "days"}
    assert default["post_click"] == {"interval": 30, "unit": "days"}
    assert first["optimization_goals"][0]["event_sources"] == ROAS["event_sources"]


def test_a_source_may_be_named_by_the_sellers_id_of_it(seller: Server) -> None:
    [shop] = [
        source
        for source in seller.call("sync_event_sources").json()["event_sources"]
        if source["event_source_id"] == "shop"
    ]

    [first] = buy(seller, package(goal({"event_source_id": shop["seller_id"], "event_type": "purchase"})))["packages"]

    assert first["optimization_goals"][0]["event_sources"][0]["event_source_id"] == "shop"


def test_a_repeated_order_buys_once(seller: Server) -> None:
    arguments = order(package(ROAS), idempotency_key=unique_key())
    before = len(found_on_all_pages(seller))

    first = call(seller, "rest", "create_media_buy", arguments)
    again = call(seller, "mcp", "create_media_buy", arguments)
    other = call(seller, "rest", "create_media_buy", arguments | {"end_time": "2098-01-01T00:00:00Z"})

    assert again["media_buy_id"] == first["media_buy_id"]
    assert again["replayed"] is True
    assert other["adcp_error"]["code"] == "IDEMPOTENCY_CONFLICT"
    assert len(found_on_all_pages(seller)) == before + 1


def test_a_buy_of_a_sales_agent_elsewhere_keeps_its_ids_and_may_have_begun(seller: Server) -> None:
    month_ago = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    theirs = order(
        package(CPA, ext={"postback": {"package_id": "line-1"}}),
        package(ext={"postback": {"package_id": "line-2"}}),
        start_time=month_ago,
        ext={"postback": {"media_buy_id": "gam-4711"}},
    )

    created = call(seller, "rest", "create_media_buy", theirs)
    again = call(seller, "rest", "create_media_buy", theirs | {"idempotency_key": unique_key()})

    assert created["media_buy_id"] == "gam-4711"
    assert [package["package_id"] for package in created["packages"]] == ["line-1", "line-2"]
    assert again["adcp_error"]["field"] == "ext.postback.media_buy_id"


def test_status_follows_the_dates(seller: Server) -> None:
    own = {"ext": {"postback": {"media_buy_id": "last-year"}}}
    past = {"start_time": "2020-01-01T00:00:00Z", "end_time": "2021-01-01T00:00:00Z"}
    ids = {
        "active": buy(seller)["media_buy_id"],
        "pending_start": buy(seller, start_time="2098-01-01T00:00:00Z")["media_buy_id"],
        "paused": buy(seller, paused=True)["media_buy_id"],
        "completed": buy(seller, **own, **past)["media_buy_id"],
    }

    for status, media_buy_id in ids.items():
        [bought] = found(seller, media_buy_ids=[media_buy_id])
        assert bought["status"] == status
        assert [b["media_buy_id"] for b in found(seller, media_buy_ids=[media_buy_id], status_filter=status)]
        assert not found(seller, media_buy_ids=[media_buy_id], status_filter=["rejected", "canceled"])
    listed = {bought["status"] for bought in found(seller, pagination={"max_results": 100})}
    assert listed == {"active"}


def test_pages_follow_each_other(seller: Server) -> None:
    ids = [buy(seller)["media_buy_id"] for _ in range(5)]
    seen: list[str] = []
    pagination: dict[str, Any] = {"max_results": 2}
    while True:
        answer = call(seller, "rest", "get_media_buys", {"media_buy_ids": ids, "pagination": pagination})
        seen += [bought["media_buy_id"] for bought in answer["media_buys"]]
        if not answer["pagination"]["has_more"]:
            break
        pagination = {"max_results": 2, "cursor": answer["pagination"]["cursor"]}

    assert sorted(seen) == sorted(ids)
    assert "cursor" not in answer["pagination"]


@pytest.mark.parametrize("task", ["get_products", "get_media_buys"])
@pytest.mark.parametrize("cursor", ["nonsense", "IjEyMyI=", "é"])
def test_a_cursor_of_somebody_elses_making_is_refused(seller: Server, task: str, cursor: str) -> None:
    answer = call(seller, "rest", task, {"pagination": {"cursor": cursor}})

    assert answer["adcp_error"]["field"] == "pagination.cursor"


def test_products_are_narrowed_by_filters_and_not_by_words(seller: Server) -> None:
    def ids(**arguments: Any) -> list[str]:
        answer = call(seller, "rest", "get_products", arguments)
        refuse_unless_valid("get_products", answer, None)
        return [product["product_id"] for product in answer["products"]]

    display, video, retail = "sandbox_display_auction", "sandbox_video_fixed", "sandbox_retail_click"
    assert ids() == [display, video, retail]
    assert ids(buying_mode="brief", brief="Retail media, sponsored search") == [retail, display, video]
    assert ids(buying_mode="brief", brief="zeppelin") == [display, video, retail]
    assert ids(filters={"channels": ["olv", "ctv"]}) == [video]
    assert ids(filters={"pricing_currencies": ["EUR"]}) == [display]
    assert ids(filters={"is_fixed_price": True}) == [video, retail]
    assert ids(filters={"delivery_type": "guaranteed", "pricing_currencies": ["EUR"]}) == []
    assert ids(fields=["pricing_options"]) == [display, video, retail]


def test_products_come_in_pages(seller: Server) -> None:
    first = call(seller, "rest", "get_products", {"buying_mode": "wholesale", "pagination": {"max_results": 2}})
    rest = call(seller, "rest", "get_products", {"pagination": {"cursor": first["pagination"]["cursor"]}})

    assert len(first["products"]) == 2
    assert [product["product_id"] for product in rest["products"]] == ["sandbox_retail_click"]
    assert rest["pagination"] == {"has_more": False}


def test_a_server_without_products_offers_none(server: Server) -> None:
    answer = call(server, "rest", "get_products", {"brief": "anything"})

    assert answer["products"] == []
    refuse_unless_valid("get_products", answer, None)
