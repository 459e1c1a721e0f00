"""Attribution gives what semantics says, whatever the order in which things arrive, and the same when it is rebuilt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.integration.attribution_reference import (
    Event,
    Exposure,
    Identity,
    Outcome,
    attribute,
    hours_of_conversions,
    hours_of_exposures,
)

from postback.accounts.store import AccountStore
from postback.attribution.runner import Attribution, Limits
from postback.errors import StoreUnavailable
from postback.media_buys.buys import MediaBuy, MediaBuyStore, Package
from postback.media_buys.goals import EventGoal, GoalSource
from postback.media_buys.windows import Duration, Window
from postback.store.control import ControlStore
from postback.store.derived import DerivedStore
from postback.store.events import EventStore
from postback.store.rows import Rows

START = datetime(2026, 10, 1, tzinfo=UTC)
HOUR_US = 3_600_000_000
OUTCOMES = """
    SELECT event_source_id, event_type, event_id, media_buy_id, package_id, goal, source_rank, exposure_id,
        exposure_kind, creative_id, match_kind, counted, conversions, value
    FROM attribution FINAL WHERE account_id = {account_id:String}
"""
EXPOSURE_HOURS = """
    SELECT media_buy_id, package_id, toUnixTimestamp(hour) * 1000000, creative_id, currency,
        sum(impressions), sum(clicks), sum(spend)
    FROM exposure_hour WHERE account_id = {account_id:String} AND media_buy_id != '' GROUP BY ALL
"""
CONVERSION_HOURS = """
    SELECT media_buy_id, package_id, toUnixTimestamp(hour) * 1000000, event_type, action_source, creative_id,
        sum(conversions) AS n, sum(value) AS worth
    FROM conversion_hour WHERE account_id = {account_id:String} AND media_buy_id != '' GROUP BY ALL
"""


@dataclass
class Stores:
    """Both stores, and the accounts that examples take one by one."""

    events: EventStore
    control: ControlStore
    media_buys: MediaBuyStore
    numbers: Iterator[int] = field(default_factory=count)
    stamp: int = int(START.timestamp()) * 1_000_000

    def rows(self, statement: str, account_id: str) -> list[tuple[Any, ...]]:
        with self.events._reader() as client:
            return [tuple(row) for row in client.query(statement, parameters={"account_id": account_id}).result_rows]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    folder = tmp_path_factory.mktemp("attribution")
    control = ControlStore(f"sqlite:///{folder}/control.db")
    control.migrate()
    (folder / "tmp").mkdir()
    events = EventStore.open(f"chdb://{folder}/events", Path(folder / "tmp"))
    yield Stores(events, control, MediaBuyStore(control))
    events.close()
    control.close()


class History:
    """One account's facts, as they arrive, beside the reference's view of them."""

    def __init__(self, stores: Stores, limits: Limits) -> None:
        self.stores = stores
        self.account_id = f"account-{next(stores.numbers)}"
        AccountStore(stores.control).create(self.account_id, sandbox=False)
        self.attribution = Attribution(stores.events, stores.control, stores.media_buys, limits)
        self.events: list[Event] = []
        self.exposures: list[Exposure] = []
        self.frozen: dict[Identity, Outcome] = {}

    def receive_event(self, event: Event) -> None:
        event = replace(event, received_at=self._stamp())
        self.events.append(event)
        columns: dict[str, list[Any]] = {
            "account_id": [self.account_id],
            "event_source_id": [event.source],
            "event_type": [event.type],
            "event_id": [event.id],
            "event_time": [event.at],
            "received_at": [event.received_at],
            "action_source": [event.action_source],
            "event_source_url": [""],
            "custom_event_name": [event.name],
            "custom_data": [event.custom_data.encode()],
            "extra": [b""],
            "match_keys": [b"".join(event.keys)],
            "quality": [0.5],
            "warnings": [[]],
        }
        self.stores.events.insert([Rows("event", columns)])

    def receive_exposure(self, exposure: Exposure) -> None:
        exposure = replace(exposure, received_at=self._stamp())
        self.exposures.append(exposure)
        columns: dict[str, list[Any]] = {
            "account_id": [self.account_id],
            "exposure_id": [exposure.id],
            "kind": [exposure.kind],
            "occurred_at": [exposure.at],
            "received_at": [exposure.received_at],
            "media_buy_id": [exposure.package[0]],
            "package_id": [exposure.package[1]],
            "creative_id": [exposure.creative],
            "match_keys": [b"".join(exposure.keys)],
            "cost": [exposure.cost],
            "currency": [exposure.currency],
        }
        self.stores.events.insert([Rows("exposure", columns)])

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

    def finalize(self, media_buy_id: str, package_id: str) -> None:
        self.attribution.finalize(self.account_id, media_buy_id, package_id)
        self.frozen |= {
            identity: outcome
            for identity, outcome in self.outcomes().items()
            if outcome.package == (media_buy_id, package_id)
        }
        # What is received afterwards is received after the moment that was noted.
        self.stores.stamp = max(self.stores.stamp, int(datetime.now(UTC).timestamp() * 1_000_000))

    def outcomes(self) -> dict[Identity, Outcome]:
        rows = self.stores.rows(OUTCOMES, self.account_id)
        return {row[:3]: Outcome((row[3], row[4]), *row[5:]) for row in rows}

    def hours(self) -> tuple[dict[Any, Any], dict[Any, Any]]:
        exposures = {row[:5]: row[5:] for row in self.stores.rows(EXPOSURE_HOURS, self.account_id)}
        conversions = {row[:6]: row[6:] for row in self.stores.rows(CONVERSION_HOURS, self.account_id) if any(row[6:])}
        return exposures, conversions

    def dump(self) -> str:
        """Everything that attribution derived, as one text."""
        outcomes = sorted(self.stores.rows(OUTCOMES, self.account_id))
        hours = [sorted(part.items()) for part in self.hours()]
        return json.dumps([outcomes, hours], default=str)

    def check(self) -> None:
        """Compare with the reference."""
        packages = self.stores.media_buys.goals(self.account_id)
        expected = attribute(self.events, self.exposures, packages, self.frozen)
        assert self.outcomes() == expected
        exposures, conversions = self.hours()
        assert exposures == hours_of_exposures(self.exposures, packages)
        assert conversions == hours_of_conversions(self.events, expected)

    def _stamp(self) -> int:
        self.stores.stamp += 1
        return self.stores.stamp


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
_PACKAGES = st.tuples(st.sampled_from(["m0", "m1"]), st.sampled_from(["p0", "p1"]))
_DURATIONS = st.sampled_from([Duration(1, "hours"), Duration(6, "hours"), Duration(1, "days")])
_CUSTOM_DATA = st.sampled_from(
    [
        "",
        '{"currency":"USD","value":12.5}',
        '{"currency":"USD","value":12.5,"margin":3.333333333,"text":"7"}',
        '{"currency":"EUR","value":20}',
        '{"value":1}',
        '{"currency":"USD","value":0.29,"margin":1e3}',
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
    st.sampled_from(["web", "app"]),
    st.sampled_from([("purchase", None)] * 4 + [("refund", None), ("custom", None), ("custom", "gift")]),
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
_EVENTS = st.builds(
    Event,
    source=st.sampled_from(["web", "app"]),
    type=st.sampled_from(["purchase"] * 4 + ["refund", "custom", "lead"]),
    id=st.sampled_from(["1", "2", "3"]),
    at=_MOMENTS,
    received_at=st.just(0),
    keys=_KEYS,
    name=st.sampled_from(["", "gift"]),
    action_source=st.sampled_from(["website", "app"]),
    custom_data=_CUSTOM_DATA,
)
_EXPOSURES = st.builds(
    Exposure,
    id=st.sampled_from([f"x{n}" for n in range(9)]),
    kind=st.sampled_from(["impression", "click"]),
    at=_MOMENTS,
    received_at=st.just(0),
    package=_PACKAGES,
    creative=st.sampled_from(["", "c1"]),
    keys=_KEYS,
    cost=st.sampled_from([None, Decimal("0.000000001"), Decimal("1.25")]),
    currency=st.sampled_from(["", "USD"]),
)
_STEPS = st.lists(
    st.one_of(
        _EVENTS,
        _EVENTS,
        _EXPOSURES,
        _EXPOSURES,
        st.sampled_from(["catch up", "catch up", "buy m1", "restart"]),
        _PACKAGES.map(lambda package: ("finalize", *package)),
    ),
    min_size=8,
    max_size=30,
)
_GOAL_LISTS = st.lists(st.lists(_GOALS, min_size=1, max_size=2).map(tuple), min_size=2, max_size=2)


@settings(max_examples=25, deadline=None)
@given(
    steps=_STEPS,
    first=_GOAL_LISTS,
    second=_GOAL_LISTS,
    limits=st.builds(Limits, *[st.sampled_from([1, 1000])] * 4),
)
def test_any_history_gives_what_the_rules_say_at_once_and_rebuilt(
    stores: Stores, steps: list[Any], first: list[Any], second: list[Any], limits: Limits
) -> None:
    history = History(stores, limits)
    history.buy("m0", "USD", first)
    for step in steps:
        if isinstance(step, Event):
            history.receive_event(step)
        elif isinstance(step, Exposure):
            history.receive_exposure(step)
        elif step == "catch up":
            history.attribution.catch_up()
        elif step == "buy m1":
            history.buy("m1", "EUR", second)
        elif step == "restart":
            history.attribution = Attribution(stores.events, stores.control, stores.media_buys, limits)
        else:
            _, media_buy_id, package_id = step
            if stores.media_buys.get(history.account_id, media_buy_id):
                history.finalize(media_buy_id, package_id)
    history.attribution.catch_up()
    history.check()


def test_a_factor_of_many_digits_holds_nobody_up(stores: Stores) -> None:
    history = History(stores, Limits())
    source = GoalSource(event_source_id="web", event_type="purchase", value_field="value", value_factor=1e12)
    history.buy("m0", "USD", [(EventGoal(kind="event", event_sources=(source,)),)])
    moment = int(START.timestamp()) * 1_000_000
    history.receive_exposure(Exposure("x1", "click", moment, 0, ("m0", "p0"), "", (key(1, 1),), None, ""))
    history.receive_event(
        Event("web", "purchase", "1", moment, 0, (key(1, 1),), "", "website", '{"currency":"USD","value":12.5}')
    )

    history.attribution.catch_up()

    history.check()


@pytest.mark.parametrize("statement", ["key_exposures", "sum_exposures", "decide", "sum_conversions", "keep"])
@pytest.mark.parametrize("done", [False, True])
def test_a_run_that_breaks_off_counts_nothing_twice(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, statement: str, done: bool
) -> None:
    history = History(stores, Limits())
    goal = EventGoal(
        kind="event", event_sources=(GoalSource(event_source_id="web", event_type="purchase", value_field="value"),)
    )
    history.buy("m0", "USD", [(goal,)])
    moment = int(START.timestamp()) * 1_000_000
    history.receive_exposure(
        Exposure("x1", "click", moment, 0, ("m0", "p0"), "c1", (key(1, 1),), Decimal("1.25"), "USD")
    )
    history.receive_event(
        Event("web", "purchase", "1", moment, 0, (key(1, 1),), "", "website", '{"currency":"USD","value":12.5}')
    )
    run = DerivedStore.run

    def broken(store: DerivedStore, name: str, **parameters: object) -> None:
        if name != statement or done:
            run(store, name, **parameters)
        if name == statement:
            raise StoreUnavailable("The event store is not available.")

    with monkeypatch.context() as patch:
        patch.setattr(DerivedStore, "run", broken)
        with pytest.raises(StoreUnavailable):
            history.attribution.catch_up()
    history.attribution.catch_up()
    history.check()


def test_a_rebuild_gives_the_same_bytes(stores: Stores) -> None:
    """All the histories above lie in one store, so one rebuild goes over each of them."""
    with stores.events._reader() as client:
        accounts = [row[0] for row in client.query("SELECT DISTINCT account_id FROM attribution").result_rows]
    dumps = {account_id: _dump(stores, account_id) for account_id in accounts}
    assert len(dumps) > 15
    Attribution(stores.events, stores.control, stores.media_buys).rebuild()
    assert {account_id: _dump(stores, account_id) for account_id in accounts} == dumps


def _dump(stores: Stores, account_id: str) -> str:
    history = History.__new__(History)
    history.stores, history.account_id = stores, account_id
    return history.dump()
