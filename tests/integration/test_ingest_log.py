"""The ingest log: calls that wait at the same time share a write, and nothing else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import NamedTuple, NoReturn

import pytest
from tests.engine import open_events
from tests.ingest import ingest_log

from postback.errors import InternalError, Overloaded, StoreUnavailable
from postback.metrics import Metrics
from postback.store import ingest_log as ingest_log_module
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore
from postback.store.flusher import Flushed, Flusher
from postback.store.ingest_log import IngestLog
from postback.store.rows import Rows

pytestmark = pytest.mark.anyio


class Stores(NamedTuple):
    """What a log moves calls into."""

    folder: DataDir
    events: EventStore
    control: ControlStore


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    with (
        closing(DataDir.open(tmp_path_factory.mktemp("data"))) as folder,
        closing(ControlStore(folder.control_url)) as control,
        closing(open_events(folder.path)) as events,
    ):
        control.migrate()
        yield Stores(folder, events, control)


@pytest.fixture
def store(stores: Stores) -> EventStore:
    return stores.events


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def log(stores: Stores, metrics: Metrics) -> AsyncIterator[IngestLog]:
    async with ingest_log(*stores, max_events=100, metrics=metrics) as log:
        yield log


def rejections(story: str, *event_ids: str, message: str = "") -> list[Rows]:
    """Rows of the smallest table; each story has an account of its own."""
    count = len(event_ids)
    texts = {
        "account_id": story,
        "event_source_id": "website",
        "event_type": "purchase",
        "test_event_code": "",
        "reason": "INVALID_REQUEST",
        "field": "",
        "message": message,
    }
    columns = {name: [text] * count for name, text in texts.items()}
    return [
        Rows("rejected_event", {**columns, "event_id": event_ids, "received_at": [time.time_ns() // 1_000] * count})
    ]


async def has(store: EventStore, log: IngestLog, story: str, event_id: str) -> bool:
    await log.flushed()
    return bool(store.status(story, "website", "purchase", event_id).rejections)


def appends(metrics: Metrics) -> int:
    lines = metrics.render().decode().splitlines()
    name = "postback_log_append_duration_seconds_count"
    return int(float(next(line.split()[1] for line in lines if line.startswith(name))))


async def test_what_was_appended_can_be_read(store: EventStore, log: IngestLog) -> None:
    await log.append(rejections("alone", "a"))
    assert await has(store, log, "alone", "a")


async def test_calls_at_the_same_time_share_a_write(store: EventStore, log: IngestLog, metrics: Metrics) -> None:
    await asyncio.gather(*(log.append(rejections("shared", str(n))) for n in range(20)))
    assert all([await has(store, log, "shared", str(n)) for n in range(20)])
    assert appends(metrics) <= 2


async def test_calls_that_come_during_a_flush_share_the_next_one(
    store: EventStore, log: IngestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, go_on, flush = threading.Event(), threading.Event(), Flusher.flush_oldest

    def slowly(flusher: Flusher) -> Flushed | None:
        at_work.set()
        assert go_on.wait(60)
        return flush(flusher)

    monkeypatch.setattr(Flusher, "flush_oldest", slowly)
    monkeypatch.setattr(ingest_log_module, "_SEAL_SECONDS", 60)
    await log.append(rejections("meanwhile", "first"))
    reading = asyncio.create_task(log.flushed())
    assert await asyncio.to_thread(at_work.wait, 60)
    for number in range(20):
        await log.append(rejections("meanwhile", str(number)))
    go_on.set()
    await reading
    await asyncio.sleep(0.2)

    assert log.waiting[0] == 20
    assert await has(store, log, "meanwhile", "19")


async def test_each_call_is_timed_in_the_queue_and_in_the_write_that_it_shares(
    log: IngestLog, metrics: Metrics
) -> None:
    await asyncio.gather(*(log.append(rejections("timed", str(n))) for n in range(20)))
    observed = metrics.render().decode()
    for stage in ("queue", "append"):
        assert f'postback_stage_duration_seconds_count{{pipeline="request",stage="{stage}"}} 20.0' in observed


async def test_a_call_without_rows_needs_no_write(log: IngestLog, metrics: Metrics) -> None:
    await log.append([])
    assert appends(metrics) == 0


async def test_what_can_not_be_written_fails_its_own_call_only(store: EventStore, log: IngestLog) -> None:
    outcomes = await asyncio.gather(
        log.append(rejections("poison", "before")),
        log.append(rejections("poison", "unfit", message="\ud800")),
        log.append(rejections("poison", "after")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), InternalError, type(None)]
    assert [await has(store, log, "poison", name) for name in ("before", "unfit", "after")] == [True, False, True]


async def test_rows_that_the_store_refuses_are_set_aside_and_hold_nothing_up(
    stores: Stores, log: IngestLog, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    [unfit] = rejections("unfit", "unfit", message="")
    calls = [rejections("unfit", str(n)) for n in range(5)]
    calls.insert(3, [Rows("rejected_event", {**unfit.columns, "message": [17]})])
    await asyncio.gather(*(log.append(call) for call in calls))

    assert [await has(stores.events, log, "unfit", str(n)) for n in range(5)] == [True] * 5
    assert not await has(stores.events, log, "unfit", "unfit")
    assert len(stores.folder.quarantine.names()) == 1
    assert 'postback_quarantined_rows_total{table="rejected_event"} 1.0' in metrics.render().decode()
    assert "1 rows for the table rejected_event can't be stored" in caplog.text
    assert stores.folder.log.names() == []


async def test_rows_that_the_engine_itself_refuses_are_set_aside_too(
    stores: Stores, log: IngestLog, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    alter = "ALTER TABLE rejected_event {} CONSTRAINT of_an_operator"
    stores.events.deriver.command(alter.format("ADD") + " CHECK field != 'refused'")
    try:
        [fit] = rejections("constrained", "refused")
        unfit = Rows("rejected_event", {**fit.columns, "field": ["refused"]})
        await asyncio.gather(*(log.append(call) for call in (rejections("constrained", "fit"), [unfit])))
        stored = [await has(stores.events, log, "constrained", name) for name in ("fit", "refused")]
    finally:
        stores.events.deriver.command(alter.format("DROP"))

    assert stored == [True, False]
    assert "The event store refused rows: VIOLATED_CONSTRAINT" in caplog.text
    assert 'postback_quarantined_rows_total{table="rejected_event"} 1.0' in metrics.render().decode()


async def test_a_full_log_refuses_at_once_and_takes_nothing(store: EventStore, log: IngestLog) -> None:
    taken = asyncio.create_task(log.append(rejections("full", *map(str, range(60)))))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refusal:
        await log.append(rejections("full", *map(str, range(60, 120))))
    await taken
    assert refusal.value.retry_after == 1
    assert await has(store, log, "full", "0")
    assert not await has(store, log, "full", "60")


async def test_a_call_larger_than_the_bound_passes_when_nothing_waits(store: EventStore, log: IngestLog) -> None:
    await log.append(rejections("large", *map(str, range(500))))
    assert await has(store, log, "large", "499")


async def test_a_caller_that_goes_away_takes_nobody_with_it(store: EventStore, log: IngestLog) -> None:
    gone, stays = (asyncio.create_task(log.append(rejections("cancel", name))) for name in ("gone", "stays"))
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert gone.cancelled()
    assert await has(store, log, "cancel", "stays")


async def test_a_defect_fails_the_calls_that_it_meets_and_no_later_one(
    store: EventStore, log: IngestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Metrics, "append", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(log.append(rejections("defect", "met")), 60)
    await asyncio.wait_for(log.append(rejections("defect", "later")), 60)
    assert await has(store, log, "defect", "later")


async def test_stopping_flushes_what_was_taken_and_refuses_the_rest(stores: Stores) -> None:
    async with ingest_log(*stores) as log:
        taken = asyncio.create_task(log.append(rejections("stop", "taken")))
        await asyncio.sleep(0)
        stopping = asyncio.create_task(log.stop())
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable):
            await log.append(rejections("stop", "late"))
        await asyncio.gather(taken, stopping)
        assert await has(stores.events, log, "stop", "taken")
        assert not await has(stores.events, log, "stop", "late")


async def test_a_store_that_is_down_is_waited_for_and_calls_are_acknowledged_until_the_bound(
    stores: Stores, log: IngestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()

    def refused(*_: object) -> NoReturn:
        loop.call_soon_threadsafe(tried.release)
        raise StoreUnavailable("The event store is not available.")

    with monkeypatch.context() as down:
        down.setattr(EventStore, "insert_block", refused)
        for number in range(10):
            await log.append(rejections("down", *(f"{number}-{n}" for n in range(10))))
        with pytest.raises(Overloaded):
            await log.append(rejections("down", "late"))
        reading = asyncio.create_task(log.flushed())
        for _ in range(3):
            await asyncio.wait_for(tried.acquire(), 60)
        assert not reading.done()
    await reading
    assert stores.events.status("down", "website", "purchase", "9-9").rejections
    await log.append(rejections("down", "late"))
