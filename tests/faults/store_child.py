"""A process that stores events until something happens to it; the fault tests start it.

Usage: store_child.py acknowledge|count|exhaust|limit FOLDER. Answers with lines of JSON.
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

from postback.errors import StoreUnavailable
from postback.metrics import Metrics
from postback.store.datadir import DataDir
from postback.store.events import EventStore
from postback.store.rows import Rows
from postback.store.writer import GroupWriter

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


def tell(result: object) -> None:
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


async def acknowledge(writer: GroupWriter, store: EventStore, folder: Path) -> None:
    """Store batches 0, 1, 2 … by several callers at once, and tell each that is acknowledged, until killed."""
    numbers = iter(range(1_000_000))

    async def call() -> None:
        for number in numbers:
            await writer.write(batch(number))
            tell(number)

    await asyncio.gather(*(call() for _ in range(_CALLERS)))


def found(store: EventStore) -> dict[str, int]:
    """Events of each batch."""
    with store._reader() as client:
        rows = client.query(
            "SELECT splitByChar('-', event_id)[1] AS number, count() FROM event FINAL GROUP BY number"
        ).result_rows
    return dict(map(tuple, rows))


def merging(store: EventStore) -> bool:
    """Whether the engine is merging parts."""
    with store._reader() as client:
        return bool(client.query("SELECT count() FROM system.merges").result_rows[0][0])


async def count(writer: GroupWriter, store: EventStore, folder: Path) -> None:
    """Tell how many events each batch has."""
    tell(found(store))


class Log:
    """Writes batches, and remembers those that were acknowledged."""

    def __init__(self, writer: GroupWriter) -> None:
        self.acknowledged: dict[str, int] = {}
        self._writer = writer
        self._numbers = iter(range(100_000))

    async def write(self, size: int = BATCH) -> bool:
        number = next(self._numbers)
        try:
            await self._writer.write(batch(number, size))
        except StoreUnavailable:
            return False
        self.acknowledged[str(number)] = size
        return True


async def exhaust(writer: GroupWriter, store: EventStore, folder: Path) -> None:
    """Fill the disk that the folder is on, to the last byte; then make room again."""
    log = Log(writer)
    # Most of the disk is kept back: what is freed at the end must do for whatever the store then merges, too.
    filler = folder / "filler"
    filler.write_bytes(bytes(_KEPT_BACK))
    # Nobody else fills the disk under a merge here: chDB 26.5 then may put a broken part in the place of good ones.
    while await log.write(size=5_000) or merging(store):
        pass
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    full = [await log.write() for _ in range(3)]
    readable = log.acknowledged.items() <= found(store).items()
    filler.unlink()
    again = [await log.write() for _ in range(3)]
    tell({"full": full, "readable": readable, "again": again, "acknowledged": log.acknowledged, "found": found(store)})


async def limit(writer: GroupWriter, store: EventStore, folder: Path) -> None:
    """Forbid this process to write any file further than a few bytes; then allow it again."""
    log = Log(writer)
    await log.write()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    full = [await log.write() for _ in range(3)]
    readable = log.acknowledged.items() <= found(store).items()
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    again = [await log.write() for _ in range(3)]
    tell({"full": full, "readable": readable, "again": again, "acknowledged": log.acknowledged, "found": found(store)})


async def main(act: str, path: Path) -> None:
    folder = DataDir.open(path)
    store = EventStore.open(folder.events_dsn, folder.scratch)
    writer = GroupWriter(store, 100_000, Metrics())
    writer.start()
    await {"acknowledge": acknowledge, "count": count, "exhaust": exhaust, "limit": limit}[act](writer, store, path)
    await writer.stop()
    store.close()
    folder.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
