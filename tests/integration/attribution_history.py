"""Histories of an account: facts that arrive, media buys, runs of attribution, in any order.

``python -m tests.integration.attribution_history --rounds 100`` attributes as many made-up ones as one likes, ten a
round, compares each with the reference, and prints the number of each round that fails, to be repeated by --first.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, groupby
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st
from tests.business_event_reference import (
    Event,
    Exposure,
    Identity,
    Outcome,
    attribute,
    hours_of_conversions,
    hours_of_exposures,
    parse,
)
from tests.engine import open_events, select
from tests.integration.derived import (
    CONVERSION_HOURS,
    EXPOSURE_HOURS,
    OUTCOMES,
    hours_of,
    outcomes_of,
    too_late_of,
)

from postback.accounts.store import AccountStore
from postback.attribution.account_runs import Limits
from postback.attribution.runner import Attribution
from postback.media_buys.attribution_windows import Duration, Window
from postback.media_buys.goals import EventGoal, GoalSource
from postback.media_buys.media_buy import MediaBuy, Package
from postback.media_buys.store import MediaBuyStore
from postback.store.control_store import ControlStore
from postback.store.event_store import EventStore
from postback.store.rows import Rows, Table

__all__ = [
    "EVENTS",
    "EXPOSURES",
    "GOAL_LISTS",
    "HOUR_US",
    "PACKAGES",
    "START",
    "History",
    "Stores",
    "key",
    "looking",
    "opened",
]

START = datetime(2026, 10, 1, tzinfo=UTC)
HOUR_US = 3_600_000_000


@dataclass
class Stores:
    """Both stores, and the accounts that examples take one by one."""

    events: EventStore
    control: ControlStore
    media_buys: MediaBuyStore
    folder: Path
    numbers: Iterator[int] = field(default_factory=count)
    stamp: int = int(START.timestamp()) * 1_000_000

    def attribution(self, limits: Limits | None = None) -> Attribution:
        return Attribution(self.events, self.control, self.media_buys, self.folder / "derived", limits)

    def rows(self, statement: str, account_id: str) -> list[tuple[Any, ...]]:
        return select(self.events, statement, account_id=account_id)


@contextmanager
def opened(folder: Path) -> Iterator[Stores]:
    """New stores in this folder."""
    (folder / "tmp").mkdir()
    with (
        closing(ControlStore(f"sqlite:///{folder}/control.db")) as control,
        closing(open_events(folder)) as events,
    ):
        control.migrate()
        yield Stores(events, control, MediaBuyStore(control), folder)


class History:
    """One account's facts, as they arrive, beside the reference's view of them."""

    def __init__(self, stores: Stores, limits: Limits) -> None:
        self.stores = stores
        self.limits = limits
        self.account_id = f"account-{next(stores.numbers)}"
        AccountStore(stores.control).create(self.account_id, sandbox=False)
        self.attribution = stores.attribution(limits)
        self.events: list[Event] = []
        self.exposures: list[Exposure] = []
        self.settled: dict[Identity, Outcome] = {}
        self.settled_before = -(2**63)

    def receive(self, *facts: Event | Exposure) -> None:
        """Store facts, which arrive one after the other."""
        facts = tuple(replace(fact, received_at=self._stamp()) for fact in facts)
        events = [fact for fact in facts if isinstance(fact, Event)]
        exposures = [fact for fact in facts if isinstance(fact, Exposure)]
        self.events += events
        self.exposures += exposures
        self.stores.events.insert(
            [
                *([_rows("event", [self._event_row(event) for event in events])] if events else []),
                *([_rows("exposure", [self._exposure_row(exposure) for exposure in exposures])] if exposures else []),
            ]
        )

    def _event_row(self, event: Event) -> dict[str, Any]:
        return {
            "account_id": self.account_id,
            "event_source_id": event.source,
            "event_type": event.type,
            "event_id": event.id,
            "event_time": event.at,
            "received_at": event.received_at,
            "action_source": event.action_source,
            "event_source_url": "",
            "custom_event_name": event.name,
            "custom_data": dumped(event.data),
            "extra": b"",
            "match_keys": b"".join(event.keys),
            "quality": 0.5,
            "warnings": [],
        }

    def _exposure_row(self, exposure: Exposure) -> dict[str, Any]:
        return {
            "account_id": self.account_id,
            "exposure_id": exposure.id,
            "kind": exposure.kind,
            "occurred_at": exposure.at,
            "received_at": exposure.received_at,
            "media_buy_id": exposure.package[0],
            "package_id": exposure.package[1],
            "creative_id": exposure.creative,
            "match_keys": b"".join(exposure.keys),
            "cost": exposure.cost,
            "currency": exposure.currency,
        }

    def buy(self, media_buy_id: str, currency: str, packages: list[tuple[EventGoal, ...]]) -> None:
        self.stores.media_buys.create(
            MediaBuy(
                account_id=self.account_id,
                media_buy_id=media_buy_id,
                currency=currency,
                start_at=START,
                end_at=START + timedelta(days=1),
                created_at=START,
                total_budget=1.0,
                packages=tuple(
                    Package(package_id=f"p{n}", product_id="x", pricing_option_id="y", budget=1.0, goals=goals)
                    for n, goals in enumerate(packages)
                ),
            )
        )

    def set_goals(self, media_buy_id: str, package_id: str, goals: tuple[EventGoal, ...]) -> None:
        """Replace a package's goals."""

        def changed(buy: MediaBuy) -> MediaBuy:
            packages = (replace_goals(p, goals) if p.package_id == package_id else p for p in buy.packages)
            return msgspec.structs.replace(buy, packages=tuple(packages))

        self.stores.media_buys.update(self.account_id, media_buy_id, changed)

    def finalize(self, media_buy_id: str, package_id: str) -> None:
        self.attribution.finalize(self.account_id, media_buy_id, package_id)
        self.settled |= {
            identity: outcome
            for identity, outcome in self.outcomes().items()
            if outcome.package == (media_buy_id, package_id)
        }
        # What is received afterwards is received after the moment that was noted.
        self.stores.stamp = max(self.stores.stamp, int(datetime.now(UTC).timestamp() * 1_000_000))

    def run(self, steps: list[Any], first: list[tuple[EventGoal, ...]], second: list[tuple[EventGoal, ...]]) -> None:
        """Receive, buy and attribute in the order of the steps, and attribute what is left."""
        self.buy("m0", "USD", first)
        self.go_on(steps, second)

    def go_on(self, steps: list[Any], second: list[tuple[EventGoal, ...]]) -> None:
        """Receive, attribute and buy ``m1`` in the order of the steps, and attribute what is left."""
        for are_facts, group in groupby(steps, lambda step: isinstance(step, Event | Exposure)):
            if are_facts:
                self.receive(*group)
                continue
            for step in group:
                self._take(step, second)
        self.attribution.catch_up()

    def _take(self, step: Any, second: list[tuple[EventGoal, ...]]) -> None:
        """Take a step that is not a fact."""
        if step == "catch up":
            self.attribution.catch_up()
        elif step == "buy m1":
            self.buy("m1", "EUR", second)
        elif step == "restart":
            self.attribution = self.stores.attribution(self.limits)
        elif self.stores.media_buys.get(self.account_id, step[1]):
            (self.finalize if step[0] == "finalize" else self.set_goals)(*step[1:])

    def outcomes(self) -> dict[Identity, Outcome]:
        return outcomes_of(self.stores.rows(OUTCOMES, self.account_id))

    def too_late(self) -> set[Identity]:
        return too_late_of(self.stores.rows(OUTCOMES, self.account_id))

    def hours(self) -> tuple[dict[Any, Any], dict[Any, Any]]:
        exposures = hours_of(self.stores.rows(EXPOSURE_HOURS, self.account_id), 5)
        return exposures, hours_of(self.stores.rows(CONVERSION_HOURS, self.account_id), 7)

    def dump(self) -> str:
        """Everything that attribution derived, as one text, but for events that only earlier goals named."""
        packages = self.stores.media_buys.goals(self.account_id)
        rows = self.stores.rows(OUTCOMES, self.account_id)
        outcomes = sorted(row for row in rows if row[4] or named((row[:3],), packages))
        hours = [sorted(part.items()) for part in self.hours()]
        return json.dumps([outcomes, hours], default=str)

    def check(self) -> None:
        """Compare with the reference."""
        packages = self.stores.media_buys.goals(self.account_id)
        expected = attribute(self.events, self.exposures, packages, self.settled, self.settled_before)
        outcomes, late = self.outcomes(), self.too_late()
        for identities, outcome in expected.items():
            known = {identity: outcomes[identity] for identity in identities if identity in outcomes}
            if outcome.reason in ("FINAL", "SETTLED"):
                assert not known, identities
                assert late >= {identity for identity in identities if named((identity,), packages)}, identities
            elif named(identities, packages) or outcome.package != Outcome().package:
                assert late >= set(identities) - known.keys(), identities
                assert set(known.values()) == {outcome}, (identities, known)
            else:
                assert set(known.values()) <= {outcome, Outcome()}, (identities, known)
        others = outcomes.keys() - {identity for identities in expected for identity in identities}
        assert {outcomes[identity] for identity in others} <= {Outcome()}, "an event counts that no goal names"
        exposures, conversions = self.hours()
        assert exposures == hours_of_exposures(self.exposures, packages)
        assert conversions == hours_of_conversions(expected)

    def _stamp(self) -> int:
        self.stores.stamp += 1
        return self.stores.stamp


def _rows(table: Table, rows: list[dict[str, Any]]) -> Rows:
    return Rows(table, {name: [row[name] for row in rows] for name in rows[0]})


def replace_goals(package: Package, goals: tuple[EventGoal, ...]) -> Package:
    """The package with other goals."""
    return msgspec.structs.replace(package, goals=goals)


def named(identities: tuple[Identity, ...], packages: list[Any]) -> bool:
    """Whether a goal names the source and type of one of these."""
    entries = {
        (entry.event_source_id, entry.event_type)
        for _, package in packages
        for goal in package.goals
        for entry in goal.event_sources or ()
        if not entry.custom_event_name
    }
    return any(identity[:2] in entries for identity in identities)


def dumped(data: Any) -> bytes:
    """custom_data as it is stored."""
    return json.dumps({k: float(v) if isinstance(v, Decimal) else v for k, v in data.items()}).encode() if data else b""


def key(kind: int, person: int) -> bytes:
    """A match key of a person."""
    return bytes([kind]) + bytes([person]) * 15


# Few values each, so that they meet: the same people, the same instants, windows hit and missed by a microsecond.
_HOURS = st.sampled_from([0, 1, 5, 6, 7, 24, 30])
_MOMENTS = st.builds(
    lambda hours, micros: int(START.timestamp()) * 1_000_000 + hours * HOUR_US + micros,
    _HOURS,
    st.sampled_from([-1, 0, 0, 0, 1]),
)
_KEYS = st.lists(st.builds(key, st.sampled_from([1, 2, 3, 4, 17, 18]), st.integers(1, 2)), max_size=3, unique=True).map(
    tuple
)
PACKAGES = st.tuples(st.sampled_from(["m0", "m1"]), st.sampled_from(["p0", "p1"]))
_DURATIONS = st.sampled_from([Duration(1, "hours"), Duration(6, "hours"), Duration(1, "days")])
_CUSTOM_DATA = st.sampled_from(
    [
        "",
        '{"currency":"USD","value":12.5}',
        '{"currency":"USD","value":12.5,"margin":3.333333333,"text":"7"}',
        '{"currency":"EUR","value":20}',
        '{"value":1}',
        '{"currency":"USD","value":0.29,"margin":1e3}',
        '{"order_id":"o1"}',
        '{"currency":"USD","value":5,"order_id":"o1"}',
        '{"currency":"USD","value":12.5,"order_id":"o1"}',
        '{"currency":"EUR","value":-4,"margin":true,"order_id":"o2"}',
        '{"currency":"USD","value":7,"order_id":"o2"}',
    ]
)
_SOURCES = st.builds(
    lambda source, named, value_field, factor: GoalSource(
        event_source_id=source,
        event_type=named[0],
        custom_event_name=named[1],
        value_field=value_field,
        value_factor=factor,
    ),
    st.sampled_from(["web", "app", "crm"]),
    st.sampled_from([("purchase", None)] * 4 + [("refund", None)] * 3 + [("custom", None), ("custom", "gift")]),
    st.sampled_from([None, "value", "value", "margin", "text"]),
    st.sampled_from([1.0, 1.0, 0.01, -1.0]),
)
_GOALS = st.builds(
    lambda sources, click, view, priority: EventGoal(
        kind="event",
        event_sources=tuple(sources),
        attribution_window=Window(post_click=click, post_view=view),
        priority=priority,
    ),
    st.lists(_SOURCES, min_size=1, max_size=3),
    _DURATIONS,
    _DURATIONS,
    st.sampled_from([None, 1, 2]),
)
EVENTS = st.builds(
    Event,
    source=st.sampled_from(["web", "app", "crm"]),
    type=st.sampled_from(["purchase"] * 4 + ["refund", "refund", "custom", "lead"]),
    id=st.sampled_from(["1", "2", "3"]),
    at=_MOMENTS,
    received_at=st.just(0),
    keys=_KEYS,
    name=st.sampled_from(["", "gift"]),
    action_source=st.sampled_from(["website", "app"]),
    data=_CUSTOM_DATA.map(parse),
)
EXPOSURES = st.builds(
    Exposure,
    id=st.sampled_from([f"x{n}" for n in range(9)]),
    kind=st.sampled_from(["impression", "click"]),
    at=_MOMENTS,
    received_at=st.just(0),
    package=PACKAGES,
    creative=st.sampled_from(["", "c1"]),
    keys=_KEYS,
    cost=st.sampled_from([None, Decimal("0.000000001"), Decimal("1.25")]),
    currency=st.sampled_from(["", "USD"]),
)
_STEPS = st.lists(
    st.one_of(
        EVENTS,
        EVENTS,
        EXPOSURES,
        EXPOSURES,
        st.sampled_from(["catch up", "catch up", "buy m1", "restart"]),
        PACKAGES.map(lambda package: ("finalize", *package)),
        st.builds(
            lambda package, goals: ("set goals", *package, goals), PACKAGES, st.lists(_GOALS, max_size=2).map(tuple)
        ),
    ),
    min_size=8,
    max_size=30,
)
GOAL_LISTS = st.lists(st.lists(_GOALS, min_size=1, max_size=2).map(tuple), min_size=2, max_size=2)
_LIMITS = st.builds(Limits, *[st.sampled_from([1, 1000])] * 3)


def looking(stores: Stores, found: list[History]) -> Callable[[], None]:
    """A property test: any history gives what the rules say. What it has looked at is added to ``found``."""

    @given(steps=_STEPS, first=GOAL_LISTS, second=GOAL_LISTS, limits=_LIMITS)
    def gives_what_the_rules_say(steps: list[Any], first: list[Any], second: list[Any], limits: Limits) -> None:
        history = History(stores, limits)
        history.run(steps, first, second)
        history.check()
        found.append(history)

    return gives_what_the_rules_say


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    ten = settings(max_examples=10, derandomize=False, deadline=None, database=None, phases=[Phase.generate])
    found: list[History] = []
    failures = 0
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as stores:
        for number in range(options.first, options.first + options.rounds):
            try:
                seed(number)(ten(looking(stores, found)))()
            except Exception as error:  # any failure is printed, and the others go on
                failures += 1
                print(f"round {number}: {type(error).__name__}: {error}", flush=True)  # noqa: T201
    print(f"{options.rounds} rounds, {len(found)} histories that give what the rules say, {failures} failures")  # noqa: T201
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
