"""The event store: what is kept of events, which copy wins, and what can be read back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.engine import open_events, select

from postback.errors import InternalError, StartupError
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore, SourceActivity, StoredRejection
from postback.store.rows import Rows, Table
from postback.tasks.list_conversions import ConversionFilter, Position

NOW = time.time_ns() // 1_000
EMAIL_KEY, CLICK_KEY = b"\x01" + b"e" * 15, b"\x03" + b"c" * 15


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStore]:
    folder = DataDir.open(tmp_path_factory.mktemp("data"))
    store = open_events(folder.path)
    yield store
    store.close()
    folder.close()


def purchases(account_id: str, *event_ids: str, received_at: int = NOW, table: Table = "event", **same: Any) -> Rows:
    """Accepted events that differ by their ids and by a microsecond each; ``same`` overrides a column for all."""
    count = len(event_ids)
    values: dict[str, Any] = {
        "account_id": account_id,
        "event_source_id": "website",
        "event_type": "purchase",
        "event_time": NOW,
        "action_source": "website",
        "event_source_url": "https://shop.example/thanks",
        "custom_event_name": "",
        "custom_data": b'{"value":139.12,"currency":"EUR"}',
        "extra": b"",
        "match_keys": EMAIL_KEY + CLICK_KEY,
        "quality": 0.75,
        "warnings": [],
    }
    columns: dict[str, Sequence[Any]] = {name: [value] * count for name, value in (values | same).items()}
    columns |= {"event_id": event_ids, "received_at": range(received_at, received_at + count)}
    return Rows(table, columns)


def rejection(account_id: str, event_id: str, reason: str, received_at: int = NOW, test_event_code: str = "") -> Rows:
    values = {
        "account_id": account_id,
        "event_source_id": "website",
        "event_type": "purchase",
        "event_id": event_id,
        "test_event_code": test_event_code,
        "received_at": received_at,
        "reason": reason,
        "field": "event_time",
        "message": "event_time has no offset. Add one.",
    }
    return Rows("rejected_event", {name: [value] for name, value in values.items()})


def stored(store: EventStore, account_id: str, columns: str) -> list[tuple[Any, ...]]:
    query = f"SELECT {columns} FROM event WHERE account_id = {{account_id:String}} "
    query += "ORDER BY event_id, received_at LIMIT 1 BY event_source_id, event_type, event_id"
    return select(store, query, account_id=account_id)


def test_an_accepted_event_can_be_asked_for_without_its_keys(store: EventStore) -> None:
    store.insert([purchases("asks", "order_1", warnings=["MISSING_CURRENCY"])])
    verdicts = store.status("asks", "website", "purchase", "order_1")
    assert verdicts.event is not None
    assert verdicts.event.received_at == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOW)
    assert verdicts.event.event_time.utcoffset() == timedelta(0)
    assert (verdicts.event.quality, verdicts.event.warnings) == (0.75, ("MISSING_CURRENCY",))
    assert verdicts.event.kinds == (1, 3)


def test_the_first_write_wins_whatever_order_copies_arrive_in(store: EventStore) -> None:
    first, second = b'{"value":1}', b'{"value":2}'
    store.insert([purchases("copies", "a", "b", received_at=NOW + 50, custom_data=second)])
    store.insert([purchases("copies", "a", "b", received_at=NOW, custom_data=first)])
    store.insert([purchases("copies", "a", "b", received_at=NOW + 90, custom_data=second)])
    assert stored(store, "copies", "event_id, value") == [("a", Decimal(1)), ("b", Decimal(1))]


def test_copies_inside_one_batch_are_one_event(store: EventStore) -> None:
    store.insert([purchases("batch", *["order_1"] * 5, "order_2")])
    assert stored(store, "batch", "event_id, toUnixTimestamp64Micro(received_at)") == [
        ("order_1", NOW),
        ("order_2", NOW + 5),
    ]


def test_the_same_id_is_another_event_for_another_type_source_or_account(store: EventStore) -> None:
    store.insert(
        [
            purchases("identity", "1"),
            purchases("identity", "1", event_type="lead"),
            purchases("identity", "1", event_source_id="app"),
            purchases("identity too", "1"),
        ]
    )
    assert len(stored(store, "identity", "event_id")) == 3
    assert len(stored(store, "identity too", "event_id")) == 1


def test_money_is_stored_to_the_cent(store: EventStore) -> None:
    amounts = ["0.1", "139.12", "99999999999.99", "0", "1e2"]
    for number, amount in enumerate(amounts):
        data = f'{{"value":{amount},"currency":"JPY"}}'.encode()
        store.insert([purchases("money", str(number), custom_data=data)])
    assert stored(store, "money", "value, currency") == [(Decimal(amount), "JPY") for amount in amounts]


def test_a_number_beyond_money_is_kept_as_it_was_sent(store: EventStore) -> None:
    store.insert([purchases("beyond", "1", custom_data=b'{"value":1e37}')])
    assert stored(store, "beyond", "value, custom_data") == [(None, '{"value":1e37}')]


def test_each_event_keeps_its_own_number_of_keys(store: EventStore) -> None:
    for name, keys in (("a", b""), ("b", EMAIL_KEY), ("c", EMAIL_KEY + CLICK_KEY + EMAIL_KEY)):
        store.insert([purchases("keys", name, match_keys=keys)])
    assert stored(store, "keys", "match_keys") == [([],), ([EMAIL_KEY],), ([EMAIL_KEY, CLICK_KEY, EMAIL_KEY],)]


@pytest.mark.parametrize(
    "unfit",
    [{"event_type": "\ud800"}, {"match_keys": b"short"}, {"quality": "high"}, {"event_time": 2**63}],
    ids=lambda unfit: next(iter(unfit)),
)
def test_a_value_that_fits_no_column_is_a_defect_that_quotes_nothing(store: EventStore, unfit: dict[str, Any]) -> None:
    with pytest.raises(InternalError) as failure:
        store.insert([purchases("unfit", "1", **unfit)])
    assert failure.value.__suppress_context__
    assert not stored(store, "unfit", "event_id")


def test_test_events_live_apart_for_each_code(store: EventStore) -> None:
    for code in ("A", "B", "A"):
        store.insert([purchases("tests", "order_1", table="test_event", test_event_code=code)])
    verdicts = store.status("tests", "website", "purchase", "order_1")
    assert verdicts.event is None
    assert sorted(event.test_event_code for event in verdicts.tests) == ["A", "B"]


def test_test_events_are_forgotten_after_a_week(store: EventStore) -> None:
    eight_days_ago = NOW - 8 * 24 * 3_600_000_000
    store.insert(
        [purchases("old", "order_1", table="test_event", test_event_code="A", received_at=eight_days_ago)],
    )
    assert store.status("old", "website", "purchase", "order_1").tests == ()


def test_the_latest_reason_of_a_rejection_is_told(store: EventStore) -> None:
    store.insert([rejection("rejects", "order_1", "INVALID_REQUEST")])
    store.insert([rejection("rejects", "order_1", "INVALID_EVENT_TIME", received_at=NOW + 1)])
    assert store.status("rejects", "website", "purchase", "order_1").rejections == (
        StoredRejection(
            test_event_code="",
            received_at=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOW + 1),
            reason="INVALID_EVENT_TIME",
            field="event_time",
            message="event_time has no offset. Add one.",
        ),
    )


def test_an_event_that_is_accepted_at_last_keeps_its_rejection_beside_it(store: EventStore) -> None:
    store.insert([rejection("at last", "order_1", "INVALID_EVENT_TIME")])
    store.insert([purchases("at last", "order_1", received_at=NOW + 1)])
    verdicts = store.status("at last", "website", "purchase", "order_1")
    assert verdicts.event is not None
    assert len(verdicts.rejections) == 1


def _minute(received_at: int) -> datetime:
    return datetime.fromtimestamp(received_at // 60_000_000 * 60, UTC)


def test_activity_counts_what_a_source_sent_today(store: EventStore) -> None:
    yesterday = NOW - 25 * 3_600_000_000
    store.insert([purchases("busy", "old", received_at=yesterday, quality=0.0)])
    store.insert([purchases("busy", "a", "b", quality=0.5), rejection("busy", "c", "INVALID_REQUEST")])
    store.insert([purchases("busy", "t", table="test_event", test_event_code="A")])
    store.insert([rejection("busy", "u", "INVALID_REQUEST", test_event_code="A")])
    assert store.activity("busy") == {
        "website": SourceActivity(
            events_received_24h=3,
            rejected_24h=1,
            last_event_at=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOW + 1),
            mean_quality_24h=0.5,
            last_minute=_minute(NOW + 1),
        )
    }


def test_a_source_whose_events_all_failed_has_no_last_event(store: EventStore) -> None:
    store.insert([rejection("failing", "a", "INVALID_REQUEST")])
    assert store.activity("failing") == {"website": SourceActivity(1, 1, None, None, last_minute=_minute(NOW))}


def test_a_silent_account_has_no_activity(store: EventStore) -> None:
    assert store.activity("silent") == {}


def test_a_restart_knows_the_newest_stamp(store: EventStore) -> None:
    in_an_hour = NOW + 3_600_000_000
    store.insert([purchases("ahead", "a", received_at=in_an_hour)])
    assert store.last_received_at() == in_an_hour


@pytest.mark.usefixtures("store")  # has the only folder that this process may have, unless it is on a server
def test_an_event_store_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    with (
        pytest.raises(StartupError, match="can't be opened"),
        closing(EventStore.open(f"chdb://{tmp_path}/here", tmp_path)),
    ):
        EventStore.open(f"chdb://{tmp_path}/elsewhere", tmp_path)


def test_the_newest_conversions_of_one_hour_are_found_among_many(store: EventStore) -> None:
    # So many that the engine reads in blocks: its 26.5 compared another column with the times that it sorts by.
    conversions = """
        INSERT INTO attribution
        (account_id, event_type, event_id, event_source_id, run_id, event_time, media_buy_id, counted, conversions)
        SELECT 'sold', 'purchase', toString(number), 'website', 1,
            toDateTime64('2026-10-17 00:00:00', 6, 'UTC') + toIntervalSecond(sipHash64(number) % 864000), 'mb', true, 1
        FROM numbers({first:UInt32}, 60000)
    """
    for first in (0, 60_000):
        store.deriver.command(conversions, parameters={"first": first})

    for hour in range(5):
        chosen = ConversionFilter.of({"hour": f"2026-10-17T{hour:02}:00:00Z"}).stored()
        buy = {"account_id": "sold", "media_buy_id": "mb"}
        after = {"first": True, "last_time": 0, "last_type": "", "last_id": "", "last_source": ""}
        found = store.query("conversions_before", **buy, **chosen, **after, most=101)
        assert len(found) == 101
        assert {row[3].hour for row in found} == {hour}


@pytest.mark.parametrize("most", [7, 400])
@pytest.mark.parametrize(
    "query",
    [
        {},
        {"package_id": "p1"},
        {"event_source_id": "crm", "kind": "conversion"},
        {"start_date": "2026-10-16", "end_date": "2026-10-17"},
        {"start_date": "2026-10-17", "end_date": "2026-10-18"},
    ],
)
def test_pages_of_conversions_leave_none_out_though_many_happened_at_once(
    store: EventStore, query: dict[str, str], most: int
) -> None:
    account_id = f"at once {most} {query}"
    store.deriver.command(
        "INSERT INTO attribution (account_id, event_type, event_id, event_source_id, run_id, event_time, reported_at, "
        "media_buy_id, package_id, counted, conversions) SELECT {account_id:String}, "
        "if(number % 3 = 0, 'lead', 'purchase'), toString(intDiv(number, 2)), if(number % 2 = 0, 'website', 'crm'), 1, "
        "toDateTime64('2026-10-17 00:00:00', 6, 'UTC') + toIntervalMicrosecond(intDiv(number, 600)) AS at, "
        "at - toIntervalDay(number % 4 = 0), if(number % 10 = 0, 'other', 'mb'), concat('p', toString(number % 5)), "
        "number % 7 > 0, number % 7 > 0 FROM numbers(1500)",
        parameters={"account_id": account_id},
    )
    wanted = [
        (["website", "crm"][n % 2], "purchase" if n % 3 else "lead", str(n // 2), n // 600)
        for n in range(1500)
        if n % 10
        and query.get("package_id") in (None, f"p{n % 5}")
        and ("kind" not in query or (n % 2 and n % 7))
        and query.get("start_date") in (None, f"2026-10-{17 - (n % 4 == 0)}")
    ]
    wanted.sort(key=lambda event: (event[3], event[1], event[2], event[0]), reverse=True)

    buy = {"account_id": account_id, "media_buy_id": "mb", **ConversionFilter.of(query).stored()}
    found: list[Position] = []
    while True:
        after = {"first": not found, **(found[-1] if found else Position(0, "", "", "")).parameters("last")}
        page = store.query("conversions_before", **buy, **after, most=most)
        found += map(Position.of, page)
        if len(page) < most:
            break
    assert [(each.event_source_id, each.event_type, each.event_id) for each in found] == [event[:3] for event in wanted]
