"""The flusher: moves what the ingest log has made durable into the event store and the control store."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from postback.errors import InternalError, StoreUnavailable
from postback.metrics import Metrics
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.deliveries import insert_deliveries
from postback.store.idempotency import IdempotencyScope, insert_answers, is_first
from postback.store.installation import log_owner
from postback.store.log_files import LogFiles
from postback.store.log_segments import LogSegments, Segment
from postback.store.placements import FIRST_SHARD
from postback.store.rows import COLUMNS, Rows, Table
from postback.store.shards import Shards

__all__ = ["Flushed", "Flusher", "drain"]

_log = logging.getLogger(__name__)


class _Part(NamedTuple):
    """Rows of one frame for one table; the numbers are the rows' place among these of the segment, and the frame's."""

    number: int
    sequence: int
    rows: Rows


class Flushed(NamedTuple):
    """What was moved.

    Attributes:
        segment: The segment that had it; it is removed.
        scopes: The keys of the calls, whose responses are in the control store now.
        destinations: The destinations that have deliveries in the outbox now.
    """

    segment: Segment
    scopes: Sequence[IdempotencyScope]
    destinations: frozenset[str]


class Flusher:
    """Flushes one segment at a time, in order. Each table gets its rows in one insert, whose token is the segment's.

    A flush that fails or is cut short anywhere is repeated from its beginning, also by the next start: the event store
    drops an insert whose token it knows, and the control store keeps the first response of each key and knows whose
    deliveries it had.

    Args:
        segments: What to flush.
        shards: The event stores.
        control: The control store.
        quarantine: Where frames go whose rows the event store refuses.
        metrics: Where flushes are counted.
    """

    def __init__(
        self,
        segments: LogSegments,
        shards: Shards,
        control: ControlStore,
        quarantine: LogFiles,
        metrics: Metrics | None = None,
    ) -> None:
        self._segments = segments
        self._shards = shards
        self._control = control
        self._quarantine = quarantine
        self._metrics = metrics or Metrics()
        self._moved: Flushed | None = None
        self._flushing = threading.Lock()
        self._interrupted = False

    def flush_oldest(self) -> Flushed | None:
        """Flush the oldest sealed segment, and remove it; returns None if there is none.

        Raises:
            StoreUnavailable: A store refused; the segment stays, and the next call begins again.
        """
        if not self._segments.sealed:
            return None
        with self._flushing:
            self._interrupted = True
            return self._flush_oldest()

    def _flush_oldest(self) -> Flushed:
        if self._moved is None:
            self._moved = self._move(self._segments.sealed[0])
        try:
            self._segments.remove_oldest()
        except OSError as error:  # it may be gone nevertheless, so it isn't read again
            raise StoreUnavailable("The ingest log can't be written.", retry_after=1) from error
        moved, self._moved = self._moved, None
        self._interrupted = False
        return moved

    @contextmanager
    def between_flushes(self) -> Iterator[None]:
        """Let no flush be at work; of each segment the stores have everything or nothing.

        Raises:
            StoreUnavailable: A flush failed, so that they may have a part of its segment.
        """
        with self._flushing:
            if self._interrupted:
                raise StoreUnavailable("Events that were accepted can't be stored at present.", retry_after=1)
            yield

    def _move(self, segment: Segment) -> Flushed:
        """Store what a segment has."""
        started = time.perf_counter()
        frames = self._segments.frames(segment)
        by_table: dict[Table, list[_Part]] = {table: [] for table in COLUMNS}
        deliveries = []
        for frame in frames:
            body = frame.body()
            deliveries += body.deliveries
            for rows in body.rows:
                parts = by_table[rows.table]
                parts.append(_Part(len(parts), frame.sequence, rows))
        for table, parts in by_table.items():
            if parts:
                self._insert(segment, table, parts)
        answers = [frame.summary.answer for frame in frames if frame.summary.answer]
        if answers or deliveries:
            with self._control.begin() as connection:
                insert_answers(self._control, connection, answers)
                # What was delivered meanwhile is in the outbox no more, and must not come back.
                if deliveries and is_first(self._control, connection, segment.name):
                    insert_deliveries(self._control, connection, deliveries)
        self._metrics.insert(segment.rows, time.perf_counter() - started, len(frames))
        destinations = frozenset(row["destination"] for row in deliveries)
        return Flushed(segment, [answer.scope for answer in answers], destinations)

    def _insert(self, segment: Segment, table: Table, parts: Sequence[_Part]) -> None:
        """Insert rows; if some are refused for what they are, the halves apart, down to the frame that has them."""
        token = f"{segment.name}-{table}-{parts[0].number}-{parts[-1].number}"
        try:
            self._shards.get(FIRST_SHARD).insert_block(table, [part.rows for part in parts], token)
        except InternalError:
            if len(parts) == 1:
                self._set_aside(segment, table, parts[0])
            else:
                middle = len(parts) // 2
                self._insert(segment, table, parts[:middle])
                self._insert(segment, table, parts[middle:])

    def _set_aside(self, segment: Segment, table: Table, part: _Part) -> None:
        """Keep rows that no table takes in a file of their own, so that they hold nothing up."""
        frame = next(frame for frame in self._segments.frames(segment) if frame.sequence == part.sequence)
        name = f"{segment.name}-{table}-{part.number}"
        try:
            self._quarantine.remove(name)  # if this flush was begun before
            file = self._quarantine.create(name)
            try:
                self._quarantine.write(file, 0, frame.packed.tobytes())
                self._quarantine.sync(file)
            finally:
                self._quarantine.close(file)
        except OSError as error:
            raise StoreUnavailable("The quarantine of the ingest log can't be written.", retry_after=1) from error
        self._metrics.quarantined(table, len(part.rows))
        _log.error(
            "%d rows for the table %s can't be stored and are set aside in quarantine/%s", len(part.rows), table, name
        )


def drain(folder: DataDir, shards: Shards, control: ControlStore) -> None:
    """Flush what a server left in its log, for a command that works on the stores while no server runs.

    Raises:
        StartupError: The log is damaged.
        StoreUnavailable: A store refused; what is left stays in the log.
    """
    segments = LogSegments(folder.log, shards.receipt_times, log_owner(control))
    segments.recover()
    flusher = Flusher(segments, shards, control, folder.quarantine)
    while flusher.flush_oldest():
        pass
