"""What was received, in the order of receipt: every copy, test and rejection, page by page, and after an upgrade."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.engine import select
from tests.integration.test_event_store import purchases, rejection

from postback.protocol.timestamps import from_micros
from postback.store.data_folder import DataDir
from postback.store.event_schema import MIGRATIONS, drop_materialized_views
from postback.store.event_store import EventStore
from postback.store.receipts import Receipt, ReceiptFilter, count_receipts, count_received, new_receipts, receipts
from postback.store.source_facts import identifier_coverage, receipts_by_time

NOW = time.time_ns() // 1_000
ALWAYS = {"after": datetime(1970, 1, 1, tzinfo=UTC), "before": datetime(2200, 1, 1, tzinfo=UTC)}
EVERYTHING = ReceiptFilter()
SUMMED = """
    SELECT account_id, event_source_id, hour, outcome, is_test, sum(events) FROM receipt_hour GROUP BY ALL ORDER BY ALL
"""
COUNTED = """
    SELECT account_id, event_source_id, toStartOfHour(received_at), outcome, test_event_code != '', count() FROM receipt
    GROUP BY ALL ORDER BY ALL
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStore]:
    folder = DataDir.open(tmp_path_factory.mktemp("data"))
    store = EventStore.open(folder.events_dsn, folder.scratch)
    yield store
    store.close()
    folder.close()


@pytest.fixture(scope="module")
def received(store: EventStore) -> EventStore:
    """An order, an exact repeat of it, a copy that differs, a test, and two rejections, one without an id."""
    store.insert(
        [
            purchases("shop", "order_1", received_at=NOW),
            purchases("shop", "order_1", received_at=NOW + 1, duplicate=1),
            purchases("shop", "order_1", received_at=NOW + 2, duplicate=2, custom_data=b'{"value":1,"order_id":"A-1"}'),
            purchases("shop", "try_1", received_at=NOW + 3, table="test_event", test_event_code="T1"),
            rejection("shop", "order_2", "INVALID_EVENT_TIME", NOW + 4),
            rejection("shop", "", "INVALID_REQUEST", NOW + 5),
            purchases("other", "order_9", received_at=NOW + 6, warnings=["MISSING_CURRENCY"]),
        ]
    )
    return store


def shown(found: list[Receipt]) -> list[tuple[str, str]]:
    return [(receipt.event_id, receipt.outcome) for receipt in found]


ALL = [
    ("", "rejected"),
    ("order_2", "rejected"),
    ("try_1", "test"),
    ("order_1", "duplicate"),
    ("order_1", "duplicate"),
    ("order_1", "accepted"),
]


def test_everything_that_was_received_is_there_once_also_after_parts_merged(received: EventStore) -> None:
    for table in ("event", "rejected_event", "receipt"):
        received.deriver.command(f"OPTIMIZE TABLE {table} FINAL")
    found, more = receipts(received, "shop", EVERYTHING, 100, **ALWAYS)
    assert shown(found) == ALL
    assert not more
    assert found[3].warnings == ["DUPLICATE_DIFFERS"]


def test_pages_follow_one_another_without_a_gap(received: EventStore) -> None:
    pages, before = [], ALWAYS["before"]
    while True:
        found, more = receipts(received, "shop", EVERYTHING, 2, after=ALWAYS["after"], before=before)
        pages.append(shown(found))
        if not more:
            break
        before = found[-1].received_at
    assert pages == [ALL[:2], ALL[2:4], ALL[4:]]


def test_what_came_at_the_same_time_stays_on_one_page(store: EventStore) -> None:
    """Two servers may issue one time."""
    store.insert([purchases("tied", f"order_{at}", received_at=NOW - at // 2) for at in range(6)])
    first, more = receipts(store, "tied", EVERYTHING, 3, **ALWAYS)
    assert more
    assert {receipt.event_id for receipt in first} == {"order_0", "order_1"}
    rest, _ = receipts(store, "tied", EVERYTHING, 4, after=ALWAYS["after"], before=first[-1].received_at)
    assert {receipt.event_id for receipt in rest} == {"order_2", "order_3", "order_4", "order_5"}


@pytest.mark.parametrize(
    ("wanted", "events"),
    [
        (ReceiptFilter(outcome="rejected"), ALL[:2]),
        (ReceiptFilter(test_event_code="T1"), ALL[2:3]),
        (ReceiptFilter(code="DUPLICATE_DIFFERS"), ALL[3:4]),
        (ReceiptFilter(code="INVALID_REQUEST", field="event_time"), ALL[:1]),
        (ReceiptFilter(text="ORDER_1"), ALL[3:]),
        (ReceiptFilter(event_source_id="website", event_type="purchase", text="try"), ALL[2:3]),
        (ReceiptFilter(event_source_id="app"), []),
    ],
)
def test_a_filter_means_the_same_in_a_list_in_its_count_and_in_the_live_view(
    received: EventStore, wanted: ReceiptFilter, events: list[tuple[str, str]]
) -> None:
    assert shown(receipts(received, "shop", wanted, 100, **ALWAYS)[0]) == events
    assert count_receipts(received, "shop", wanted, **ALWAYS) == len(events)
    everything, _ = receipts(received, "shop", EVERYTHING, 100, **ALWAYS)
    assert shown([receipt for receipt in everything if wanted.fits(receipt)]) == events


def test_what_is_new_is_read_from_where_the_last_reading_ended(store: EventStore) -> None:
    _, through = new_receipts(store, "live", 10, after=datetime.now(UTC) - timedelta(days=1))
    assert new_receipts(store, "live", 10, after=through)[0] == []
    times = store.receipt_times.take(3)
    store.insert([purchases("live", "order_1", "order_2", "order_3", received_at=times)])
    found, after = new_receipts(store, "live", 10, after=through)
    assert found is not None
    assert [receipt.event_id for receipt in found] == ["order_3", "order_2", "order_1"]
    assert new_receipts(store, "live", 10, after=after)[0] == []
    assert new_receipts(store, "live", 2, after=through)[0] is None


def test_identifiers_are_counted_of_accepted_events_and_of_copies_that_differ(received: EventStore) -> None:
    received.insert(
        [purchases("shop", "order_3", event_source_id="app", match_keys=b"", received_at=NOW + 9, event_time=NOW + 7)]
    )
    whole, without, none = (
        identifier_coverage(received, "shop", source, ALWAYS["after"]) for source in ("website", "app", "till")
    )
    assert (whole.events, whole.without, whole.kinds) == (2, 0, {1: 2, 3: 2})
    assert (without.events, without.without, without.kinds) == (1, 1, {})
    assert without.median_delay == without.long_delay == timedelta(microseconds=2)
    assert (none.events, none.median_delay) == (0, None)


def test_hours_have_the_sums_of_what_was_received_though_an_insert_is_repeated(received: EventStore) -> None:
    for _ in range(2):
        some = purchases("hours", "order_1", "order_2", received_at=NOW, event_time=NOW - 123_456)
        received.insert_block("event", [some], "the segment's token")
        received.insert_block("rejected_event", [rejection("hours", "order_3", "INVALID_EVENT_TIME")], "its other one")
    received.insert([purchases("hours", "order_4", event_source_id="app", received_at=NOW - 3_600_000_000)])

    assert select(received, SUMMED) == select(received, COUNTED)
    hour = datetime.fromtimestamp(NOW // 1_000_000, UTC).replace(minute=0, second=0)
    span = hour - timedelta(days=1), hour + timedelta(hours=1)
    assert receipts_by_time(received, "hours", "website", *span) == {hour: {"accepted": 2, "rejected": 1}}
    assert identifier_coverage(received, "hours", "website", hour).median_delay == timedelta(milliseconds=120)
    assert identifier_coverage(received, "hours", "app", hour).events == 0


def test_an_insert_that_is_repeated_after_many_of_other_servers_adds_nothing(store: EventStore) -> None:
    """A server that is killed between its insert and the end of its segment may come back after minutes."""
    summed = """
        SELECT
            (SELECT count() FROM receipt WHERE account_id = 'back'),
            (SELECT sum(events) FROM receipt_hour WHERE account_id = 'back'),
            (SELECT sum(accepted) FROM source_activity WHERE account_id = 'back')
    """
    own = [purchases("back", "order_1")]
    store.insert_block("event", own, "its own")
    for number in range(101):
        store.insert_block("event", [purchases("others", "order_1")], f"another server's {number}")

    store.insert_block("event", own, "its own")

    assert select(store, summed) == [(1, 1, 1)]


def test_what_was_received_is_counted_in_minutes(received: EventStore) -> None:
    now = from_micros(NOW).replace(second=0, microsecond=0)
    assert count_received(received, "other", since=now, until=now + timedelta(minutes=2)) == 1
    assert count_received(received, "other", "app", since=now, until=now + timedelta(minutes=2)) == 0
    assert count_received(received, "other", since=now - timedelta(minutes=9), until=now) == 0


def test_an_upgrade_lists_what_was_received_before_it_once_however_often_it_begins(received: EventStore) -> None:
    query = "SELECT * EXCEPT (event_time, kinds) FROM receipt WHERE account_id = 'shop' ORDER BY received_at"
    before = select(received, query)
    statements = {migration.name: migration.statements for migration in MIGRATIONS}
    drop_materialized_views(received.deriver)
    received.deriver.command("ALTER TABLE receipt DROP COLUMN event_time, DROP COLUMN kinds")
    for statement in (
        *statements["pre_receipts"] * 2,
        *statements["pre_identifiers_of_receipts"],
        *statements["pre_receipt_hours"] * 2,
    ):
        received.deriver.command(statement)
    after = select(received, query)
    # Of exact repeats one is left, since the table of events has no other.
    assert {row[4] for row in after} == {row[4] for row in before}
    assert all(row in before for row in after)
    assert len({row[1] for row in after}) == len(after)
    assert select(received, SUMMED) == select(received, COUNTED)
