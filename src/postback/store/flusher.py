"""The flusher: moves what the ingest log has made durable into the event store and the control store."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from postback.errors import InternalError, StartupError, StoreUnavailable
from postback.metrics import Metrics
from postback.store.account_moves import SWITCHING
from postback.store.backlogs import Backlogs
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.deliveries import insert_deliveries
from postback.store.event_store import EventStore
from postback.store.fingerprint import log_owner
from postback.store.idempotency import IdempotencyScope, insert_answers, is_first
from postback.store.log_files import LogFiles
from postback.store.log_frames import Frame
from postback.store.log_segments import LogSegments, Segment
from postback.store.placements import FIRST_SHARD
from postback.store.rows import COLUMNS, Rows, Table
from postback.store.shards import Shards

__all__ = ["Flushed", "Flusher", "drain"]

_log = logging.getLogger(__name__)


class _Part(NamedTuple):
    """Rows of one frame for one table of a shard; ``number`` is their place among these of the segment."""

    number: int
    frame: Frame
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

    What one of several shards does not take moves into its backlog, so that the others go on; a backlog is flushed by
    itself, by a thread of its own.

    A flush that fails or is cut short anywhere is repeated from its beginning, also by the next start: the event store
    drops an insert whose token it knows, and the control store keeps the first response of each key and knows whose
    deliveries it had.

    Args:
        segments: What to flush.
        shards: The event stores.
        control: The control store.
        quarantine: Where frames go whose rows the event store refuses.
        metrics: Where flushes are counted.

    Attributes:
        backlogs: What waits for shards that could not take it.
    """

    def __init__(
        self,
        segments: LogSegments,
        shards: Shards,
        control: ControlStore,
        quarantine: LogFiles,
        metrics: Metrics | None = None,
    ) -> None:
        self.backlogs = Backlogs(segments.files, shards.receipt_times)
        self._segments = segments
        self._shards = shards
        self._control = control
        self._quarantine = quarantine
        self._metrics = metrics or Metrics()
        self._moved: Flushed | None = None
        self._flushing = threading.Lock()
        self._interrupted = False
        self._doubtful_through = 0

    def flush_oldest(self) -> Flushed | None:
        """Flush the oldest sealed segment, and remove it; returns None if there is none, or nothing may be stored.

        Raises:
            StoreUnavailable: A store refused; the segment stays, and the next call begins again.
        """
        if not self._segments.sealed:
            return None
        with self._flushing:
            if self._shards.switching:
                return None
            self._interrupted = True
            return self._flush_oldest()

    def follow_placements(self, known: int) -> int:
        """Go by where accounts are now, and store nothing while one is switched to another shard.

        It is not switched before the shards have everything or nothing of each segment: repeated with an account
        elsewhere, a flush would add to sums a second time.

        Args:
            known: The version of the placements that others believe this server to go by, also before it was started.

        Returns:
            The version that it goes by from now on.

        Raises:
            StoreUnavailable: The control store doesn't answer.
        """
        if changes := self._shards.placement_changes():
            with self._flushing:
                if changes[-1].phase != SWITCHING or changes[-1].version <= known or self._is_settled():
                    self._shards.take_up(changes)
        return self._shards.placements

    def _is_settled(self) -> bool:
        """Whether no segment is stored in a part of the shards, or may be since an earlier process began with it."""
        sealed = self._segments.sealed
        doubtful = bool(sealed) and sealed[0].last <= self._doubtful_through
        return not (self._interrupted or doubtful or self.backlogs.behind())

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
        by_shard, deliveries = self._parts(frames)
        answers = [frame.summary.answer for frame in frames if frame.summary.answer]
        if answers or deliveries:
            self._control.require_reachable()  # else each try would insert the rows again
        left = {}
        for shard, parts in by_shard.items():
            if not self._stored(segment, shard, parts):
                left[shard] = sum(len(part.rows) for part in parts)
        if left:
            self.backlogs.add(segment, left)
        segment.owed = bool(left)
        if answers or deliveries:
            with self._control.begin() as connection:
                insert_answers(self._control, connection, answers)
                # What was delivered meanwhile is in the outbox no more, and must not come back.
                if deliveries and is_first(self._control, connection, segment.name):
                    insert_deliveries(self._control, connection, deliveries)
        self._metrics.insert(segment.rows, time.perf_counter() - started, len(frames))
        destinations = frozenset(row["destination"] for row in deliveries)
        return Flushed(segment, [answer.scope for answer in answers], destinations)

    def recover(self) -> None:
        """Read what an earlier process left for shards that were away; the segments of the log are recovered.

        Raises:
            StartupError: A file is damaged, or can't be read.
        """
        self._doubtful_through = max((segment.last for segment in self._segments.sealed), default=0)
        try:
            self.backlogs.recover()
        except OSError as error:
            raise StartupError(f"The backlogs in the ingest log can't be read ({error.strerror}).") from error

    def flush_backlogs(self) -> None:
        """Store all that waits for shards.

        Raises:
            StoreUnavailable: A shard refused, or is away.
        """
        for shard in self.backlogs.behind():
            while self.flush_backlog(shard) is not None:
                pass

    def flush_backlog(self, shard: int) -> int | None:
        """Store the oldest segment that waits for a shard; returns how many rows it had, or None if nothing waits.

        Raises:
            StoreUnavailable: The shard refused, or is away.
        """
        segment = self.backlogs.oldest(shard)
        if segment is None:
            return None
        by_shard, _ = self._parts(self.backlogs.read(shard, segment))
        self._insert_all(segment, shard, by_shard.get(shard, []))
        self.backlogs.remove(shard, segment)
        return segment.rows

    def _parts(self, frames: Sequence[Frame]) -> tuple[dict[int, list[_Part]], list[dict[str, Any]]]:
        """The rows of frames by the shard that has their account, and their deliveries."""
        by_shard: dict[int, list[_Part]] = {}
        numbers: Counter[tuple[int, Table]] = Counter()
        deliveries = []
        for frame in frames:
            body = frame.body()
            deliveries += body.deliveries
            for rows in body.rows:
                for shard, some in rows.by(self._shards.number).items():
                    number = numbers[shard, rows.table]
                    numbers[shard, rows.table] += 1
                    by_shard.setdefault(shard, []).append(_Part(number, frame, some))
        return dict(sorted(by_shard.items())), deliveries

    def _stored(self, segment: Segment, shard: int, parts: Sequence[_Part]) -> bool:
        """Whether a shard took its rows; one of several that doesn't, or has a backlog already, holds up no other.

        Raises:
            StoreUnavailable: The only shard refused.
        """
        if self.backlogs.oldest(shard):
            return False
        several = self._shards.numbers != [shard]
        try:
            if several and not self._shards.get(shard).ping():  # it answers within seconds; an insert may take a minute
                raise StoreUnavailable("The event store is not available.", retry_after=1)
            self._insert_all(segment, shard, parts)
        except StoreUnavailable:
            if not several:
                raise
            _log.warning("Shard %d takes no events at present: they wait for it in its backlog.", shard)
            return False
        return True

    def _insert_all(self, segment: Segment, shard: int, parts: Sequence[_Part]) -> None:
        """Insert the rows of a shard: one insert for each table."""
        events = self._shards.get(shard) if parts else None
        for table in COLUMNS:
            of_table = [part for part in parts if part.rows.table == table]
            if of_table and events:
                self._insert(segment, events, table, of_table)

    def _insert(self, segment: Segment, events: EventStore, table: Table, parts: Sequence[_Part]) -> None:
        """Insert rows; if some are refused for what they are, the halves apart, down to the frame that has them."""
        token = f"{segment.name}-{table}-{parts[0].number}-{parts[-1].number}"
        try:
            events.insert_block(table, [part.rows for part in parts], token)
        except InternalError:
            if len(parts) == 1:
                self._set_aside(segment, events, table, parts[0])
            else:
                middle = len(parts) // 2
                self._insert(segment, events, table, parts[:middle])
                self._insert(segment, events, table, parts[middle:])

    def _set_aside(self, segment: Segment, events: EventStore, table: Table, part: _Part) -> None:
        """Keep rows that no table takes in a file of their own, so that they hold nothing up."""
        name = f"{segment.name}-{table}-{part.number}"
        if events.number != FIRST_SHARD:
            name += f"-shard-{events.number}"
        try:
            self._quarantine.remove(name)  # if this flush was begun before
            file = self._quarantine.create(name)
            try:
                self._quarantine.write(file, 0, part.frame.packed.tobytes())
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
        StartupError: The log is damaged, or nothing may be stored at present.
        StoreUnavailable: A store refused; what is left stays in the log.
    """
    shards.require_flowing()
    segments = LogSegments(folder.log, shards.receipt_times, log_owner(control))
    segments.recover()
    flusher = Flusher(segments, shards, control, folder.quarantine)
    flusher.recover()
    while flusher.flush_oldest():
        pass
    flusher.flush_backlogs()
