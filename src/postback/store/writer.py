"""Group commit: calls that wait at the same time share one durable insert."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from postback.errors import InternalError, Overloaded, StoreUnavailable
from postback.metrics import Metrics
from postback.store.events import EventStore
from postback.store.rows import Rows

__all__ = ["GroupWriter"]

_GROUP_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class _Write:
    rows: Sequence[Rows]
    size: int
    done: asyncio.Future[None]


class GroupWriter:
    """Writes to the event store for the calls of one event loop, first come, first served.

    There is no timer: while one insert runs, whatever arrives becomes the next.

    Args:
        events: The store.
        max_events: Most rows that wait, those being inserted included. One call alone may exceed it.
        metrics: Where inserts and the queue are counted.
    """

    def __init__(self, events: EventStore, max_events: int, metrics: Metrics) -> None:
        self._events = events
        self._max_events = max_events
        self._metrics = metrics
        self._queue: deque[_Write] = deque()
        self._waiting = 0
        self._arrived = asyncio.Event()
        self._open = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="event-writer")

    def start(self) -> None:
        """Begin to write, on the running event loop."""
        self._open = True
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Take nothing more, and return when everything taken is written."""
        self._open = False
        self._arrived.set()
        await self._task
        self._thread.shutdown()

    async def write(self, rows: Sequence[Rows]) -> None:
        """Store rows, durably when this returns. If the caller is cancelled they may be stored nevertheless.

        Raises:
            Overloaded: Too many rows wait already; nothing was taken.
            StoreUnavailable: The store refused, or the server is stopping.
            InternalError: A value doesn't fit its column.
        """
        size = sum(map(len, rows))
        if not size:
            return
        if not self._open:
            raise StoreUnavailable("The server is stopping.", retry_after=1)
        if self._waiting and self._waiting + size > self._max_events:
            raise Overloaded("Too many events wait to be stored.", retry_after=1)
        write = _Write(rows, size, asyncio.get_running_loop().create_future())
        self._queue.append(write)
        self._wait(size)
        self._arrived.set()
        await write.done

    async def _run(self) -> None:
        while self._open or self._queue:
            if self._queue:
                await self._insert(self._next_group())
            else:
                self._arrived.clear()
                await self._arrived.wait()

    def _next_group(self) -> list[_Write]:
        group = [self._queue.popleft()]
        size = group[0].size
        while self._queue and size + self._queue[0].size <= _GROUP_ROWS:
            group.append(self._queue.popleft())
            size += group[-1].size
        return group

    async def _insert(self, group: list[_Write]) -> None:
        rows = [part for write in group for part in write.rows]
        started = time.perf_counter()
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._events.insert, rows)
        except InternalError as error:
            if len(group) == 1:
                return self._settle(group, error)
            # One call's rows are unfit, and the others must not suffer for it.
            for write in group:
                await self._insert([write])
        except Exception as error:
            self._settle(group, error)
        else:
            self._metrics.insert(sum(write.size for write in group), time.perf_counter() - started, len(group))
            self._settle(group)

    def _settle(self, group: list[_Write], error: Exception | None = None) -> None:
        for write in group:
            self._wait(-write.size)
            if write.done.done():  # its caller was cancelled
                continue
            if error is None:
                write.done.set_result(None)
            else:
                write.done.set_exception(error)

    def _wait(self, rows: int) -> None:
        self._waiting += rows
        self._metrics.queued(self._waiting)
