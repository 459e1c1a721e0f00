"""An ingest log of its own over the stores of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from postback.metrics import Metrics
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore
from postback.store.flusher import Flusher
from postback.store.idempotency import IdempotencyStore
from postback.store.ingest_log import IngestLog
from postback.store.log_segments import LogSegments
from postback.store.shards import Shards
from postback.threads import ThreadPool


@asynccontextmanager
async def ingest_log(
    folder: DataDir,
    events: EventStore,
    control: ControlStore,
    *,
    max_events: int = 100_000,
    metrics: Metrics | None = None,
) -> AsyncIterator[IngestLog]:
    """The log of a data folder, which is flushed while the block runs and when it is left."""
    metrics = metrics or Metrics()
    segments = LogSegments(folder.log, events.receipt_times)
    appends, flushes = ThreadPool("log", 1), ThreadPool("inserts", 1)
    idempotency = IdempotencyStore(control, flushes)
    for answer in segments.recover():
        idempotency.logged(answer)
    flusher = Flusher(segments, Shards.alone(events), control, folder.quarantine, metrics)
    log = IngestLog(segments, flusher, idempotency, max_events, metrics, appends, flushes)
    flushing = asyncio.create_task(log.run())
    try:
        yield log
    finally:
        flushing.cancel()
        with suppress(asyncio.CancelledError):
            await flushing
        await log.stop()
        appends.close()
        flushes.close()
