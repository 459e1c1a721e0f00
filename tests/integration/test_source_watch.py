"""The server notices once that a source falls silent, and that it is back: real stores, and a clock of the test's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection
from tests.engine import open_events

from postback.accounts.store import AccountStore
from postback.clock import Clock
from postback.event_sources.event_source import EventSource
from postback.event_sources.rhythms import SourceKey, SourceRhythm
from postback.event_sources.signals import SignalChange, SignalStore
from postback.event_sources.store import SourceRegistry
from postback.event_sources.watch import SourceWatch
from postback.metrics import Metrics
from postback.store.control_store import ControlStore
from postback.store.event_store import EventStore
from postback.store.receipt_times import ReceiptTimes
from postback.store.shards import Shards
from postback.store.tables import source_watch

NOW = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
_SECOND = 1_000_000_000


class Seller:
    """A seller's server with the source ``website``, whose clock is where a test puts it."""

    def __init__(self, folder: Path, events: EventStore) -> None:
        self.now = NOW
        self.hears = True
        self.named = True
        self.events = events
        self.control = ControlStore(f"sqlite:///{folder}/control.db")
        self.control.migrate()
        AccountStore(self.control).create("acme", sandbox=False)
        self.sources = SourceRegistry(self.control, now=self.clock().now)
        self.declare("website")
        self.signals = SignalStore(self.control)
        self.metrics = Metrics()
        self.told: list[tuple[str, str, str]] = []
        self.start()

    def start(self) -> None:
        """Start the watch, as a server does that starts."""
        self.watch = self.another_watch()

    def another_watch(self) -> SourceWatch:
        return SourceWatch(
            Shards.alone(self.events),
            self.sources,
            self.signals,
            self.clock(),
            self.metrics,
            self.tell,
            lambda: self.hears,
            lambda _: self.named,
        )

    def clock(self) -> Clock:
        return Clock(self._nanos, self._nanos)

    def _nanos(self) -> int:
        return int(self.now.timestamp()) * _SECOND

    def tell(self, _: Connection, changes: Sequence[SignalChange]) -> None:
        self.told += [(change.signal.event_source_id, change.signal.kind, change.what) for change in changes]

    def declare(self, event_source_id: str, *, archived: bool = False) -> None:
        source = EventSource(
            account_id="acme", event_source_id=event_source_id, seller_id=f"src_{event_source_id}", archived=archived
        )
        with self.sources.edit("acme") as sources:
            sources.save([source])

    def send(self, begin: datetime, end: datetime, accepted: int = 5, rejected: int = 0) -> None:
        """Store that so many events arrived in each minute."""
        self.events.deriver.command(
            "INSERT INTO source_activity (account_id, event_source_id, minute, accepted, rejected, quality)"
            " SELECT 'acme', 'website', toDateTime({begin:DateTime('UTC')}, 'UTC') + INTERVAL number MINUTE,"
            " {accepted:UInt64}, {rejected:UInt64}, {accepted:UInt64} / 2 FROM numbers({minutes:UInt64})",
            {"begin": begin, "accepted": accepted, "rejected": rejected, "minutes": (end - begin) // MINUTE},
        )

    def attribute(self, begin: datetime, end: datetime, media_buy_id: str) -> None:
        """Store that two events of each minute were attributed to this buy, or to none."""
        self.events.deriver.command(
            "INSERT INTO attribution"
            " (account_id, event_type, event_id, event_source_id, run_id, received_at, media_buy_id)"
            " SELECT 'acme', 'purchase', toString(number), 'website', 1,"
            " toDateTime64({begin:DateTime('UTC')}, 6, 'UTC') + INTERVAL intDiv(number, 2) MINUTE, {buy:String}"
            " FROM numbers({events:UInt64})",
            {"begin": begin, "buy": media_buy_id, "events": 2 * ((end - begin) // MINUTE)},
        )

    def wait(self, minutes: int) -> None:
        """Let minutes pass while a server is there to receive events."""
        for _ in range(minutes // 2):
            self.now += 2 * MINUTE
            self.signals.watched(self.now)

    def look(self, times: int = 1) -> None:
        """Look so often, every two minutes."""
        for _ in range(times):
            self.wait(2)
            self.watch.look()

    def metric(self, line: str) -> bool:
        return line in self.metrics.render().decode()


def a_minute(begin: datetime) -> tuple[datetime, datetime]:
    return begin, begin + MINUTE


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStore]:
    folder = tmp_path_factory.mktemp("events")
    (folder / "tmp").mkdir()
    opened = open_events(folder)
    yield opened
    opened.close()


@pytest.fixture
def seller(tmp_path: Path, events: EventStore) -> Iterator[Seller]:
    seller = Seller(tmp_path, events)
    events.receipt_times = ReceiptTimes(0, seller.clock())
    for table in ("source_activity", "source_hour", "attribution"):
        events.deriver.command(f"TRUNCATE TABLE {table}")
    yield seller
    seller.control.close()


@pytest.fixture
def silent(seller: Seller) -> Seller:
    """One whose source has sent for six weeks, and nothing in the last half hour, while a server was there."""
    seller.send(NOW - timedelta(weeks=7), NOW)
    seller.wait(12)
    seller.look(6)
    return seller


def test_a_source_that_falls_silent_is_noticed_once_and_keeps_its_signal(silent: Seller) -> None:
    [signal] = silent.signals.open()

    assert (signal.event_source_id, signal.kind, signal.status_before) == ("website", "offline", "good")
    assert NOW + 15 * MINUTE <= signal.observed_at <= NOW + 21 * MINUTE
    assert signal.reason == (
        "No event since 2026-11-25 14:29 UTC; in this hour of the week there are 300 on average (6 weeks)."
    )
    silent.start()
    silent.look(2)
    assert silent.signals.open() == [signal]
    assert silent.told == [("website", "offline", "opened")]
    assert silent.metric('postback_event_source_signals{kind="offline"} 1.0')
    assert silent.metric("postback_event_sources 1.0")


def test_a_source_that_sends_again_is_back_and_the_next_time_has_another_signal(silent: Seller) -> None:
    [first] = silent.signals.open()

    silent.send(silent.now, silent.now + 12 * MINUTE)
    silent.look(5)

    assert silent.signals.open() == []
    silent.wait(20)
    silent.look(2)
    [second] = silent.signals.open()
    assert second.signal_id != first.signal_id
    assert [what for *_, what in silent.told] == ["opened", "closed", "opened"]


def test_a_server_that_was_down_waits_before_it_calls_a_source_silent(seller: Seller) -> None:
    seller.send(NOW - timedelta(weeks=7), NOW)
    seller.look(2)
    seller.now += timedelta(hours=9)
    seller.start()

    seller.look(5)
    assert seller.signals.open() == []
    seller.wait(12)
    seller.look()
    assert len(seller.signals.open()) == 1


def test_a_restart_that_takes_a_moment_delays_nothing(seller: Seller) -> None:
    seller.send(NOW - timedelta(weeks=7), NOW)
    for _ in range(11):
        seller.wait(2)
        seller.start()
    seller.look()

    assert len(seller.signals.open()) == 1


def test_a_clock_that_is_set_back_or_ahead_makes_no_source_silent(seller: Seller) -> None:
    seller.send(NOW - timedelta(weeks=7), NOW)
    seller.look(2)
    for jump in (timedelta(days=2), timedelta(days=-1), timedelta(hours=3)):
        seller.now += jump
        seller.look(3)

    assert seller.signals.open() == []


def test_a_store_that_was_down_makes_no_source_silent(seller: Seller) -> None:
    seller.send(NOW - timedelta(weeks=7), NOW)
    seller.look()
    on_their_way = seller.events.receipt_times.announce()
    seller.now += timedelta(hours=1)
    seller.watch.look()

    seller.events.receipt_times.settle(on_their_way)
    seller.watch.look()
    assert seller.signals.open() == []
    seller.wait(20)
    seller.look()
    assert len(seller.signals.open()) == 1


def test_a_server_that_refuses_events_makes_no_source_silent(seller: Seller) -> None:
    seller.send(NOW - timedelta(weeks=7), NOW)
    seller.look()
    seller.hears = False
    for _ in range(4):
        seller.now += 5 * MINUTE
        seller.watch.look()

    seller.hears = True
    seller.look(2)
    assert seller.signals.open() == []


def test_two_servers_that_look_at_once_tell_it_once(seller: Seller) -> None:
    seller.send(NOW - timedelta(weeks=7), NOW)
    seller.look()
    seller.wait(14)
    for _ in range(4):
        seller.wait(2)
        watches = [seller.another_watch(), seller.another_watch()]
        with ThreadPoolExecutor(2) as threads:
            assert [done.result() for done in [threads.submit(watch.look) for watch in watches]] == [None, None]

    assert seller.told == [("website", "offline", "opened")]


def test_a_source_that_is_deleted_has_no_signal_any_more(silent: Seller) -> None:
    silent.declare("website", archived=True)
    silent.look()

    assert silent.signals.open() == []
    assert silent.told[-1] == ("website", "offline", "deleted")


def test_a_source_of_an_account_that_was_closed_is_looked_at_no_more(silent: Seller) -> None:
    AccountStore(silent.control).update("acme", status="closed")
    silent.look()

    assert silent.signals.open() == []


def test_a_source_that_is_created_again_is_not_blamed_for_the_time_in_which_it_was_deleted(seller: Seller) -> None:
    seller.send(NOW - timedelta(weeks=7), NOW)
    seller.look()
    seller.declare("website", archived=True)
    seller.wait(2 * 24 * 60)
    seller.look()

    seller.declare("website")
    seller.look()
    seller.declare("website")
    seller.look()
    assert seller.signals.open() == []
    seller.wait(20)
    seller.look()
    assert len(seller.signals.open()) == 1


def test_a_source_that_is_created_again_after_months_has_a_day_to_send(seller: Seller) -> None:
    seller.send(NOW - timedelta(weeks=20), NOW - timedelta(weeks=19))
    seller.declare("website", archived=True)
    seller.look()
    seller.wait(25 * 60)

    seller.declare("website")
    seller.wait(60)
    seller.look()
    assert seller.signals.open() == []
    seller.wait(24 * 60)
    seller.look()
    assert len(seller.signals.open()) == 1


def test_a_source_of_an_account_that_is_open_again_is_not_blamed_for_the_time_in_which_it_was_closed(
    seller: Seller,
) -> None:
    accounts = AccountStore(seller.control, now=seller.clock().now)
    seller.send(NOW - timedelta(weeks=7), NOW)
    seller.look()
    accounts.update("acme", status="closed")
    seller.wait(2 * 24 * 60)

    accounts.update("acme", status="active")
    seller.look()
    accounts.update("acme", status="active")
    assert seller.signals.open() == []
    seller.wait(20)
    seller.look()
    assert len(seller.signals.open()) == 1


def test_a_source_that_was_silent_before_the_server_learnt_to_notice_is_noticed(seller: Seller) -> None:
    seller.send(NOW - timedelta(weeks=20), NOW - timedelta(weeks=19))
    seller.look()
    assert seller.signals.open() == []
    with seller.control.begin() as connection:
        connection.execute(source_watch.update().values(since=int((NOW - timedelta(hours=25)).timestamp())))

    seller.wait(40)
    seller.look()

    [signal] = seller.signals.open()
    assert signal.reason == "No event since 2026-07-15 14:29 UTC, for more than six weeks."
    seller.look(2)
    assert [what for *_, what in seller.told] == ["opened"]


def test_events_that_begin_to_fail_are_noticed_within_minutes(seller: Seller) -> None:
    seller.send(NOW - timedelta(weeks=7), NOW)
    seller.send(NOW, NOW + timedelta(hours=2), accepted=0, rejected=5)
    seller.look(8)

    [signal] = seller.signals.open()

    assert signal.kind == "failure_rate"
    assert "of the last" in signal.reason
    seller.send(NOW + timedelta(hours=2), NOW + timedelta(hours=4))
    seller.wait(60 * 3)
    seller.look()
    assert [(kind, what) for _, kind, what in seller.told] == [("failure_rate", "opened"), ("failure_rate", "closed")]


def test_events_that_begin_to_match_nothing_are_noticed(seller: Seller) -> None:
    seller.send(NOW - timedelta(weeks=7), NOW + timedelta(hours=1))
    seller.attribute(NOW - timedelta(days=3), NOW, "buy")
    seller.attribute(NOW, NOW + timedelta(hours=1), "")
    seller.wait(54)
    seller.look()

    [signal] = seller.signals.open()

    assert signal.kind == "match_rate"
    assert signal.reason.endswith("were attributed to an exposure at once; 100% are usual.")


def test_a_source_that_sends_too_little_to_be_judged_by_the_hour_is_well_again_by_its_last_day(seller: Seller) -> None:
    seller.send(NOW - timedelta(weeks=7), NOW)
    seller.send(NOW, NOW + timedelta(hours=2), accepted=0, rejected=5)
    seller.look(8)
    [signal] = seller.signals.open()
    assert signal.kind == "failure_rate"

    for minute in range(0, 26 * 60, 8):
        seller.send(*a_minute(NOW + timedelta(hours=3, minutes=minute)), accepted=1)
    seller.wait(8 * 60)
    seller.look()
    assert seller.signals.open() == [signal]
    seller.wait(20 * 60)
    seller.look()
    assert seller.signals.open() == []


def test_a_source_that_sends_too_little_and_nothing_right_is_not_well_again(seller: Seller) -> None:
    seller.send(NOW - timedelta(weeks=7), NOW)
    seller.send(NOW, NOW + timedelta(hours=2), accepted=0, rejected=5)
    seller.look(8)
    for minute in range(0, 26 * 60, 8):
        seller.send(*a_minute(NOW + timedelta(hours=3, minutes=minute)), accepted=0, rejected=1)
    seller.wait(28 * 60)
    seller.look(2)

    assert [signal.kind for signal in seller.signals.open()] == ["failure_rate"]


def test_a_source_of_which_nothing_is_attributed_any_more_is_well_when_no_goal_names_it(seller: Seller) -> None:
    seller.send(NOW - timedelta(weeks=7), NOW + timedelta(hours=1))
    seller.attribute(NOW - timedelta(days=3), NOW, "buy")
    seller.attribute(NOW, NOW + timedelta(hours=1), "")
    seller.wait(54)
    seller.look()
    assert [signal.kind for signal in seller.signals.open()] == ["match_rate"]

    seller.named = False
    seller.look(2)
    assert seller.signals.open() == []


def test_a_source_of_which_a_goal_names_nothing_that_comes_is_well_after_a_day(seller: Seller) -> None:
    seller.send(NOW - timedelta(weeks=7), NOW + timedelta(hours=30))
    seller.attribute(NOW - timedelta(days=3), NOW, "buy")
    seller.attribute(NOW, NOW + timedelta(hours=1), "")
    seller.wait(54)
    seller.look()
    assert [signal.kind for signal in seller.signals.open()] == ["match_rate"]

    [rhythm] = seller.watch.read("acme", {}).values()
    assert rhythm.day[2:] == (22 * 60 * 2 + 60, 23 * 60 * 2 + 60)
    seller.wait(26 * 60)
    seller.look()
    assert seller.signals.open() == []


def test_what_an_account_is_judged_by_is_read_again_when_an_hour_is_over_or_an_event_came_in_a_later_minute(
    seller: Seller,
) -> None:
    def read() -> Mapping[SourceKey, SourceRhythm]:
        activity = seller.events.activity("acme")
        return seller.watch.read("acme", {source: arrived.last_minute for source, arrived in activity.items()})

    seller.send(NOW - timedelta(days=1), NOW)
    known = read()
    seller.send(NOW - MINUTE, NOW)

    assert read() is known

    seller.now += MINUTE
    seller.send(NOW, NOW + MINUTE, accepted=0, rejected=1)
    [rhythm] = read().values()
    assert rhythm.last_minute == NOW

    seller.now += timedelta(hours=1)
    [rhythm] = read().values()
    assert rhythm.learnt_before == NOW.replace(minute=0)


def test_a_source_that_never_sent_has_no_signal(seller: Seller) -> None:
    seller.look(2)

    assert seller.signals.open() == []
    assert seller.metric('postback_event_source_signals{kind="offline"} 0.0')
