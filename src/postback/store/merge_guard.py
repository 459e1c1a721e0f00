"""Watches the engine's merges: a merge must never replace good rows by ones that can't be read.

Where somebody else takes the last of the disk while the engine merges, it may put a broken part in the place of good
ones. So the engine keeps replaced parts for a minute (``old_parts_lifetime``), and within that time every part that a
merge made is read once: if it is broken, those that it replaced come back. When the disk is nearly full, nothing is
merged at all.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from postback.metrics import Metrics
from postback.store.disk_room import merges_need
from postback.store.event_store import EventStore

__all__ = ["MergeGuard"]

_ATTACH_TRIES = 50
_ATTACH_PAUSE_SECONDS = 0.1

_log = logging.getLogger(__name__)


class _Part(NamedTuple):
    """A part of a table, as sql/merged_parts.sql selects it."""

    table: str
    name: str
    path: str


class MergeGuard:
    """Checks merges of the embedded engine. Synchronous and thread-safe.

    Args:
        events: The event store, in this process.
        data: The data folder.
        metrics: Where broken parts are counted.
        free: Free bytes of the data folder's disk; by default those that the system tells.

    Attributes:
        broken: How many broken parts were found.
    """

    def __init__(self, events: EventStore, data: Path, metrics: Metrics, free: Callable[[], int] | None = None) -> None:
        self._events = events
        self._metrics = metrics
        self._free = free or (lambda: shutil.disk_usage(data).free)
        self._least_free = merges_need(data)
        self._client = events.engine.client()
        self._checked: set[_Part] = set(self._merged_parts())
        self._stopped = False
        self._checking = threading.Lock()
        self.broken = 0

    def close(self) -> None:
        """Close the guard's client."""
        self._client.close()

    def check(self) -> None:
        """Stop or start merges as the disk has room, and check the parts that merges made since the last call.

        Raises:
            StoreUnavailable: The engine doesn't answer.
        """
        with self._checking:
            self._watch_room()
            parts = self._merged_parts()
            for part in parts:
                if part not in self._checked and self._broken(part):
                    self.broken += 1
                    self._restore(part)
            self._checked = set(parts)

    def _watch_room(self) -> None:
        free = self._free()
        if not self._stopped and free < self._least_free:
            self._client.command("SYSTEM STOP MERGES")
            self._stopped = True
            _log.error("The disk has %d MB left: nothing is merged until there is room. Make room.", free // 2**20)
        elif self._stopped and free > 2 * self._least_free:
            self._client.command("SYSTEM START MERGES")
            self._stopped = False
            _log.info("The disk has room again: merges go on.")

    def _merged_parts(self) -> list[_Part]:
        return [_Part(*row) for row in self._events.query("merged_parts")]

    def _broken(self, part: _Part) -> bool:
        """Whether a part can't be read. One that was merged away meanwhile can: its successor is checked."""
        try:
            rows = self._client.query(
                f"CHECK TABLE {part.table} PART '{part.name}' SETTINGS check_query_single_value_result = 0"
            ).result_rows
        except ClickHouseError:
            return part in self._merged_parts()
        return not all(passed in (1, "1", True) for _, passed, _ in rows)

    def _restore(self, part: _Part) -> None:
        """Bring back the parts that a broken one replaced."""
        if not self._events.query("replaced_parts", table=part.table, part=part.name)[0][0]:
            self._metrics.broken_merge("lost")
            _log.critical(
                "The part %s of the table %s can't be read, and what it was merged from is gone. Restore a backup.",
                part.name,
                part.table,
            )
            return
        folder, aside = Path(part.path), f"broken-by-merge_{part.name}"
        with self._events.paused(), self._detached(part.table):
            folder.rename(folder.parent / "detached" / aside)
        self._client.command(f"ALTER TABLE {part.table} DROP DETACHED PART '{aside}' SETTINGS allow_drop_detached = 1")
        self._metrics.broken_merge("restored")
        _log.error("A merge of the table %s made a broken part; those that it replaced are back.", part.table)

    @contextmanager
    def _detached(self, table: str) -> Iterator[None]:
        """Take a table from the engine for a moment; attaching it again makes the engine look at its parts anew."""
        self._client.command(f"DETACH TABLE {table}")
        try:
            yield
        finally:
            _attach(self._client, table)


def _attach(client: Client, table: str) -> None:
    """Attach a table; while a query still reads from it, the engine refuses."""
    for left in reversed(range(_ATTACH_TRIES)):
        try:
            client.command(f"ATTACH TABLE {table}")
            return
        except ClickHouseError:
            if not left:
                raise
            time.sleep(_ATTACH_PAUSE_SECONDS)
