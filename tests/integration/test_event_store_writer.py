"""Group commit: calls that wait at the same time share an insert, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from postback.errors import InternalError, Overloaded, StoreUnavailable
from postback.metrics import Metrics
from postback.store.datadir import DataDir
from postback.store.events import EventStore
from postback.store.rows import Rows
from postback.store.writer import GroupWriter

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStore]:
    folder = DataDir.open(tmp_path_factory.mktemp("data"))
    store = EventStore.open(folder.events_dsn, folder.scratch)
    yield store
    store.close()
    folder.close()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def writer(store: EventStore, metrics: Metrics) -> AsyncIterator[GroupWriter]:
    writer = GroupWriter(store, max_events=100, metrics=metrics)
    writer.start()
    yield writer
    await writer.stop()


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


def has(store: EventStore, story: str, event_id: str) -> bool:
    return bool(store.verdicts(story, "website", "purchase", event_id).rejections)


def inserts(metrics: Metrics) -> int:
    lines = metrics.render().decode().splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("postback_insert_calls_count"))))


async def test_what_was_written_is_there_when_write_returns(store: EventStore, writer: GroupWriter) -> None:
    await writer.write(rejections("alone", "a"))
    assert has(store, "alone", "a")


async def test_calls_at_the_same_time_share_an_insert(store: EventStore, writer: GroupWriter, metrics: Metrics) -> None:
    await asyncio.gather(*(writer.write(rejections("shared", str(n))) for n in range(20)))
    assert all(has(store, "shared", str(n)) for n in range(20))
    assert inserts(metrics) <= 2


async def test_a_call_without_rows_needs_no_insert(writer: GroupWriter, metrics: Metrics) -> None:
    await writer.write([])
    assert inserts(metrics) == 0


async def test_unfit_rows_fail_their_own_call_only(store: EventStore, writer: GroupWriter) -> None:
    outcomes = await asyncio.gather(
        writer.write(rejections("poison", "before")),
        writer.write(rejections("poison", "unfit", message="\ud800")),
        writer.write(rejections("poison", "after")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), InternalError, type(None)]
    assert [has(store, "poison", name) for name in ("before", "unfit", "after")] == [True, False, True]


async def test_a_full_queue_refuses_at_once_and_takes_nothing(store: EventStore, writer: GroupWriter) -> None:
    taken = asyncio.create_task(writer.write(rejections("full", *map(str, range(60)))))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refusal:
        await writer.write(rejections("full", *map(str, range(60, 120))))
    await taken
    assert refusal.value.retry_after == 1
    assert has(store, "full", "0")
    assert not has(store, "full", "60")


async def test_a_call_larger_than_the_queue_passes_when_nothing_waits(store: EventStore, writer: GroupWriter) -> None:
    await writer.write(rejections("large", *map(str, range(500))))
    assert has(store, "large", "499")


async def test_a_caller_that_goes_away_takes_nobody_with_it(store: EventStore, writer: GroupWriter) -> None:
    gone, stays = (asyncio.create_task(writer.write(rejections("cancel", name))) for name in ("gone", "stays"))
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert gone.cancelled()
    assert has(store, "cancel", "stays")


async def test_stopping_writes_what_was_taken_and_refuses_the_rest(store: EventStore) -> None:
    writer = GroupWriter(store, max_events=100, metrics=Metrics())
    writer.start()
    taken = asyncio.create_task(writer.write(rejections("stop", "taken")))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(writer.stop())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await writer.write(rejections("stop", "late"))
    await asyncio.gather(taken, stopping)
    assert has(store, "stop", "taken")
    assert not has(store, "stop", "late")
