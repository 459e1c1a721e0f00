"""Checks of what counts as a conversion, where a sandbox's comply_test_controller lets it be seen.

Each check buys media whose goal is the value of its events, logs some, lets conversions be simulated as AdCP's own
storyboards do, and reads what value they are reported to have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from postback.suite.answer import Answer, dicts
from postback.suite.check import Skipped, check, expect
from postback.suite.seller import Seller, event, fresh

__all__: list[str] = []

_ACCOUNT = {"brand": {"domain": "acmeoutdoor.example"}, "operator": "pinnacle-agency.example"}
_PRODUCT, _PRICE = "conformance_suite", "auction_cpm"
_SEEDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("seed_product", {"delivery_type": "non_guaranteed", "channels": ["display"]}),
    ("seed_pricing_option", {"pricing_model": "cpm", "currency": "USD", "floor_price": 1.5}),
)
_NEEDED = {"seed_product", "seed_pricing_option", "simulate_delivery"}
_Batch = tuple[dict[str, Any], dict[str, Any]]
"""An event, and what else is said in its call."""


@check("counted/duplicate", "required", "An event that is logged twice counts once, as it was logged first.")
def duplicate(seller: Seller) -> None:
    name = fresh("twice")
    _worth(seller, 10, _of(name, 10), _of(name, 7))


@check("counted/other-type", "required", "The same event_id of another event_type is another event.")
def other_type(seller: Seller) -> None:
    name = fresh("shared")
    _worth(seller, 15, _of(name, 10), _of(name, 5, event_type="lead"))


@check("counted/failed-event", "required", "An event that failed doesn't count; corrected it does.")
def failed_event(seller: Seller) -> None:
    name = fresh("corrected")
    _worth(seller, 10, _of(name, 7, event_time="yesterday"), _of(name, 10))


@check("counted/test-event", "required", "A test event counts nowhere, and doesn't take the place of the live one.")
def test_event(seller: Seller) -> None:
    name = fresh("trial")
    trial, said = _of(name, 7)
    _worth(seller, 10, (trial, {**said, "test_event_code": "SUITE"}), _of(name, 10))


@check("counted/other-currency", "recommended", "A value in another currency than the media buy's isn't added to it.")
def other_currency(seller: Seller) -> None:
    _worth(seller, 10, _of(fresh("usd"), 10), _of(fresh("eur"), 5, currency="EUR"))


@check("counted/refund", "recommended", "A refund takes its value off again.")
def refund(seller: Seller) -> None:
    _worth(seller, 6, _of(fresh("bought"), 10), _of(fresh("returned"), 4, event_type="refund"))


def _of(event_id: str, value: float, *, currency: str = "USD", **members: Any) -> _Batch:
    """An event that is worth something, in a call of its own; in the future, as the media buy is."""
    money = {"value": value, "currency": currency}
    return event(event_id, **{"event_time": "2099-06-05T14:30:00Z", "custom_data": money, **members}), {}


def _worth(seller: Seller, expected: float, *batches: _Batch) -> None:
    """See that what was logged is reported as worth so much, where a single event's value is reported at all."""
    scenarios = seller.declared("compliance_testing", "scenarios")
    if not isinstance(scenarios, list) or not {str(scenario) for scenario in scenarios} >= _NEEDED:
        raise Skipped("the server has no test controller to see it by")
    types = dict.fromkeys(logged["event_type"] for logged, _ in batches)
    if untaken := [event_type for event_type in types if not seller.takes(event_type)]:
        raise Skipped(f"the server takes no {untaken[0]} events")
    if _value_of(seller, [_of(fresh("alone"), 3)], ["purchase"])[0] != 3:
        raise Skipped("the server's sandbox doesn't report the value of what was logged")
    value, answer = _value_of(seller, batches, list(types))
    expect(value == expected, f"conversion_value {expected}", answer.body)


def _value_of(seller: Seller, batches: Sequence[_Batch], types: Sequence[str]) -> tuple[Any, Answer]:
    """Log events for a media buy of their own; returns their value as delivery reports it."""
    seller = _with_account(seller)
    source = fresh("counted")
    _done(seller.call("sync_event_sources", event_sources=[{"event_source_id": source, "name": "Conformance suite"}]))
    media_buy_id = _bought(seller, source, types)
    for logged, said in batches:
        seller.log(logged, source=source, **said)
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
    """The seller with an account to buy for: the one that was given, one that the key has, or the test kits'."""
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


def _done(answer: Answer) -> Answer:
    expect(not answer.failed, "the call to succeed", answer.body)
    return answer
