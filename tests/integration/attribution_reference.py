"""Attribution as semantics says it, event by event and exposure by exposure: slow, plain, none of the server's code."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from postback.media_buys.buys import PackageGoals
from postback.media_buys.goals import EventGoal, GoalSource

CLICK_ID, IP_AND_USER_AGENT = 3, 4
HOUR = 3_600_000_000
_NINE_PLACES = Decimal("1e-9")


@dataclass(frozen=True)
class Event:
    """A stored event; times in µs since the epoch."""

    source: str
    type: str
    id: str
    at: int
    received_at: int
    keys: tuple[bytes, ...]
    name: str
    action_source: str
    custom_data: str


@dataclass(frozen=True)
class Exposure:
    """A stored exposure; times in µs since the epoch."""

    id: str
    kind: str
    at: int
    received_at: int
    package: tuple[str, str]
    creative: str
    keys: tuple[bytes, ...]
    cost: Decimal | None
    currency: str


@dataclass(frozen=True)
class Outcome:
    """What became of an event that a goal names; without an exposure it is not attributed."""

    package: tuple[str, str] = ("", "")
    goal: int = 0
    rank: int = 0
    exposure: str = ""
    exposure_kind: str = ""
    creative: str = ""
    match_kind: int = 0
    counted: bool = False
    conversions: int = 0
    value: Decimal = Decimal(0)


Identity = tuple[str, str, str]


def attribute(
    events: Sequence[Event],
    exposures: Sequence[Exposure],
    packages: Sequence[PackageGoals],
    frozen: dict[Identity, Outcome],
) -> dict[Identity, Outcome]:
    """The outcome of each event that a goal names, by (source, type, id); those in ``frozen`` stay."""
    first_events = {(event.source, event.type, event.id): event for event in reversed(_by_arrival(events))}
    first_exposures = {exposure.id: exposure for exposure in reversed(_by_arrival(exposures))}.values()
    outcomes = {
        identity: frozen.get(identity) or _outcome(event, list(first_exposures), packages)
        for identity, event in first_events.items()
        if any(_entries(goal, event) for _, package in packages for goal in package.goals)
    }
    return _counted_once(outcomes)


def hours_of_exposures(exposures: Sequence[Exposure], packages: Sequence[PackageGoals]) -> dict[Any, Any]:
    """(package, hour, creative, currency) → impressions, clicks, spend."""
    final = {(b.media_buy_id, p.package_id): p.finalized_at for b, p in packages if p.finalized_at}
    hours: dict[Any, list[Any]] = defaultdict(lambda: [0, 0, Decimal(0)])
    for exposure in {e.id: e for e in reversed(_by_arrival(exposures))}.values():
        if exposure.package in final and exposure.received_at > _micros(final[exposure.package]):
            continue
        hour = hours[*exposure.package, exposure.at // HOUR * HOUR, exposure.creative, exposure.currency]
        hour[exposure.kind == "click"] += 1
        hour[2] += exposure.cost or 0
    return {key: tuple(hour) for key, hour in hours.items()}


def hours_of_conversions(events: Sequence[Event], outcomes: dict[Identity, Outcome]) -> dict[Any, Any]:
    """(package, hour, event type, action source, creative) → conversions, value; without those that are both 0."""
    hours: dict[Any, list[Any]] = defaultdict(lambda: [0, Decimal(0)])
    for event in {(e.source, e.type, e.id): e for e in reversed(_by_arrival(events))}.values():
        outcome = outcomes.get((event.source, event.type, event.id))
        if outcome and outcome.counted:
            key = (*outcome.package, event.at // HOUR * HOUR, event.type, event.action_source, outcome.creative)
            hours[key][0] += outcome.conversions
            hours[key][1] += outcome.value
    return {key: tuple(hour) for key, hour in hours.items() if any(hour)}


def _outcome(event: Event, exposures: list[Exposure], packages: Sequence[PackageGoals]) -> Outcome:
    best: tuple[Any, ...] | None = None
    for buy, package in packages:
        goals = [goal for goal in package.goals if _entries(goal, event)]
        if package.finalized_at or not goals:
            continue
        for exposure in exposures:
            shared = [key[0] for key in exposure.keys if key in event.keys]
            if exposure.package != (buy.media_buy_id, package.package_id) or not shared:
                continue
            lag = event.at - exposure.at
            if 0 <= lag <= max(_window(goal, exposure) for goal in goals):
                kind = min(shared, key=_weakness)
                order = (exposure.kind != "click", -exposure.at, _weakness(kind), exposure.id)
                if best is None or order < best[0]:
                    best = order, exposure, buy, package, kind, lag
    if best is None:
        return Outcome()
    _, exposure, buy, package, kind, lag = best
    in_order = sorted(enumerate(package.goals), key=lambda numbered: (numbered[1].priority or 10**9, numbered[0]))
    naming = [(number, goal) for number, goal in in_order if _entries(goal, event)]
    number, goal = next((number, goal) for number, goal in naming if lag <= _window(goal, exposure))
    rank, entry = _entries(goal, event)[0]
    valued = [source for _, other in naming for _, source in _entries(other, event) if source.value_field]
    worth = entry if entry.value_field or not valued else valued[0]
    refund = event.type == "refund" or worth.value_factor < 0
    value = _value(event, worth, buy.currency)
    return Outcome(
        package=exposure.package,
        goal=number,
        rank=rank,
        exposure=exposure.id,
        exposure_kind=exposure.kind,
        creative=exposure.creative,
        match_kind=kind,
        counted=True,
        conversions=0 if refund else 1,
        value=-abs(value) if refund else value,
    )


def _counted_once(outcomes: dict[Identity, Outcome]) -> dict[Identity, Outcome]:
    rivals: dict[Any, list[tuple[int, str]]] = defaultdict(list)
    for (source, *event), outcome in outcomes.items():
        if outcome.package != ("", ""):
            rivals[*event, outcome.package, outcome.goal].append((outcome.rank, source))
    settled = {}
    for (source, *event), outcome in outcomes.items():
        counted = outcome.package != ("", "") and min(rivals[*event, outcome.package, outcome.goal]) == (
            outcome.rank,
            source,
        )
        settled[source, *event] = (
            outcome
            if counted or not outcome.counted
            else Outcome(
                outcome.package,
                outcome.goal,
                outcome.rank,
                outcome.exposure,
                outcome.exposure_kind,
                outcome.creative,
                outcome.match_kind,
            )
        )
    return settled  # type: ignore[return-value] # an identity is a source, a type and an id


def _entries(goal: EventGoal, event: Event) -> list[tuple[int, GoalSource]]:
    return [
        (rank, source)
        for rank, source in enumerate(goal.event_sources or ())
        if (source.event_source_id, source.event_type) == (event.source, event.type)
        and source.custom_event_name in (None, event.name)
    ]


def _window(goal: EventGoal, exposure: Exposure) -> int:
    return (goal.post_click_seconds if exposure.kind == "click" else goal.post_view_seconds) * 1_000_000


def _weakness(kind: int) -> int:
    return {CLICK_ID: 1000, IP_AND_USER_AGENT: 1001}.get(kind, kind)


def _value(event: Event, worth: GoalSource, currency: str) -> Decimal:
    data = json.loads(event.custom_data or "{}", parse_float=Decimal, parse_int=Decimal)
    amount = data.get(worth.value_field)
    if data.get("currency") != currency or not isinstance(amount, Decimal):
        return Decimal(0)
    exact = amount.quantize(_NINE_PLACES, ROUND_DOWN) * Decimal(str(worth.value_factor))
    return exact.quantize(_NINE_PLACES, ROUND_DOWN)


def _by_arrival(facts: Sequence[Any]) -> list[Any]:
    return sorted(facts, key=lambda fact: fact.received_at)


def _micros(moment: datetime | None) -> int:
    return int(moment.timestamp() * 1_000_000) if moment else 0
