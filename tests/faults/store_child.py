"""A process that stores events until something happens to it; the fault tests start it.

Usage: store_child.py acknowledge|count|exhaust|merge|limit FOLDER. Answers with lines of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.engine import select
from tests.ingest import ingest_log

from postback.errors import StoreUnavailable
from postback.metrics import Metrics
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore
from postback.store.ingest_log import IngestLog
from postback.store.merge_guard import MergeGuard
from postback.store.rows import Rows

BATCH = 100
_CALLERS = 4
_KEPT_BACK = 44_000_000
"""Bytes of the 64 MiB that the test of a full disk mounts."""


def batch(number: int, size: int = BATCH) -> list[Rows]:
    """The same events every time, but for their time of receipt."""
    texts = dict.fromkeys(("action_source", "event_source_url", "custom_event_name"), "")
    texts |= {"account_id": "default", "event_source_id": "website", "event_type": "purchase"}
    now = time.time_ns() // 1_000
    columns: dict[str, Any] = {name: [text] * size for name, text in texts.items()} | {
        "event_id": [f"{number}-{n}" for n in range(size)],
        "event_time": [now] * size,
        "received_at": list(range(now, now + size)),
        "custom_data": [b'{"value":1,"currency":"EUR","order_id":"%s"}' % os.urandom(64).hex().encode()] * size,
        "extra": [b""] * size,
        "match_keys": [os.urandom(32) for _ in range(size)],
        "quality": [0.5] * size,
        "warnings": [[]] * size,
    }
    return [Rows("event", columns)]


def print_line(result: object) -> None:
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


async def acknowledge(log: IngestLog, store: EventStore, folder: Path) -> None:
    """Store batches 0, 1, 2 … by several callers at once until killed, and print each that is begun or acknowledged."""
    numbers = iter(range(1_000_000))

    async def call() -> None:
        for number in numbers:
            print_line({"begun": number})
            await log.append(batch(number))
            print_line({"acknowledged": number})

    await asyncio.gather(*(call() for _ in range(_CALLERS)))


def found(store: EventStore) -> dict[str, int]:
    """Events of each batch."""
    query = "SELECT splitByChar('-', event_id)[1] AS number, uniqExact(event_id) FROM event GROUP BY number"
    return dict(select(store, query))


def merging(store: EventStore) -> bool:
    """Whether the engine is merging parts."""
    [(merges,)] = select(store, "SELECT count() FROM system.merges")
    return bool(merges)


async def count(log: IngestLog, store: EventStore, folder: Path) -> None:
    """Print how many events each batch has."""
    await log.flushed()
    print_line(found(store))


class Batches:
    """Writes batches, and remembers those that were acknowledged."""

    def __init__(self, log: IngestLog) -> None:
        self.appended: dict[str, int] = {}
        self.acknowledged: dict[str, int] = {}
        self._log = log
        self._numbers = iter(range(100_000))

    async def write(self, size: int = BATCH, seconds: float | None = None) -> bool:
        """Whether a batch was stored, within so many seconds."""
        number = next(self._numbers)
        try:
            await self._log.append(batch(number, size))
            self.appended[str(number)] = size
            async with asyncio.timeout(seconds):
                await self._log.flushed()
        except (StoreUnavailable, TimeoutError):
            return False
        self.acknowledged[str(number)] = size
        return True


async def exhaust(log: IngestLog, store: EventStore, folder: Path) -> None:
    """Fill the disk that the folder is on, to the last byte; then make room again."""
    batches = Batches(log)
    # Most of the disk is kept back: what is freed at the end must do for whatever the store then merges, too.
    filler = folder / "filler"
    filler.write_bytes(bytes(_KEPT_BACK))
    # Nobody else fills the disk under a merge here: chDB 26.5 then may put a broken part in the place of good ones.
    while await batches.write(size=5_000) or merging(store):
        pass
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    full = [await batches.write(seconds=1) for _ in range(3)]
    readable = batches.acknowledged.items() <= found(store).items()
    filler.unlink()
    again = [await batches.write() for _ in range(3)]
    stored = {"acknowledged": batches.acknowledged, "found": found(store)}
    print_line({"full": full, "readable": readable, "again": again, **stored})


async def merge(log: IngestLog, store: EventStore, folder: Path) -> None:
    """Fill the disk while the engine merges; then make room again, and have the merges checked."""
    batches, metrics = Batches(log), Metrics()
    guard = MergeGuard(store, folder, metrics)
    filler = folder / "filler"
    filler.write_bytes(bytes(_KEPT_BACK))
    hit = False
    while await batches.write(size=5_000, seconds=0.5):
        hit = hit or merging(store)
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            hit = hit or merging(store)
            file.write(bytes(4096))
    filler.unlink()
    await log.flushed()
    await _checked_merges(guard, store)
    guard.close()
    restored = 'outcome="restored"' in metrics.render().decode()
    print_line({"hit": hit, "restored": restored, "acknowledged": batches.appended, "found": found(store)})


async def _checked_merges(guard: MergeGuard, store: EventStore) -> None:
    """Check the merges as a server does, again and again, until one that began on the full disk can't be under way."""
    under_way = True
    while under_way:
        under_way = merging(store)
        await asyncio.to_thread(guard.check)


async def limit(log: IngestLog, store: EventStore, folder: Path) -> None:
    """Forbid this process to write any file further than a few bytes; then allow it again."""
    batches = Batches(log)
    await batches.write()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    full = [await batches.write() for _ in range(3)]
    readable = batches.acknowledged.items() <= found(store).items()
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    again = [await batches.write() for _ in range(3)]
    stored = {"acknowledged": batches.acknowledged, "found": found(store)}
    print_line({"full": full, "readable": readable, "again": again, **stored})


async def main(act: str, path: Path) -> None:
    folder = DataDir.open(path)
    store = EventStore.open(folder.events_dsn, folder.scratch)
    control = ControlStore(folder.control_url)
    control.migrate()
    acts = {"acknowledge": acknowledge, "count": count, "exhaust": exhaust, "merge": merge, "limit": limit}
    async with ingest_log(folder, store, control) as log:
        await acts[act](log, store, path)
    control.close()
    store.close()
    folder.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
