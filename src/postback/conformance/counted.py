"""Checks of what counts as a conversion, for sandboxes whose comply_test_controller shows it.

Each check buys media with a goal for its events' value, logs some, simulates conversions like AdCP's own storyboards,
and reads the reported value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from postback.conformance.answer import SellerAnswer, dicts
from postback.conformance.check import Skipped, check, expect
from postback.conformance.seller import Seller, event, fresh

__all__: list[str] = []

_ACCOUNT = {"brand": {"domain": "acmeoutdoor.example"}, "operator": "pinnacle-agency.example"}
_PRODUCT, _PRICE = "conformance_suite", "auction_cpm"
_SEEDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("seed_product", {"delivery_type": "non_guaranteed", "channels": ["display"]}),
    ("seed_pricing_option", {"pricing_model": "cpm", "currency": "USD", "floor_price": 1.5}),
)
_NEEDED = {"seed_product", "seed_pricing_option", "simulate_delivery"}
_Batch = tuple[dict[str, Any], dict[str, Any]]
"""An event, and the other arguments of its call."""


@check("counted/duplicate", "required", "An event that is logged twice counts once, with its first value.")
def duplicate(seller: Seller) -> None:
    name = fresh("twice")
    _expect_value(seller, 10, _of(name, 10), _of(name, 7))


@check("counted/other-type", "required", "The same event_id with another event_type is another event.")
def other_type(seller: Seller) -> None:
    name = fresh("shared")
    _expect_value(seller, 15, _of(name, 10), _of(name, 5, event_type="lead"))


@check("counted/failed-event", "required", "An event that failed doesn't count; once corrected, it does.")
def failed_event(seller: Seller) -> None:
    name = fresh("corrected")
    _expect_value(seller, 10, _of(name, 7, event_time="yesterday"), _of(name, 10))


@check("counted/test-event", "required", "A test event doesn't count, and doesn't replace the live event.")
def test_event(seller: Seller) -> None:
    name = fresh("trial")
    trial, said = _of(name, 7)
    _expect_value(seller, 10, (trial, {**said, "test_event_code": "SUITE"}), _of(name, 10))


@check("counted/other-currency", "recommended", "A value that isn't in the media buy's currency isn't added.")
def other_currency(seller: Seller) -> None:
    _expect_value(seller, 10, _of(fresh("usd"), 10), _of(fresh("eur"), 5, currency="EUR"))


@check("counted/refund", "recommended", "A refund subtracts its value.")
def refund(seller: Seller) -> None:
    _expect_value(seller, 6, _of(fresh("bought"), 10), _of(fresh("returned"), 4, event_type="refund"))


def _of(event_id: str, value: float, *, currency: str = "USD", **fields: Any) -> _Batch:
    """An event with a value, in a call of its own; in the future, like the media buy."""
    money = {"value": value, "currency": currency}
    return event(event_id, **{"event_time": "2099-06-05T14:30:00Z", "custom_data": money, **fields}), {}


def _expect_value(seller: Seller, expected: float, *batches: _Batch) -> None:
    """Check the reported value of what was logged; skips if the server doesn't report even a single event's value."""
    scenarios = seller.declared("compliance_testing", "scenarios")
    if not isinstance(scenarios, list) or not {str(scenario) for scenario in scenarios} >= _NEEDED:
        raise Skipped("the server has no test controller that shows it")
    types = dict.fromkeys(logged["event_type"] for logged, _ in batches)
    if unaccepted := [event_type for event_type in types if not seller.accepts(event_type)]:
        raise Skipped(f"the server doesn't accept {unaccepted[0]} events")
    if _value_of(seller, [_of(fresh("alone"), 3)], ["purchase"])[0] != 3:
        raise Skipped("the server's sandbox doesn't report the value of logged events")
    value, answer = _value_of(seller, batches, list(types))
    expect(value == expected, f"conversion_value {expected}", answer.body)


def _value_of(seller: Seller, batches: Sequence[_Batch], types: Sequence[str]) -> tuple[Any, SellerAnswer]:
    """Log events for a new media buy; returns their value in the delivery report."""
    seller = _with_account(seller)
    source = fresh("counted")
    _done(seller.call("sync_event_sources", event_sources=[{"event_source_id": source, "name": "Conformance suite"}]))
    media_buy_id = _bought(seller, source, types)
    for logged, arguments in batches:
        seller.log(logged, source=source, **arguments)
    simulated = {"media_buy_id": media_buy_id, "impressions": 1000, "clicks": 10, "conversions": 1}
    _control(seller, "simulate_delivery", simulated | {"reported_spend": {"amount": 10, "currency": "USD"}})
    answer = seller.call("get_media_buy_delivery", media_buy_ids=[media_buy_id])
    rows = dicts(answer.body.get("media_buy_deliveries"))
    totals = rows[0].get("totals") if rows else None
    return totals.get("conversion_value") if isinstance(totals, dict) else None, answer


def _bought(seller: Seller, source: str, types: Sequence[str]) -> Any:
    for scenario, fixture in _SEEDS:
        params = {"product_id": _PRODUCT, "pricing_option_id": _PRICE, "fixture": fixture}
        _control(seller, scenario, params)
    sources = [{"event_source_id": source, "event_type": each, "value_field": "value"} for each in types]
    goal = {"kind": "event", "event_sources": sources, "target": {"kind": "per_ad_spend", "value": 4}, "priority": 1}
    package = {
        "product_id": _PRODUCT,
        "pricing_option_id": _PRICE,
        "budget": 5000,
        "bid_price": 2,
        "optimization_goals": [goal],
    }
    answer = seller.call(
        "create_media_buy",
        brand=_ACCOUNT["brand"],
        start_time="asap",
        end_time="2099-06-30T23:59:59Z",
        packages=[package],
    )
    return _done(answer).body.get("media_buy_id")


def _with_account(seller: Seller) -> Seller:
    """The seller with an account to buy for: the given one, one of the key's, or the test kits'."""
    if seller.account:
        return seller
    known = dicts(seller.call("list_accounts").body.get("accounts"))
    if known:
        return seller.acting_for({"account_id": known[0].get("account_id")})
    _done(seller.call("sync_accounts", accounts=[{**_ACCOUNT, "billing": "operator"}]))
    return seller.acting_for(_ACCOUNT)


def _control(seller: Seller, scenario: str, params: dict[str, Any]) -> None:
    answer = seller.call("comply_test_controller", account={"sandbox": True}, scenario=scenario, params=params)
    expect(answer.body.get("success") is True, f"{scenario} to succeed", answer.body)


def _done(answer: SellerAnswer) -> SellerAnswer:
    expect(not answer.failed, "the call to succeed", answer.body)
    return answer
