"""An order that can't be filled is refused whole, and says all that is wrong with it and where."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import call
from tests.acceptance.official import DIALECTS, pinned, refuse_unless_valid, unique_key
from tests.integration.orders import ROAS, goal, order, package

if TYPE_CHECKING:
    from tests.conftest import Server


def refusal(seller: Server, *packages: dict[str, Any], **members: Any) -> list[tuple[str, str]]:
    """Why an order is refused: each error's reason and field."""
    answer = call(seller, "rest", "create_media_buy", order(*packages, **members))
    assert answer["status"] == "failed", answer
    assert answer["errors"][0] == answer["adcp_error"]
    refuse_unless_valid("create_media_buy", answer, None)
    return [(error["details"]["reason"], error["field"]) for error in answer["errors"]]


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
    "a factor beyond measure": (
        goal({"event_source_id": "shop", "event_type": "purchase", "value_factor": 1e7}),
        f"{SOURCE}.value_factor",
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
    "window in an older spelling": (
        goal(attribution_window={"click_through": "7d"}),
        "attribution_window.click_through",
    ),
    "window in an older spelling beside a valid one": (
        goal(attribution_window={"post_click": days(7), "view_through": "1d"}),
        "attribution_window.view_through",
    ),
    "window that says nothing": (goal(attribution_window={}), "attribution_window"),
    "window beside its field": (goal(click_window=days(7)), "click_window"),
    "value by a path": (
        goal({"event_source_id": "shop", "event_type": "purchase", "value_field": "custom_data.value"}),
        f"{SOURCE}.value_field",
    ),
    "value by a JSON path": (
        goal({"event_source_id": "shop", "event_type": "purchase", "value_field": "$value"}),
        f"{SOURCE}.value_field",
    ),
    "value in an item": (
        goal({"event_source_id": "shop", "event_type": "purchase", "value_field": "contents[0]"}),
        f"{SOURCE}.value_field",
    ),
    "value in a pointer": (
        goal({"event_source_id": "shop", "event_type": "purchase", "value_field": "/value"}),
        f"{SOURCE}.value_field",
    ),
    "value in a text": (
        goal({"event_source_id": "shop", "event_type": "purchase", "value_field": "currency"}),
        f"{SOURCE}.value_field",
    ),
    "value in a list": (
        goal({"event_source_id": "shop", "event_type": "purchase", "value_field": "contents"}),
        f"{SOURCE}.value_field",
    ),
    "goal of another kind": ({"kind": "vendor_metric"}, "kind"),
    "metric of no product": ({"kind": "metric", "metric": "clicks"}, "metric"),
}


@pytest.mark.parametrize("what", BAD_GOALS)
def test_a_goal_that_cannot_be_counted_is_refused(seller: Server, what: str) -> None:
    bad, field = BAD_GOALS[what]

    assert refusal(seller, package(bad)) == [("INVALID_REQUEST", f"packages[0].optimization_goals[0].{field}")]


@pytest.mark.parametrize("value_field", ["order_total", "value", "profit_margin", "num_items", "Umsatz netto", "x$y"])
def test_a_value_may_be_in_any_field_of_the_buyers_own(seller: Server, value_field: str) -> None:
    source = {"event_source_id": "shop", "event_type": "purchase", "value_field": value_field}

    assert call(seller, "rest", "create_media_buy", order(package(goal(source))))["status"] == "completed"


@pytest.mark.parametrize("name", ["optimization_goal", "optimizationGoals", "goals", "conversion_events"])
def test_a_goal_in_another_place_or_spelling_is_refused_wherever_it_stands(seller: Server, name: str) -> None:
    misplaced = {name: [goal()]}

    assert refusal(seller, package(**misplaced)) == [("INVALID_REQUEST", f"packages[0].{name}")]
    assert refusal(seller, package(), **misplaced) == [("INVALID_REQUEST", name)]
    bought = call(seller, "rest", "create_media_buy", order(package()))
    package_id = bought["packages"][0]["package_id"]
    for field, change in (
        (f"packages[0].{name}", {"packages": [{"package_id": package_id, "budget": 6000, **misplaced}]}),
        (f"new_packages[0].{name}", {"new_packages": [package(**misplaced)]}),
        (name, {"name": "n", **misplaced}),
    ):
        update = {"media_buy_id": bought["media_buy_id"], "idempotency_key": unique_key(), **change}
        answer = call(seller, "rest", "update_media_buy", update)
        assert (answer["adcp_error"]["code"], answer["adcp_error"]["field"]) == ("INVALID_REQUEST", field)


def test_an_update_refuses_the_goals_that_an_order_refuses(seller: Server) -> None:
    bought = call(seller, "rest", "create_media_buy", order(package(goal())))
    package_id = bought["packages"][0]["package_id"]
    for what, (bad, field) in BAD_GOALS.items():
        change = {"packages": [{"package_id": package_id, "optimization_goals": [bad]}]}
        update = {"media_buy_id": bought["media_buy_id"], "idempotency_key": unique_key(), **change}
        answer = call(seller, "rest", "update_media_buy", update)
        assert answer["adcp_error"]["field"] == f"packages[0].optimization_goals[0].{field}", what


@pytest.mark.parametrize(("release", "accepted"), [("3.0", False), ("3.1", True), ("3.2", True), (None, True)])
def test_a_window_of_a_model_alone_is_one_from_3_1_on(seller: Server, release: str | None, accepted: bool) -> None:
    arguments = pinned(release) | order(package(goal(attribution_window={"model": "last_touch"})))

    answer = call(seller, "rest", "create_media_buy", arguments)

    assert answer["status"] == ("failed" if not accepted else "active" if release == "3.0" else "completed")
    if accepted:
        window = answer["packages"][0]["optimization_goals"][0]["attribution_window"]
        assert (window["post_click"], window["post_view"]) == (days(30), days(1))


def test_the_kind_that_a_window_leaves_out_has_the_default(seller: Server) -> None:
    answer = call(seller, "rest", "create_media_buy", order(package(goal(attribution_window={"post_view": days(7)}))))

    window = answer["packages"][0]["optimization_goals"][0]["attribution_window"]
    assert (window["post_click"], window["post_view"]) == (days(30), days(7))


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
    "terms of measurement": (
        order(package(measurement_terms={"billing_measurement": {}})),
        ("TERMS_REJECTED", "packages[0].measurement_terms"),
    ),
    "no idempotency key": (
        {name: value for name, value in order().items() if name != "idempotency_key"},
        ("INVALID_REQUEST", "idempotency_key"),
    ),
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


def test_two_packages_cannot_share_an_id(seller: Server) -> None:
    same = package(ext={"postback": {"package_id": "line-1"}})

    assert refusal(seller, same, same) == [
        ("INVALID_REQUEST", "packages[0].ext.postback.package_id"),
        ("INVALID_REQUEST", "packages[1].ext.postback.package_id"),
    ]


JUNK: tuple[Any, ...] = (
    None,
    -1,
    1e300,
    "",
    "\x00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    [],
    [None],
    {"a": {}},
)


def places(tree: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """The path of everything inside a JSON value."""
    members = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in members:
        yield *path, name
        yield from places(value, *path, name)


def test_an_order_of_any_shape_gets_a_valid_answer(seller: Server) -> None:
    whole = order(package(ROAS, start_time="2098-01-01T00:00:00Z", context={"a": 1}), name="n", paused=False)
    whole |= {"ext": {"postback": {}}, "total_budget": {"amount": 5000, "currency": "USD"}}
    with seller.client() as client:
        for path in places(whole):
            for junk in JUNK:
                broken = json.loads(json.dumps(whole))
                functools.reduce(operator.getitem, path[:-1], broken)[path[-1]] = junk
                if path != ("idempotency_key",):
                    broken["idempotency_key"] = unique_key()
                response = client.post("/v1/create_media_buy", json=broken)
                assert response.status_code in {200, 400}, (path, junk)
                refuse_unless_valid("create_media_buy", response.json(), None)


@pytest.mark.parametrize("release", DIALECTS)
@pytest.mark.parametrize("task", ["get_products", "get_media_buys"])
def test_a_failure_to_read_is_valid_too(seller: Server, task: str, release: str | None) -> None:
    answer = call(seller, "rest", task, pinned(release) | {"account": {"account_id": "globex"}})

    assert answer["adcp_error"]["code"] == "ACCOUNT_NOT_FOUND"
    refuse_unless_valid(task, answer, release)
