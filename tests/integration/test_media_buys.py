"""A buyer's agent chooses products, buys them with conversion goals, and reads back what it bought."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import DOORS, Door, call
from tests.acceptance.official import DIALECTS, pinned, refuse_unless_valid, unique_key

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

SOURCES = [
    {"event_source_id": "shop", "event_types": ["purchase", "add_to_cart", "custom"]},
    {"event_source_id": "server"},
]
ROAS = {
    "kind": "event",
    "event_sources": [
        {"event_source_id": "shop", "event_type": "purchase", "value_field": "order_total"},
        {"event_source_id": "server", "event_type": "purchase"},
    ],
    "target": {"kind": "per_ad_spend", "value": 4.0},
    "attribution_window": {"post_click": {"interval": 7, "unit": "days"}},
    "priority": 1,
}
CPA = {
    "kind": "event",
    "event_sources": [{"event_source_id": "server", "event_type": "lead"}],
    "target": {"kind": "cost_per", "value": 35},
}


@pytest.fixture(scope="module")
def seller(start_server: StartServer) -> Server:
    """A sandbox, which has products to try, with two event sources."""
    running = start_server(sandbox="true")
    running.call("sync_event_sources", event_sources=SOURCES).raise_for_status()
    return running


def package(*goals: dict[str, Any], **members: Any) -> dict[str, Any]:
    ordered = {"product_id": "sandbox_display_auction", "pricing_option_id": "auction_cpm_usd", "budget": 5000}
    return ordered | ({"optimization_goals": list(goals)} if goals else {}) | members


def order(*packages: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "account": {"account_id": "default"},
        "brand": {"domain": "acmeoutdoor.example"},
        "start_time": "asap",
        "end_time": "2099-06-30T23:59:59Z",
        "packages": list(packages) or [package()],
    } | members


def buy(seller: Server, *packages: dict[str, Any], **members: Any) -> dict[str, Any]:
    answer = call(seller, "rest", "create_media_buy", order(*packages, **members))
    assert answer["status"] == "completed", answer
    return answer


def refusal(seller: Server, *packages: dict[str, Any], **members: Any) -> list[tuple[str, str]]:
    """Why an order is refused: each error's reason and field."""
    answer = call(seller, "rest", "create_media_buy", order(*packages, **members))
    assert answer["status"] == "failed", answer
    assert answer["errors"][0] == answer["adcp_error"]
    refuse_unless_valid("create_media_buy", answer, None)
    return [(error["details"]["reason"], error["field"]) for error in answer["errors"]]


def found(seller: Server, **arguments: Any) -> list[dict[str, Any]]:
    buys: list[dict[str, Any]] = call(seller, "rest", "get_media_buys", arguments)["media_buys"]
    return buys


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


def goal(*sources: dict[str, Any], **members: Any) -> dict[str, Any]:
    purchase = {"event_source_id": "shop", "event_type": "purchase"}
    return {"kind": "event", "event_sources": list(sources) or [purchase]} | members


def days(interval: int) -> dict[str, Any]:
    return {"interval": interval, "unit": "days"}


SOURCE = "event_sources[0]"
BAD_GOALS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown source": (goal({"event_source_id": "nowhere", "event_type": "purchase"}), f"{SOURCE}.event_source_id"),
    "type that the source doesn't take": (
        goal({"event_source_id": "shop", "event_type": "lead"}),
        f"{SOURCE}.event_type",
    ),
    "type that AdCP doesn't know": (
        goal({"event_source_id": "server", "event_type": "buy"}),
        f"{SOURCE}.event_type",
    ),
    "custom event without a name": (
        goal({"event_source_id": "shop", "event_type": "custom"}),
        f"{SOURCE}.custom_event_name",
    ),
    "no source": (goal() | {"event_sources": None}, "event_sources"),
    "return on spend without a value": (
        goal(target={"kind": "per_ad_spend", "value": 4}),
        f"{SOURCE}.value_field",
    ),
    "most value without a value": (goal(target={"kind": "maximize_value"}), f"{SOURCE}.value_field"),
    "target without its number": (goal(target={"kind": "cost_per"}), "target.value"),
    "target of nothing": (goal(target={"kind": "cost_per", "value": 0}), "target.value"),
    "unknown target": (goal(target={"kind": "cheapest"}), "target.kind"),
    "click window that isn't offered": (
        goal(attribution_window={"post_click": days(365)}),
        "attribution_window.post_click",
    ),
    "view window that isn't offered": (
        goal(attribution_window={"post_click": days(7), "post_view": days(31)}),
        "attribution_window.post_view",
    ),
    "window of the whole campaign": (
        goal(attribution_window={"post_click": {"interval": 1, "unit": "campaign"}}),
        "attribution_window.post_click",
    ),
    "another model": (goal(attribution_window={"post_click": days(7), "model": "linear"}), "attribution_window.model"),
    "goal of another kind": ({"kind": "metric", "metric": "clicks"}, "kind"),
}


@pytest.mark.parametrize("what", BAD_GOALS)
def test_a_goal_that_cannot_be_counted_is_refused(seller: Server, what: str) -> None:
    bad, field = BAD_GOALS[what]

    assert refusal(seller, package(bad)) == [("INVALID_REQUEST", f"packages[0].optimization_goals[0].{field}")]


def test_a_source_may_be_named_by_the_sellers_id_of_it(seller: Server) -> None:
    [shop] = [
        source
        for source in seller.call("sync_event_sources").json()["event_sources"]
        if source["event_source_id"] == "shop"
    ]

    [first] = buy(seller, package(goal({"event_source_id": shop["seller_id"], "event_type": "purchase"})))["packages"]

    assert first["optimization_goals"][0]["event_sources"][0]["event_source_id"] == "shop"


FIXED = {"product_id": "sandbox_video_fixed", "pricing_option_id": "fixed_cpm_usd"}
BAD_ORDERS: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "unknown product": (order(package(product_id="moon")), ("PRODUCT_NOT_FOUND", "packages[0].product_id")),
    "unknown price": (
        order(package(pricing_option_id="free")),
        ("INVALID_PRICING_OPTION", "packages[0].pricing_option_id"),
    ),
    "budget below the least": (order(package(**FIXED, budget=499.99)), ("BUDGET_TOO_LOW", "packages[0].budget")),
    "negative budget": (order(package(budget=-500)), ("INVALID_REQUEST", "packages[0].budget")),
    "bid below the floor": (order(package(bid_price=1.49)), ("INVALID_REQUEST", "packages[0].bid_price")),
    "bid on a fixed price": (order(package(**FIXED, bid_price=30)), ("INVALID_REQUEST", "packages[0].bid_price")),
    "several currencies": (
        order(package(), package(pricing_option_id="auction_cpm_eur")),
        ("INVALID_REQUEST", "packages[0].pricing_option_id"),
    ),
    "past start": (order(start_time="2020-01-01T00:00:00Z"), ("INVALID_REQUEST", "start_time")),
    "end before start": (
        order(start_time="2099-12-31T00:00:00Z", end_time="2099-01-01T00:00:00Z"),
        ("INVALID_REQUEST", "end_time"),
    ),
    "end in the past": (order(end_time="2020-01-01T00:00:00Z"), ("INVALID_REQUEST", "end_time")),
    "start without an offset": (order(start_time="2099-01-01T00:00:00"), ("INVALID_REQUEST", "start_time")),
    "package that begins too soon": (
        order(package(start_time="2026-01-01T00:00:00Z")),
        ("INVALID_REQUEST", "packages[0].start_time"),
    ),
    "package that ends too late": (
        order(package(end_time="2100-01-01T00:00:00Z")),
        ("INVALID_REQUEST", "packages[0].end_time"),
    ),
    "wrong total": (
        order(total_budget={"amount": 1, "currency": "USD"}),
        ("INVALID_REQUEST", "total_budget.amount"),
    ),
    "total in another currency": (
        order(total_budget={"amount": 5000, "currency": "EUR"}),
        ("INVALID_REQUEST", "total_budget.currency"),
    ),
    "no package": (order() | {"packages": []}, ("INVALID_REQUEST", "packages")),
    "proposal": (order(proposal_id="prop_1"), ("INVALID_REQUEST", "proposal_id")),
    "budgets left to the seller": (
        order(budget_allocation={"mode": "seller_optimized"}),
        ("INVALID_REQUEST", "budget_allocation.mode"),
    ),
    "unknown pacing": (order(package(pacing="ada@buyer.example")), ("INVALID_REQUEST", "packages[0].pacing")),
    "somebody else's account": (order(account={"account_id": "globex"}), ("ACCOUNT_NOT_FOUND", "account")),
}


@pytest.mark.parametrize("what", BAD_ORDERS)
def test_an_order_that_cannot_be_filled_is_refused(seller: Server, what: str) -> None:
    arguments, why = BAD_ORDERS[what]

    answer = call(seller, "rest", "create_media_buy", arguments)

    assert (answer["adcp_error"]["details"]["reason"], answer["adcp_error"]["field"]) == why
    assert "ada@buyer.example" not in str(answer)
    refuse_unless_valid("create_media_buy", answer, None)


@pytest.mark.parametrize(
    ("release", "code"),
    [(None, "INVALID_PRICING_OPTION"), ("3.0", "INVALID_REQUEST"), ("3.1", "INVALID_REQUEST"), ("3.2", None)],
)
def test_an_unknown_price_is_told_in_the_words_of_the_release(
    seller: Server, release: str | None, code: str | None
) -> None:
    arguments = pinned(release) | order(package(pricing_option_id="free"))

    answer = call(seller, "rest", "create_media_buy", arguments)

    assert answer["adcp_error"]["code"] == (code or "INVALID_PRICING_OPTION")
    refuse_unless_valid("create_media_buy", answer, release)


def test_everything_that_is_wrong_is_told_at_once(seller: Server) -> None:
    wrong = goal({"event_source_id": "nowhere", "event_type": "custom"}, target={"kind": "maximize_value"})
    at = "packages[1].optimization_goals[0]"

    assert refusal(seller, package(bid_price=1), package(wrong), start_time="2020-01-01T00:00:00Z") == [
        ("INVALID_REQUEST", "start_time"),
        ("INVALID_REQUEST", "packages[0].bid_price"),
        ("INVALID_REQUEST", f"{at}.event_sources[0].event_source_id"),
        ("INVALID_REQUEST", f"{at}.event_sources[0].custom_event_name"),
        ("INVALID_REQUEST", f"{at}.event_sources[0].value_field"),
    ]


def test_a_repeated_order_buys_once(seller: Server) -> None:
    arguments = order(package(ROAS), idempotency_key=unique_key())
    before = len(found(seller, pagination={"max_results": 100}))

    first = call(seller, "rest", "create_media_buy", arguments)
    again = call(seller, "mcp", "create_media_buy", arguments)
    other = call(seller, "rest", "create_media_buy", arguments | {"end_time": "2098-01-01T00:00:00Z"})

    assert again["media_buy_id"] == first["media_buy_id"]
    assert again["replayed"] is True
    assert other["adcp_error"]["code"] == "IDEMPOTENCY_CONFLICT"
    assert len(found(seller, pagination={"max_results": 100})) == before + 1


def test_a_buy_of_a_sales_agent_elsewhere_keeps_its_ids_and_may_have_begun(seller: Server) -> None:
    month_ago = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    theirs = order(
        package(CPA, ext={"postback": {"package_id": "line-1"}}),
        package(ext={"postback": {"package_id": "line-2"}}),
        start_time=month_ago,
        ext={"postback": {"media_buy_id": "gam-4711"}},
    )

    created = call(seller, "rest", "create_media_buy", theirs)
    again = call(seller, "rest", "create_media_buy", theirs)

    assert created["media_buy_id"] == "gam-4711"
    assert [package["package_id"] for package in created["packages"]] == ["line-1", "line-2"]
    assert again["adcp_error"]["field"] == "ext.postback.media_buy_id"


def test_two_packages_cannot_share_an_id(seller: Server) -> None:
    same = package(ext={"postback": {"package_id": "line-1"}})

    assert refusal(seller, same, same) == [
        ("INVALID_REQUEST", "packages[0].ext.postback.package_id"),
        ("INVALID_REQUEST", "packages[1].ext.postback.package_id"),
    ]


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
