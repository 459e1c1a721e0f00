"""The ingest log: a call is acknowledged when one write has made it durable, and stored in large inserts behind it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from postback.errors import Overloaded, StoreUnavailable
from postback.logs import RequestContext, bind_shared, current_request
from postback.metrics import Metrics
from postback.store.flusher import Flushed, Flusher
from postback.store.idempotency import IdempotencyStore, LoggedAnswer
from postback.store.log_frames import PackedCall, pack
from postback.store.log_segments import LogSegments
from postback.store.rows import Rows
from postback.threads import ShardThreads, ThreadPool

__all__ = ["Append", "IngestLog"]

_GROUP_BYTES = 8 << 20
_MOST_BYTES = 1 << 30
"""Bytes that may wait to be flushed, whatever the number of rows: as much as a start reads within seconds."""

_SEAL_SECONDS = 0.5
_READ_SECONDS = 10.0
_BACKLOG_SECONDS = 1.0
_SWITCH_SECONDS = 0.05
_STOP_SECONDS = 3.0
_LONGEST_PAUSE = 5.0

_MANY_ROWS = 256
"""Calls with so many rows are packed in a thread."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Append:
    """A call that waits to be made durable."""

    call: PackedCall
    answer: LoggedAnswer | None
    done: asyncio.Future[None]
    request: RequestContext | None = field(default_factory=current_request.get)
    queued_at: float = field(default_factory=time.perf_counter)


class IngestLog:
    """Takes the rows of calls, first come, first served, for one event loop.

    There is no timer before a call is acknowledged: while one write is made durable, whatever arrives becomes the next.
    What is flushed together is sealed when it is large, half a second old, or when somebody wants to read it.

    Args:
        segments: Where calls are appended; recovered.
        flusher: What moves them on.
        idempotency: Where responses are found until they are in the control store.
        max_events: Most rows that wait to be flushed. One call alone may exceed it.
        metrics: Where appends and what waits are counted.
        appends: One thread, for the segments.
        flushes: One thread, for the stores.
        delivered: Called with the destinations for which deliveries have come into the outbox.
        check_room: Raises StoreUnavailable when the disk has no room for more rows.
        backlogs: Of each shard a thread, for what waits for it in its backlog.
    """

    def __init__(
        self,
        segments: LogSegments,
        flusher: Flusher,
        idempotency: IdempotencyStore,
        max_events: int,
        metrics: Metrics,
        appends: ThreadPool,
        flushes: ThreadPool,
        delivered: Callable[[frozenset[str]], None] = lambda _: None,
        check_room: Callable[[], None] = lambda: None,
        backlogs: ShardThreads | None = None,
    ) -> None:
        self._segments = segments
        self._flusher = flusher
        self._idempotency = idempotency
        self._max_events = max_events
        self._metrics = metrics
        self._appends = appends
        self._flushes = flushes
        self._delivered = delivered
        self._check_room = check_room
        self._backlogs = backlogs or ShardThreads("backlog", 1)
        self._queue: deque[Append] = deque()
        self._open = True
        self._idle = asyncio.Event()
        self._idle.set()
        self._rows = sum(segment.rows for segment in segments.sealed)
        self._bytes = sum(segment.size for segment in segments.sealed)
        self._durable = segments.durable
        self._flushed = segments.sealed[0].last - 1 if segments.sealed else segments.durable
        self._held_up = False
        self._readers: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._waiting = asyncio.Event()
        self._due = asyncio.Event()
        metrics.log_waiting(lambda: self.waiting[0], lambda: self._bytes)
        if segments.sealed:
            self._waiting.set()
            self._due.set()

    async def append(
        self, rows: Sequence[Rows], answer: LoggedAnswer | None = None, deliveries: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Make the rows of a call, its response and its deliveries durable, all of it or nothing.

        If the caller is cancelled they may be durable nevertheless.

        Args:
            rows: For the event store.
            answer: The response for those who repeat the call.
            deliveries: Rows of the table ``forward``, encrypted.

        Raises:
            Overloaded: Too much waits already; nothing was accepted.
            StoreUnavailable: The log can't be written, the disk has no room, or the server is stopping; nothing was
                accepted.
            InternalError: A value can't be stored.
        """
        size = sum(map(len, rows))
        if not (size or answer or deliveries):
            return
        self._require_open()
        self._check_room()
        if self._full(size):
            raise Overloaded("Too many events are waiting to be stored.", retry_after=1)
        self._wait(size)
        try:
            if size < _MANY_ROWS:
                call = pack(rows, answer, deliveries, self._segments.step)
            else:
                call = await self._appends.run(pack, rows, answer, deliveries, self._segments.step)
                self._require_open()
            append = Append(call, answer, asyncio.get_running_loop().create_future())
        except BaseException:
            self._wait(-size)
            raise
        self._queue.append(append)
        if self._idle.is_set():
            self._write_next()
        await append.done

    @property
    def waiting(self) -> tuple[int, int]:
        """The rows that are on their way into the event store, and the bytes of those that are durable."""
        apart = self._flusher.backlogs
        return self._rows + apart.rows, self._bytes + apart.bytes

    @property
    def behind(self) -> dict[int, int]:
        """The shards that could not take everything, by number, and how many rows wait for each."""
        return {shard: rows for shard, rows in self._flusher.backlogs.waiting().items() if rows}

    def _full(self, size: int) -> bool:
        rows, bytes_ = self.waiting
        return (rows > 0 and rows + size > self._max_events) or bytes_ > _MOST_BYTES

    def require_room(self) -> None:
        """Check that the log takes events.

        Raises:
            Overloaded: It is full.
        """
        if self._full(1):
            raise Overloaded("Too many events are waiting to be stored.", retry_after=1)

    def _require_open(self) -> None:
        if not self._open:
            raise StoreUnavailable("The server is stopping.", retry_after=1)

    def _write_next(self) -> None:
        """Have what waits written. Callbacks, for a task and its futures would take longer than the rest."""
        if self._queue:
            self._idle.clear()
            self._appends.start(self._write, self._next_group(), asyncio.get_running_loop())
        else:
            self._idle.set()

    def _write(self, group: Sequence[Append], loop: asyncio.AbstractEventLoop) -> None:
        """In the thread."""
        bind_shared(append.request for append in group)
        started = time.perf_counter()
        try:
            written: int | Exception = self._segments.append([append.call for append in group])
        except Exception as error:  # theirs to handle: every call of the group raises it
            written = error
        loop.call_soon_threadsafe(self._written, group, started, written)

    def _written(self, group: Sequence[Append], started: float, written: int | Exception) -> None:
        try:
            if isinstance(written, Exception):
                raise written
            self._note_durable(written)
            self._metrics.append(len(group), written, time.perf_counter() - started)
        except Exception as error:
            self._settle(group, started, error)
        else:
            self._settle(group, started)
        self._write_next()

    def _next_group(self) -> list[Append]:
        group = [self._queue.popleft()]
        size = len(group[0].call.body)
        while self._queue and size + len(self._queue[0].call.body) <= _GROUP_BYTES:
            group.append(self._queue.popleft())
            size += len(group[-1].call.body)
        return group

    def _settle(self, group: Sequence[Append], started: float, error: Exception | None = None) -> None:
        ended = time.perf_counter()
        for append in group:
            self._metrics.request_stages.observe("queue", started - append.queued_at)
            self._metrics.request_stages.observe("append", ended - started)
            if error is not None:
                self._wait(-append.call.rows)
            elif append.answer:
                self._idempotency.logged(append.answer)
            if append.done.done():  # its caller was cancelled
                continue
            if error is None:
                append.done.set_result(None)
            else:
                append.done.set_exception(error)

    def _note_durable(self, size: int) -> None:
        """Let the flusher know that something waits for it."""
        self._durable = self._segments.durable
        self._bytes += size
        self._waiting.set()
        if self._segments.sealed:
            self._due.set()

    def _wait(self, rows: int) -> None:
        self._rows += rows

    async def flushed(self, shards: Collection[int] | None = None) -> None:
        """Wait until everything that was acknowledged before this call can be read from the stores.

        Args:
            shards: Only from these; None for all.

        Raises:
            StoreUnavailable: That takes too long, or a shard could not take everything.
        """
        await self._left_the_log()
        if any(shards is None or shard in shards for shard in self._flusher.backlogs.behind()):
            raise _not_stored_yet()

    async def _left_the_log(self) -> None:
        if self._flushed >= self._durable:
            return
        reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._readers.append((self._durable, reader))
        self._due.set()
        try:
            async with asyncio.timeout(_READ_SECONDS):
                await reader
        except TimeoutError:
            raise _not_stored_yet() from None

    @property
    def held_up(self) -> bool:
        """Whether the last flush failed, so that what is accepted waits in the log."""
        return self._held_up

    def between_flushes(self) -> AbstractContextManager[None]:
        """``Flusher.between_flushes``; what was flushed before is stored."""
        return self._flusher.between_flushes()

    def follow_placements(self, known: int) -> int:
        """``Flusher.follow_placements``."""
        return self._flusher.follow_placements(known)

    async def run(self) -> NoReturn:
        """Flush until cancelled. A store that is unavailable is tried again after growing pauses."""
        pause = 0.0
        while True:
            await self._waiting.wait()
            if not (self._segments.sealed or pause):
                await self._until_due(_SEAL_SECONDS)
            try:
                await self._flush()
                pause, self._held_up = 0.0, False
            except StoreUnavailable as error:
                self._held_up = True
                pause = min(2 * pause or _SEAL_SECONDS, _LONGEST_PAUSE)
                _log.warning("%s The ingest log is flushed again in %g s.", error.message, pause)
                await asyncio.sleep(pause)

    async def work_off(self) -> NoReturn:
        """Store what waits for shards that could not take it, for each by itself, until cancelled."""
        at_work: dict[int, asyncio.Task[None]] = {}
        try:
            while True:
                for shard in self._flusher.backlogs.behind():
                    if shard not in at_work or at_work[shard].done():
                        at_work[shard] = asyncio.create_task(self._work_off(shard), name=f"backlog of shard {shard}")
                self._metrics.backlogs(self._flusher.backlogs.waiting())
                await asyncio.sleep(_BACKLOG_SECONDS)
        finally:
            for task in at_work.values():
                task.cancel()

    async def _work_off(self, shard: int) -> None:
        """Store what waits for a shard; it is tried again a second after it refused."""
        with suppress(StoreUnavailable):  # the log said so when the backlog began, and the metrics and /readyz say it
            while await self._backlogs.of(shard).run(self._flusher.flush_backlog, shard) is not None:
                pass
            _log.warning("Shard %d has all that waited for it.", shard)

    async def _until_due(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._due.wait()
        except TimeoutError:
            return

    async def _flush(self) -> None:
        """Flush what is sealed, and what is old or wanted by a reader; what comes meanwhile waits for the next time."""
        if self._readers or not self._segments.sealed:
            await self._appends.run(self._seal)
        while self._segments.sealed:
            flushed = await self._flushes.run(self._flusher.flush_oldest)
            if flushed:
                self._note(flushed)
            else:  # an account is being switched to another shard
                await asyncio.sleep(_SWITCH_SECONDS)
        if not self._readers:  # what was sealed is flushed, so that nothing is due
            self._due.clear()
        if self._flushed >= self._durable and not self._segments.unsealed:
            self._waiting.clear()

    def _seal(self) -> None:
        try:
            self._segments.seal()
        except OSError as error:
            raise StoreUnavailable("The ingest log can't be written.", retry_after=1) from error

    def _note(self, flushed: Flushed) -> None:
        self._flushed = flushed.segment.last
        self._bytes -= flushed.segment.size
        self._wait(-flushed.segment.rows)
        self._idempotency.flushed(flushed.scopes)
        if flushed.destinations:
            self._delivered(flushed.destinations)
        while self._readers and self._readers[0][0] <= self._flushed:
            reader = self._readers.popleft()[1]
            if not reader.done():
                reader.set_result(None)

    async def stop(self) -> None:
        """Refuse new calls, finish those that were accepted, and flush as much as three seconds allow.

        What is left is flushed by the next start.
        """
        self._open = False
        await self._idle.wait()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                while self._segments.sealed or self._segments.unsealed:
                    await self._flush()
        except (TimeoutError, StoreUnavailable):
            _log.warning("%d rows stay in the ingest log until the next start", self.waiting[0])


def _not_stored_yet() -> StoreUnavailable:
    return StoreUnavailable("Events that were accepted are not stored yet.", retry_after=1)
