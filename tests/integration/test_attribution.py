"""Attribution gives what semantics says, whatever the order in which things arrive, and the same when it is rebuilt."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
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
from tests.engine import select
from tests.integration.derived import (
    CONVERSION_HOURS,
    EXPOSURE_HOURS,
    OUTCOMES,
    hours_of,
    outcomes_of,
    too_late_of,
)

from postback.accounts.store import AccountStore
from postback.attribution.comparison import compare
from postback.attribution.runner import Attribution, Limits
from postback.attribution.state import StateStore
from postback.attribution.statements import DerivedStore
from postback.errors import StoreUnavailable
from postback.media_buys.attribution_windows import Duration, Window
from postback.media_buys.goals import EventGoal, GoalSource
from postback.media_buys.media_buy import MediaBuy, Package
from postback.media_buys.store import MediaBuyStore
from postback.store.control_store import ControlStore
from postback.store.event_store import EventStore
from postback.store.rows import Rows

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


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    folder = tmp_path_factory.mktemp("attribution")
    control = ControlStore(f"sqlite:///{folder}/control.db")
    control.migrate()
    (folder / "tmp").mkdir()
    events = EventStore.open(f"chdb://{folder}/events", Path(folder / "tmp"))
    yield Stores(events, control, MediaBuyStore(control), folder)
    events.close()
    control.close()


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
            "custom_data": [dumped(event.data)],
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
        for step in steps:
            if isinstance(step, Event):
                self.receive_event(step)
            elif isinstance(step, Exposure):
                self.receive_exposure(step)
            elif step == "catch up":
                self.attribution.catch_up()
            elif step == "buy m1":
                self.buy("m1", "EUR", second)
            elif step == "restart":
                self.attribution = self.stores.attribution(self.limits)
            else:
                _, media_buy_id, package_id = step
                if self.stores.media_buys.get(self.account_id, media_buy_id):
                    self.finalize(media_buy_id, package_id)
        self.attribution.catch_up()

    def outcomes(self) -> dict[Identity, Outcome]:
        return outcomes_of(self.stores.rows(OUTCOMES, self.account_id))

    def too_late(self) -> set[Identity]:
        return too_late_of(self.stores.rows(OUTCOMES, self.account_id))

    def hours(self) -> tuple[dict[Any, Any], dict[Any, Any]]:
        exposures = hours_of(self.stores.rows(EXPOSURE_HOURS, self.account_id), 5)
        return exposures, hours_of(self.stores.rows(CONVERSION_HOURS, self.account_id), 6)

    def dump(self) -> str:
        """Everything that attribution derived, as one text."""
        outcomes = sorted(self.stores.rows(OUTCOMES, self.account_id))
        hours = [sorted(part.items()) for part in self.hours()]
        return json.dumps([outcomes, hours], default=str)

    def check(self) -> None:
        """Compare with the reference."""
        packages = self.stores.media_buys.goals(self.account_id)
        expected = attribute(self.events, self.exposures, packages, self.settled)
        outcomes, late = self.outcomes(), self.too_late()
        for identities, outcome in expected.items():
            known = {identity: outcomes[identity] for identity in identities if identity in outcomes}
            if outcome.reason == "FINAL":
                assert not known, identities
                assert late >= set(identities), identities
            elif known:
                assert late >= set(identities) - known.keys(), identities
                assert set(known.values()) == {outcome}, (identities, known)
            else:
                assert not named(identities, packages), identities
        assert {identity for identities in expected for identity in identities} >= outcomes.keys() | late
        exposures, conversions = self.hours()
        assert exposures == hours_of_exposures(self.exposures, packages)
        assert conversions == hours_of_conversions(expected)

    def _stamp(self) -> int:
        self.stores.stamp += 1
        return self.stores.stamp


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
_EVENTS = st.builds(
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
_LIMITS = st.builds(Limits, *[st.sampled_from([1, 1000])] * 3)


def test_any_history_gives_what_the_rules_say_at_once_and_rebuilt(stores: Stores) -> None:
    histories: list[History] = []

    @settings(max_examples=18, deadline=None)
    @given(steps=_STEPS, first=_GOAL_LISTS, second=_GOAL_LISTS, limits=_LIMITS)
    def gives_what_the_rules_say(steps: list[Any], first: list[Any], second: list[Any], limits: Limits) -> None:
        history = History(stores, limits)
        history.run(steps, first, second)
        history.check()
        histories.append(history)

    gives_what_the_rules_say()
    attributed = [history for history in histories if history.outcomes()]
    assert len(attributed) > 10
    dumps = [history.dump() for history in attributed]
    # They lie in one store, so one rebuild derives each of them anew, to the byte.
    stores.attribution().rebuild()
    assert [history.dump() for history in attributed] == dumps


def test_a_factor_of_many_digits_holds_nobody_up(stores: Stores) -> None:
    history = History(stores, Limits())
    source = GoalSource(event_source_id="web", event_type="purchase", value_field="value", value_factor=1e12)
    history.buy("m0", "USD", [(EventGoal(kind="event", event_sources=(source,)),)])
    moment = int(START.timestamp()) * 1_000_000
    history.receive_exposure(Exposure("x1", "click", moment, 0, ("m0", "p0"), (key(1, 1),)))
    history.receive_event(
        Event("web", "purchase", "1", moment, 0, (key(1, 1),), "", "website", parse('{"currency":"USD","value":12.5}'))
    )

    history.attribution.catch_up()

    history.check()


@pytest.mark.parametrize(
    "statement", ["known_exposures", "sum_exposures", "resolve_outcomes", "sum_conversions", "commit_outcomes"]
)
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
        Exposure("x1", "click", moment, 0, ("m0", "p0"), (key(1, 1),), "c1", Decimal("1.25"), "USD")
    )
    history.receive_event(
        Event("web", "purchase", "1", moment, 0, (key(1, 1),), "", "website", parse('{"currency":"USD","value":12.5}'))
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


def test_thousands_of_refunds_of_one_order_are_each_compared_once(stores: Stores) -> None:
    history = History(stores, Limits())
    sources = [
        GoalSource(event_source_id="web", event_type=event_type, value_field="value")
        for event_type in ("purchase", "refund")
    ]
    history.buy("m0", "USD", [(EventGoal(kind="event", event_sources=tuple(sources)),)])
    moment = int(START.timestamp()) * 1_000_000
    history.receive_exposure(Exposure("x1", "click", moment, 0, ("m0", "p0"), (key(1, 1),)))
    # Pair by pair they would be 10^8.
    for event_type, value in (("purchase", 12.5), ("refund", 0.001)):
        stores.events.deriver.command(
            "INSERT INTO event (account_id, event_source_id, event_type, event_id, event_time, received_at, "
            "custom_data, match_keys) SELECT {account_id:String}, 'web', {type:String}, "
            "concat({type:String}, toString(number)), "
            "fromUnixTimestamp64Micro(toInt64({moment:UInt64} + number), 'UTC'), "
            "fromUnixTimestamp64Micro(toInt64({stamp:UInt64} + number), 'UTC'), {data:String}, [{key:String}] "
            "FROM numbers(10000)",
            parameters={
                "account_id": history.account_id,
                "type": event_type,
                "moment": moment,
                "stamp": stores.stamp + 1,
                "data": json.dumps({"value": value, "currency": "USD", "order_id": "same-for-all"}),
                "key": key(1, 1).decode("latin-1"),
            },
        )
        stores.stamp += 10_000
    history.attribution.catch_up()

    conversions, values = zip(*history.hours()[1].values(), strict=True)
    assert (sum(conversions), sum(values)) == (10_000, Decimal("12.5") * 10_000 - 10)
    undone = stores.rows(
        "SELECT DISTINCT purchase_id FROM attribution FINAL "
        "WHERE account_id = {account_id:String} AND event_type = 'refund'",
        history.account_id,
    )
    assert undone == [("purchase0",)]


def test_sums_of_a_run_whose_outcomes_were_not_stored_are_taken_back(stores: Stores) -> None:
    history = History(stores, Limits())
    goal = EventGoal(
        kind="event", event_sources=(GoalSource(event_source_id="web", event_type="purchase", value_field="value"),)
    )
    history.buy("m0", "USD", [(goal,)])
    moment = int(START.timestamp()) * 1_000_000
    history.receive_exposure(Exposure("x1", "click", moment, 0, ("m0", "p0"), (key(1, 1),)))
    data = parse('{"currency":"USD","value":12.5}')
    history.receive_event(Event("web", "purchase", "1", moment, 0, (key(1, 1),), "", "website", data))
    history.attribution.catch_up()
    # As the release before left it that was killed after it had added a run's sums.
    states = StateStore(stores.control)
    state, _, _ = states.load()[history.account_id]
    states.save(history.account_id, state, msgspec.structs.replace(state, run_id=state.run_id + 1), "conversions")
    stores.events.deriver.command(
        "INSERT INTO conversion_hour (account_id, media_buy_id, package_id, hour, event_type, conversions, run_id) "
        "VALUES ({account_id:String}, 'm0', 'p0', '2026-10-01 00:00:00', 'purchase', 7, {run_id:UInt64})",
        parameters={"account_id": history.account_id, "run_id": state.run_id + 1},
    )

    stores.attribution().catch_up()

    history.check()


def test_an_index_of_exposures_that_is_lost_or_stale_is_derived_anew(stores: Stores) -> None:
    history = History(stores, Limits())
    goal = EventGoal(kind="event", event_sources=(GoalSource(event_source_id="web", event_type="purchase"),))
    history.buy("m0", "USD", [(goal,)])
    moment = int(START.timestamp()) * 1_000_000
    folder = stores.folder / "derived" / hashlib.sha256(history.account_id.encode()).hexdigest()[:32]
    older = stores.folder / "older"
    for number in range(3):
        history.receive_exposure(Exposure(f"x{number}", "click", moment, 0, ("m0", "p0"), (key(1, number),)))
        history.attribution.catch_up()
        if number == 0:
            shutil.copytree(folder, older)
        if number == 1:
            shutil.rmtree(folder)
        if number == 2:
            shutil.rmtree(folder)
            older.rename(folder)
        history.receive_event(Event("web", "purchase", str(number), moment, 0, (key(1, number),)))
        history.attribution = stores.attribution()
        history.attribution.catch_up()
        history.check()


def test_a_comparison_tells_what_would_change_and_changes_nothing(stores: Stores, tmp_path: Path) -> None:
    history = History(stores, Limits())
    sources = [
        GoalSource(event_source_id="web", event_type=event_type, value_field="value")
        for event_type in ("purchase", "refund")
    ]
    goal = EventGoal(kind="event", event_sources=tuple(sources))
    history.buy("m0", "USD", [(goal,), (goal,)])
    moment = int(START.timestamp()) * 1_000_000
    for number, package in enumerate(("p0", "p1"), 1):
        history.receive_exposure(Exposure(f"x{number}", "click", moment, 0, ("m0", package), (key(1, number),)))
        data = parse('{"currency":"USD","value":80}')
        history.receive_event(Event("web", "purchase", str(number), moment, 0, (key(1, number),), data=data))
    history.attribution.catch_up()
    before = history.dump()
    history.receive_event(Event("web", "refund", "1", moment, 0, (), data=parse('{"currency":"USD","value":30}')))

    changes = [c for c in compare(stores.events, stores.media_buys, tmp_path) if c.account_id == history.account_id]

    assert [change.changes for change in changes] == [True, False]
    assert changes[0][2:] == ("p0", 1, Decimal(80), 1, Decimal(50))
    assert history.dump() == before
    assert select(stores.events, "SELECT name FROM system.databases WHERE name = 'comparison'") == []
    history.attribution.catch_up()
    assert history.hours()[1][("m0", "p0", moment // HOUR_US * HOUR_US, "purchase", "", "")] == (1, Decimal(50))
