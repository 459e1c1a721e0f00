"""Retention drops identifiers and payloads, and changes no report: whatever arrives later, and when it is rebuilt."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.business_event_reference import Event, Exposure, parse
from tests.conftest import eventually, examples
from tests.engine import select
from tests.integration.attribution_history import (
    EVENTS,
    EXPOSURES,
    GOAL_LISTS,
    HOUR_US,
    PACKAGES,
    START,
    History,
    Stores,
    opened,
)

from postback.attribution.account_runs import Limits
from postback.attribution.retention import Retention
from postback.attribution.runner import Attribution
from postback.attribution.statements import DerivedStore
from postback.errors import StartupError
from postback.event_sources.store import SourceRegistry
from postback.media_buys.goals import EventGoal, GoalSource
from postback.metrics import Metrics
from postback.threads import Threads

_DAY_US = 24 * HOUR_US
_LONGEST_WINDOW_US = _DAY_US
"""Of the goals of these tests."""

_KEYED = EventGoal(
    kind="event",
    event_sources=tuple(
        GoalSource(event_source_id="web", event_type=event_type, value_field="value")
        for event_type in ("purchase", "refund")
    ),
)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    with opened(tmp_path_factory.mktemp("retention")) as stores:
        yield stores


def drop(stores: Stores, statement: str, **bounds: int) -> None:
    """Run a statement that drops old rows, and wait for the engine."""
    derived = DerivedStore(stores.events.deriver, Metrics().attribution_stages, stores.events.deriving)
    derived.run(statement, **bounds)
    eventually(lambda: derived.rows("unfinished_drops") == [(0, 0)], statement)


def settle(history: History, settled_before: int) -> None:
    """Settle what is older, and drop what no event that is younger can be attributed to."""
    dropped_before = settled_before - _LONGEST_WINDOW_US
    assert history.attribution.settle(settled_before, dropped_before)
    first = {event.identity: event for event in reversed(history.events)}
    outcomes = history.outcomes().items()
    history.settled |= {identity: outcome for identity, outcome in outcomes if first[identity].at < settled_before}
    history.settled_before = settled_before
    for statement in ("drop_event_payloads", "drop_exposure_keys", "drop_event_keys"):
        drop(history.stores, statement, settled_before=settled_before, dropped_before=dropped_before)
    while history.attribution.forget_exposures(dropped_before):
        pass


_FACTS = st.lists(
    st.one_of(EVENTS, EVENTS, EXPOSURES, EXPOSURES, st.sampled_from(["catch up", "restart"])), min_size=12, max_size=16
)
_CHANGES = st.sampled_from([["buy m1"], [], ["finalize"]])


def test_reports_stay_and_what_follows_counts_as_if_nothing_had_been_dropped(stores: Stores) -> None:
    histories: list[History] = []
    numbers = count()

    @examples(5)
    @given(
        before=_FACTS,
        change=_CHANGES,
        final=PACKAGES,
        hours=st.sampled_from([7, 25, 31]),
        after=_FACTS,
        goals=st.tuples(GOAL_LISTS, GOAL_LISTS),
    )
    def reports_stay(
        before: list[Any],
        change: list[Any],
        final: tuple[str, str],
        hours: int,
        after: list[Any],
        goals: tuple[list[Any], list[Any]],
    ) -> None:
        # What is settled is older than a time, for all accounts: each history happens after those before it.
        shift = 10 * _DAY_US * (100 + next(numbers))
        first: dict[Any, int] = {}
        history = History(stores, Limits())
        changes = [("finalize", *final) if step == "finalize" else step for step in change]
        history.run([*_shifted(before, shift, first), *changes], *goals)
        history.check()
        reported = history.dump()

        settle(history, int(START.timestamp()) * 1_000_000 + shift + hours * HOUR_US)

        assert history.dump() == reported
        history.go_on(_shifted(after, shift, first), goals[1])
        history.check()
        # Links that goals make afterwards restate what is not settled.
        history.go_on(["buy m1"], goals[1])
        assert history.outcomes().items() >= history.settled.items()
        histories.append(history)

    reports_stay()
    assert sum(len(history.settled) for history in histories) > 2
    dumps = [history.dump() for history in histories]
    stores.attribution().rebuild()
    assert [history.dump() for history in histories] == dumps
    assert select(stores.events, "SELECT count() > 10 FROM event WHERE dropped AND empty(match_keys)") == [(True,)]


def _shifted(steps: list[Any], shift: int, first: dict[Any, int]) -> list[Any]:
    """The steps at a later time. A copy is not older than the first one, which has arrived before it."""
    shifted = []
    for step in steps:
        if isinstance(step, Event | Exposure):
            identity = step.identity if isinstance(step, Event) else step.id
            at = max(step.at + shift, first.setdefault(identity, step.at + shift))
            shifted.append(replace(step, at=at))
        else:
            shifted.append(step)
    return shifted


def test_a_refund_takes_what_settled_refunds_left_of_a_settled_purchase(stores: Stores) -> None:
    history = History(stores, Limits())
    history.buy("m0", "USD", [(_KEYED,)])
    old = int(datetime(2036, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    history.receive(Exposure("x1", "click", old, 0, ("m0", "p0"), (bytes(16),)))
    for event_type, event_id, value in (("purchase", "1", 80), ("refund", "r1", 30)):
        data = parse(f'{{"currency":"USD","value":{value},"order_id":"o1","note":"a name"}}')
        history.receive(Event("web", event_type, event_id, old, 0, (bytes(16),), data=data))
    history.attribution.catch_up()
    settle(history, old + 2 * _DAY_US)
    ((data,),) = stores.rows(
        "SELECT DISTINCT custom_data FROM event WHERE account_id = {account_id:String} AND event_type = 'purchase'",
        history.account_id,
    )
    assert data == '{"value":80,"currency":"USD","order_id":"o1"}'

    late = parse('{"currency":"USD","value":70,"order_id":"o1"}')
    history.receive(Event("web", "refund", "r2", old + 30 * _DAY_US, 0, (), data=late))
    history.receive(Event("web", "purchase", "1", old + 30 * _DAY_US, 0, (bytes(16),), data=late))
    history.attribution.catch_up()

    history.check()
    assert list(history.hours()[1].values()) == [(1, Decimal(0), Decimal(-80))]
    assert history.outcomes()["web", "refund", "r2"].reason == "EXCEEDS_PURCHASE"


def test_a_sweep_leaves_no_identifier_in_any_file(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    history = History(stores, Limits())
    history.buy("m0", "USD", [(_KEYED,)])
    moment = int(datetime(2037, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    key = bytes([1]) + hashlib.sha256(history.account_id.encode()).digest()[:15]
    history.receive(Exposure("x1", "click", moment, 0, ("m0", "p0"), (key,)))
    data = parse('{"currency":"USD","value":80,"note":"what-the-buyer-sent"}')
    history.receive(Event("web", "purchase", "1", moment, 0, (key,), data=data))
    history.attribution.catch_up()
    reported = history.dump()
    # As in the store's tables, whose compression may take the first bytes from a neighbour, and as in the index.
    in_files = key[4:], key[7::-1]
    assert files_with(stores, *in_files) >= {"event", "exposure", "event_hash_by_key", "derived"}
    assert files_with(stores, b"what-the-buyer-sent") == {"event"}

    metrics = Metrics()
    caplog.set_level("INFO")
    sweep(history, metrics, datetime(2037, 7, 2, 12, tzinfo=UTC))

    assert files_with(stores, *in_files) == files_with(stores, b"what-the-buyer-sent") == set()
    assert history.dump() == reported
    # Rows of other tests are old by then, too; exposures of each test are.
    assert b'postback_retention_dropped_rows_total{table="exposure"}' in metrics.render()
    assert "Identifiers and payloads from before 2037-01-02 are dropped" in caplog.text


def test_a_sweep_that_was_interrupted_is_completed(stores: Stores) -> None:
    history = History(stores, Limits())
    moment = int(datetime(2038, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    history.receive(Event("web", "purchase", "1", moment, 0, (bytes(16),)))
    now = datetime(2038, 7, 2, tzinfo=UTC)
    stores.events.deriver.command("SYSTEM STOP MERGES event")
    with pytest.raises(TimeoutError):
        sweep(history, Metrics(), now, seconds=5)
    undropped = "SELECT count() FROM event WHERE account_id = {account_id:String} AND NOT dropped"
    assert stores.rows(undropped, history.account_id) == [(1,)]
    stores.events.deriver.command("SYSTEM START MERGES event")

    sweep(history, Metrics(), now)

    assert stores.rows(undropped, history.account_id) == [(0,)]


def test_the_index_of_a_server_that_follows_forgets_what_was_dropped(stores: Stores) -> None:
    history = History(stores, Limits())
    history.buy("m0", "USD", [(_KEYED,)])
    dropped_before = int(datetime(2039, 1, 2, tzinfo=UTC).timestamp()) * 1_000_000
    moments = dropped_before - 1, dropped_before
    history.receive(*(Exposure(f"x{at}", "click", at, 0, ("m0", "p0"), (bytes(16),)) for at in moments))
    history.attribution.catch_up()
    follower = Attribution(stores.events, stores.control, stores.media_buys, stores.folder / "derived of a follower")
    follower.follow()
    assert times_of_keys(follower, history.account_id) == set(moments)

    sweep(history, Metrics(), datetime(2039, 7, 2, tzinfo=UTC))
    follower.follow()

    assert times_of_keys(follower, history.account_id) == {dropped_before}
    late = Exposure("late", "click", moments[0], 0, ("m0", "p0"), (bytes(16),))
    history.receive(late, replace(late, id="in time", at=moments[1] + 1))
    history.attribution.catch_up()
    follower.follow()
    assert times_of_keys(follower, history.account_id) == {dropped_before, dropped_before + 1}


def times_of_keys(attribution: Attribution, account_id: str) -> set[int]:
    """When the exposures happened whose match keys an index of exposures has, in µs since the epoch."""
    view = attribution.exposures(account_id)
    return {int(at) for segment in (view.segments if view else ()) for at in segment.at}


def test_too_few_days_are_refused_with_the_least_that_works(stores: Stores) -> None:
    history = History(stores, Limits())
    with pytest.raises(
        StartupError,
        match=r"POSTBACK_RETENTION_DAYS is 100, but must be at least 181: .* 90 days old, .* 90 days before",
    ):
        Retention(stores.events, history.attribution, SourceRegistry(stores.control), 90, 100, Metrics(), time.time)


def sweep(history: History, metrics: Metrics, now: datetime, seconds: float = 60) -> None:
    """Let retention of 181 days do what is due at a time."""
    stores, threads = history.stores, Threads(1)
    sources = SourceRegistry(stores.control)
    with (
        closing(threads),
        closing(Retention(stores.events, history.attribution, sources, 90, 181, metrics, now.timestamp)) as retention,
    ):
        asyncio.run(asyncio.wait_for(retention.sweep(threads), seconds))


def files_with(stores: Stores, *sought: bytes) -> set[str]:
    """Where some bytes are: the tables that have them in a file in use, and ``derived`` for an index of exposures."""
    parts = select(stores.events, "SELECT table, path FROM system.parts WHERE active AND database = 'default'")
    folders = [(table, Path(path)) for table, path in parts] + [("derived", stores.folder / "derived")]
    return {
        name
        for name, folder in folders
        for file in folder.rglob("*")
        if file.is_file() and any(part in file.read_bytes() for part in sought)
    }
