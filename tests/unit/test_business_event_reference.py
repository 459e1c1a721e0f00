"""The reference for copies, linked sources and refunds gives what these tables say, row by row."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from tests.business_event_reference import Event, Exposure, Outcome, attribute, business_events

from postback.media_buys.attribution_windows import Duration, Window
from postback.media_buys.goals import EventGoal, GoalSource
from postback.media_buys.media_buy import MediaBuy, Package, PackageGoals

START = datetime(2026, 10, 1, tzinfo=UTC)
DAY = 86_400_000_000
NOW = int(START.timestamp()) * 1_000_000 + 20 * DAY
ADA, BOB, EVE = (bytes([1]) + bytes(14) + bytes([person]) for person in (1, 2, 3))
WEEK = Window(post_click=Duration(interval=7, unit="days"), post_view=Duration(interval=1, unit="days"))


def entry(source: str, event_type: str = "purchase", **more: Any) -> GoalSource:
    return GoalSource(event_source_id=source, event_type=event_type, **({"value_field": "value"} | more))


def goal(*entries: GoalSource, **more: Any) -> EventGoal:
    return EventGoal(kind="event", event_sources=entries, **({"attribution_window": WEEK} | more))


def package(name: str, *goals: EventGoal, final: bool = False, currency: str = "USD") -> PackageGoals:
    bought = Package(
        package_id=name,
        product_id="p",
        pricing_option_id="cpm",
        budget=1.0,
        goals=goals,
        finalized_at=START if final else None,
    )
    buy = MediaBuy(
        account_id="a",
        media_buy_id="mb",
        currency=currency,
        start_at=START,
        end_at=START,
        created_at=START,
        total_budget=1.0,
        packages=(bought,),
    )
    return PackageGoals(buy, bought)


def purchase(event_id: str, value: Any = 100, *, source: str = "web", at: int = NOW, **more: Any) -> Event:
    data = {"value": value, "currency": "USD"} | more.pop("data", {})
    event = Event(source, more.pop("type", "purchase"), event_id, at, more.pop("received_at", at), data=data)
    return replace(event, **({"keys": (ADA,)} | more))


def refund(event_id: str, value: Any = None, *, order: str | None = None, **more: Any) -> Event:
    amount = {"value": None} if value is None else {"value": value, "currency": "USD"}
    return purchase(event_id, **({"type": "refund", "keys": ()} | more), data={**amount, "order_id": order})


def click(exposure_id: str, to: str = "P1", *, at: int = NOW - DAY, keys: tuple[bytes, ...] = (ADA,)) -> Exposure:
    return Exposure(exposure_id, "click", at, at, ("mb", to), keys)


def counted(
    events: list[Event], exposures: list[Exposure], packages: list[PackageGoals], settled: Any = None
) -> dict[str, tuple[Any, ...]]:
    """``source/type/id`` of the first sibling → package, conversions, value, reason."""
    outcomes = attribute(events, exposures, packages, settled or {})
    return {
        "/".join(identities[0]): (outcome.package[1], outcome.conversions, outcome.value, outcome.reason)
        for identities, outcome in outcomes.items()
    }


WEB = goal(entry("web"), entry("web", "refund"))
PIXEL_AND_SERVER = goal(entry("px"), entry("srv"))


def test_the_first_copy_wins_and_lends_from_others_only_identifiers() -> None:
    first = purchase("o1", 100, keys=(), received_at=1)
    second = purchase("o1", 80, keys=(ADA,), received_at=2, at=NOW + DAY)

    (business_event,) = business_events([second, first], [package("P1", WEB)])
    assert (business_event.events[0].at, business_event.keys) == (NOW, frozenset({ADA}))
    assert counted([second, first], [click("c")], [package("P1", WEB)]) == {"web/purchase/o1": ("P1", 1, 100, "")}


def test_siblings_in_two_packages_are_one_conversion() -> None:
    pixel = purchase("o1", 25, source="px", keys=(ADA,))
    server = purchase("o1", 20, source="srv", keys=(BOB,), at=NOW + 5)
    exposures = [click("c1", "P1", at=NOW - 2 * DAY), click("c2", "P2", keys=(BOB,))]
    packages = [package("P1", PIXEL_AND_SERVER), package("P2", PIXEL_AND_SERVER)]

    assert counted([server, pixel], exposures, packages) == {"px/purchase/o1": ("P2", 1, 25, "")}


def test_links_are_transitive_and_hold_for_one_type_only() -> None:
    packages = [
        package("P1", PIXEL_AND_SERVER),
        package("P2", goal(entry("srv"), entry("crm")), final=True),
        package("P3", goal(entry("px", "lead"), entry("web", "purchase"))),
    ]
    events = [purchase("o1", source=source) for source in ("px", "srv", "crm", "web")]

    assert sorted(len(one.events) for one in business_events(events, packages)) == [1, 3]
    leads = [purchase("o1", source=source, type="lead") for source in ("px", "srv")]
    assert [len(one.events) for one in business_events(leads, packages)] == [1, 1]


@pytest.mark.parametrize(
    ("names", "alike"), [(("quiz", "quiz"), 1), (("quiz", "poll"), 2), (("other", "other"), 1), (("other", "else"), 2)]
)
def test_custom_events_are_linked_by_their_names(names: tuple[str, str], alike: int) -> None:
    named = goal(entry("px", "custom", custom_event_name="quiz"), entry("srv", "custom", custom_event_name="quiz"))
    unnamed = goal(entry("px", "custom"), entry("srv", "custom"))
    events = [
        purchase("o1", source=source, type="custom", name=name)
        for source, name in zip(("px", "srv"), names, strict=True)
    ]

    assert len(business_events(events, [package("P1", named, unnamed)])) == alike


def test_the_sibling_that_the_goal_lists_first_leads_whenever_it_arrives() -> None:
    server = purchase("o1", 20, source="srv", at=NOW + DAY, action_source="offline")
    pixel = purchase("o1", 25, source="px", at=NOW, received_at=NOW + 3 * DAY, action_source="website")

    (outcome,) = attribute([server, pixel], [click("c")], [package("P1", PIXEL_AND_SERVER)], {}).values()
    assert (outcome.lead[0], outcome.hour_at, outcome.action_source) == ("px", NOW, "website")


def test_an_exposure_after_the_lead_event_counts_nothing() -> None:
    pixel, server = purchase("o1", source="px", at=NOW - 2 * DAY), purchase("o1", source="srv", at=NOW)

    assert counted([pixel, server], [click("c")], [package("P1", PIXEL_AND_SERVER)])["px/purchase/o1"][0] == ""


def test_the_value_is_that_of_the_first_listed_entry_with_a_value_field_and_no_sibling_replaces_it() -> None:
    listed = goal(entry("px", value_field=None), entry("srv", value_field="net"), entry("crm"))
    pixel, crm = purchase("o1", 1, source="px"), purchase("o1", 3, source="crm")
    server = purchase("o1", 2, source="srv", data={"net": "2"})

    assert counted([pixel, crm], [click("c")], [package("P1", listed)])["crm/purchase/o1"] == ("P1", 1, 3, "")
    assert counted([pixel, crm, server], [click("c")], [package("P1", listed)])["crm/purchase/o1"] == (
        "P1",
        1,
        0,
        "NOT_A_NUMBER",
    )


@pytest.mark.parametrize(
    ("data", "factor", "reason"),
    [
        ({"value": None}, 1, "NO_VALUE_FIELD"),
        ({"value": "7.5"}, 1, "NOT_A_NUMBER"),
        ({"value": {"amount": 7}}, 1, "NOT_A_NUMBER"),
        ({"value": True}, 1, "NOT_A_NUMBER"),
        ({"currency": None}, 1, "NO_CURRENCY"),
        ({"currency": "EUR"}, 1, "OTHER_CURRENCY"),
        ({}, 0, "ZERO_FACTOR"),
        ({"value": -7}, 1, "NEGATIVE"),
    ],
)
def test_a_conversion_without_value_says_why(data: dict[str, Any], factor: float, reason: str) -> None:
    packages = [package("P1", goal(entry("web", value_factor=factor)))]

    assert counted([purchase("o1", data=data)], [click("c")], packages)["web/purchase/o1"] == ("P1", 1, 0, reason)


def test_a_refund_undoes_its_purchase_at_any_age_and_by_whatever_later_click() -> None:
    bought = purchase("o1", 80, at=NOW)
    undone = refund("o1", 80, at=NOW + 30 * DAY, keys=(ADA,))
    exposures = [click("c1", "P1"), click("c2", "P2", at=NOW + 29 * DAY)]
    packages = [package("P1", WEB), package("P2", WEB)]

    found = attribute([undone, bought], exposures, packages, {})
    (outcome,) = (one for identities, one in found.items() if identities[0][1] == "refund")
    assert (outcome.package[1], int(outcome.value), outcome.hour_at, outcome.event_type) == ("P1", -80, NOW, "purchase")


def test_a_refund_finds_its_purchase_by_order_id_and_takes_what_is_left_without_an_amount() -> None:
    bought = purchase("px-1", 40, data={"order_id": "A7"})

    assert counted([bought, refund("r1", order="A7")], [click("c")], [package("P1", WEB)])["web/refund/r1"] == (
        "P1",
        0,
        -40,
        "",
    )


@pytest.mark.parametrize(
    ("data", "value", "reason"),
    [
        ({"value": 90, "currency": "EUR"}, 0, "OTHER_CURRENCY"),
        ({"value": None, "currency": "EUR"}, -100, ""),
        ({"value": "all"}, 0, "NOT_A_NUMBER"),
        ({"value": -30, "currency": "USD"}, -30, ""),
        ({"value": 130, "currency": "USD"}, -100, "EXCEEDS_PURCHASE"),
    ],
)
def test_the_amount_of_a_refund(data: dict[str, Any], value: int, reason: str) -> None:
    undone = replace(refund("o1"), data=data)

    assert counted([purchase("o1"), undone], [click("c")], [package("P1", WEB)])["web/refund/o1"] == (
        "P1",
        0,
        value,
        reason,
    )


def test_a_refund_with_a_value_but_not_the_field_that_the_goal_names_counts_nothing() -> None:
    packages = [package("P1", goal(entry("web"), entry("web", "refund", value_field="net")))]

    assert counted([purchase("o1"), refund("o1", 50)], [click("c")], packages)["web/refund/o1"][2:] == (
        0,
        "NO_VALUE_FIELD",
    )


def test_several_refunds_share_what_is_left_in_the_order_of_their_times_those_with_an_amount_first() -> None:
    refunds = [
        refund("r1", at=NOW + 1, order="A"),
        refund("r2", 70, at=NOW + 3, order="A"),
        refund("r3", 50, at=NOW + 2, order="A"),
    ]
    bought = purchase("o1", 100, data={"order_id": "A"})

    found = counted([bought, *refunds], [click("c")], [package("P1", WEB)])
    assert [found[f"web/refund/{r}"][2:] for r in ("r3", "r2", "r1")] == [(-50, ""), (-50, "EXCEEDS_PURCHASE"), (0, "")]


def test_of_several_purchases_of_an_order_the_attributed_the_dearest_the_earliest_is_undone() -> None:
    order = {"order_id": "A"}
    bought = [
        purchase("stranger", 900, keys=(EVE,), data=order),
        purchase("cheap", 10, data=order),
        purchase("later", 50, at=NOW + 1, data=order),
        purchase("first", 50, data=order),
    ]

    (outcome,) = (
        outcome
        for identities, outcome in attribute(
            [*bought, refund("r", 5, order="A")], [click("c")], [package("P1", WEB)], {}
        ).items()
        if identities[0][1] == "refund"
    )
    assert outcome.purchase == ("web", "purchase", "first")


def test_a_refund_of_a_purchase_that_is_not_attributed_or_not_named_counts_nothing() -> None:
    only_purchases = [package("P1", goal(entry("web")))]

    assert counted([purchase("o1"), refund("o1", 5)], [], [package("P1", WEB)])["web/refund/o1"] == (
        "",
        0,
        0,
        "PURCHASE_NOT_ATTRIBUTED",
    )
    assert counted([purchase("o1"), refund("o1", 5)], [click("c")], only_purchases)["web/refund/o1"] == (
        "",
        0,
        0,
        "REFUND_NOT_NAMED",
    )


def test_a_source_that_no_goal_lists_together_with_the_refunds_is_never_searched() -> None:
    packages = [package("P1", WEB), package("P2", goal(entry("crm"), entry("crm", "refund")))]
    bought, undone = purchase("o1", source="web"), refund("o1", 5, source="crm", keys=(ADA,))

    assert counted([bought, undone], [click("c", "P2")], packages)["crm/refund/o1"] == ("P2", 0, -5, "")


def test_a_refund_without_a_known_purchase_goes_by_its_own_identifiers_without_a_cap() -> None:
    assert counted([refund("o1", 500, keys=(ADA,))], [click("c")], [package("P1", WEB)])["web/refund/o1"] == (
        "P1",
        0,
        -500,
        "",
    )


def test_copies_and_siblings_of_one_refund_count_once() -> None:
    both = goal(entry("px"), entry("srv"), entry("px", "refund"), entry("srv", "refund"))
    events = [purchase("o1", source="px"), *(refund("o1", 30, source=source) for source in ("px", "px", "srv"))]

    assert counted(events, [click("c")], [package("P1", both)])["px/refund/o1"] == ("P1", 0, -30, "")


def test_an_event_whose_entry_has_a_negative_factor_is_a_refund_there() -> None:
    chargebacks = goal(entry("web"), entry("web", "custom", value_factor=-1.0))
    events = [purchase("o1"), purchase("o1", 20, type="custom", keys=())]

    found = counted(events, [click("c")], [package("P1", chargebacks)])
    assert found["web/custom/o1"] == ("P1", 0, -20, "")


def test_what_was_counted_in_a_final_package_stays_and_later_refunds_count_nowhere() -> None:
    bought = purchase("o1", 100)
    settled = {
        ("web", "purchase", "o1"): Outcome(("mb", "P1"), conversions=1, value=Decimal(100), lead=bought.identity)
    }
    later = [purchase("o1", source="srv", keys=(BOB,)), refund("o1", 100, at=NOW + DAY)]
    both = goal(entry("web"), entry("srv"), entry("web", "refund"))
    packages = [package("P1", both, final=True), package("P2", both)]

    found = counted([bought, *later], [click("c2", "P2", keys=(BOB,))], packages, settled)
    assert found == {"srv/purchase/o1": ("P1", 1, 100, ""), "web/refund/o1": ("", 0, 0, "FINAL")}
