"""The threads of a server: a pool for each kind of work, so that no kind can starve another.

The default pools of asyncio and anyio serve everything: twenty slow reports there keep every event waiting.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from functools import partial
from threading import Lock, get_native_id
from typing import Any, ParamSpec, TypeVar

from postback.logs import current_request

__all__ = ["ShardThreads", "SharedThreadPool", "ThreadPool", "Threads"]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_NICE = 5
"""By how much the priority is lower of threads that give way: of a busy processor they get a third as much."""


class ThreadPool:
    """Runs blocking work for event loops. Whatever finds every thread busy waits its turn without one.

    Args:
        name: What the threads are called.
        threads: Most threads. Each starts when it is first needed.
        gives_way: Whether others of the machine's threads come first while all processors are busy.
    """

    def __init__(self, name: str, threads: int, *, gives_way: bool = False) -> None:
        begin = _give_way if gives_way else None
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=begin)

    async def run(
        self, work: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> _Result:
        """What ``work`` returns or raises. Once begun it runs to its end, even if the caller is cancelled."""
        return await asyncio.wrap_future(self._submit(partial(work, *args, **kwargs)))

    def start(self, work: Callable[_Arguments, None], *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> None:
        """Have ``work`` run, for which nobody waits: it reports by itself, and never raises."""
        self._submit(partial(work, *args, **kwargs))

    def close(self) -> None:
        """Wait for the work that has begun, and drop the rest."""
        self._executor.shutdown(cancel_futures=True)

    def _submit(self, work: Callable[[], _Result]) -> Future[_Result]:
        return self._executor.submit(copy_context().run, work)


class SharedThreadPool(ThreadPool):
    """One in which API keys take turns while some wait.

    A key with much work uses every thread, and a key with little waits for no more than what is at work.
    """

    def __init__(self, name: str, threads: int, *, gives_way: bool = False) -> None:
        super().__init__(name, threads, gives_way=gives_way)
        self._waiting = _Turns()

    def close(self) -> None:
        super().close()
        self._waiting.drop()

    def _submit(self, work: Callable[[], _Result]) -> Future[_Result]:
        request, result = current_request.get(), Future[_Result]()
        self._waiting.put(request.key_id if request else "", partial(_work, copy_context(), work, result), result)
        self._executor.submit(self._waiting.work_next)
        return result


def _give_way() -> None:
    """In a thread, for itself and for those that the engine starts on its behalf."""
    if sys.platform == "linux":  # where threads have priorities of their own
        os.setpriority(os.PRIO_PROCESS, get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICE)


def _work(context: Context, work: Callable[[], _Result], result: Future[_Result]) -> None:
    """In a thread."""
    if not result.set_running_or_notify_cancel():
        return
    try:
        done = context.run(work)
    except BaseException as error:  # whoever waits for the result handles it
        result.set_exception(error)
        del context, work, result  # the result has the error, whose traceback has this frame
    else:
        result.set_result(done)


class _Turns:
    """Work that waits, by the key that it is for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_key: dict[str, deque[tuple[Callable[[], None], Future[Any]]]] = {}

    def put(self, key_id: str, work: Callable[[], None], result: Future[Any]) -> None:
        """Have work wait; ``work_next`` is to be called once for it."""
        with self._lock:
            self._by_key.setdefault(key_id, deque()).append((work, result))

    def work_next(self) -> None:
        """Do the oldest work of the key whose turn it is, which then is behind the others."""
        self._take()()  # kept in no variable, since the traceback of an error has this frame, too

    def _take(self) -> Callable[[], None]:
        with self._lock:
            key_id = next(iter(self._by_key))
            waiting = self._by_key.pop(key_id)
            work, _ = waiting.popleft()
            if waiting:
                self._by_key[key_id] = waiting
        return work

    def drop(self) -> None:
        """Cancel whatever waits."""
        with self._lock:
            for waiting in self._by_key.values():
                for _, result in waiting:
                    result.cancel()
            self._by_key.clear()


class ShardThreads:
    """Of each shard of the event store a pool of its own, so that one that is slow keeps none of the others waiting.

    Their threads give way.

    Args:
        name: What the threads are called.
        threads: Most threads of each.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self._pools: dict[int, ThreadPool] = {}

    def of(self, shard: int) -> ThreadPool:
        """The pool of the shard with this number; for one event loop."""
        if shard not in self._pools:
            self._pools[shard] = ThreadPool(f"{self._name} {shard}", self._threads, gives_way=True)
        return self._pools[shard]

    def close(self) -> None:
        """Wait for the work that has begun, and drop the rest."""
        for pool in self._pools.values():
            pool.close()


class Threads:
    """Every thread pool of one server.

    Reports, attribution and what nobody waits for give way to calls.

    Pools that use the control store have 13 threads and ``reports``: no more than its 15 connections, so that none of
    them waits for a connection.

    Attributes:
        ingestion: Short look-ups and group commits in the control store that every call waits for: API keys, event
            sources, idempotency records.
        compute: Work without a store: decompression, large signed bodies, validation and encryption of large batches.
        log: One thread, which appends to the ingest log.
        inserts: One thread, which moves what is in the ingest log into the stores.
        backlogs: One thread for each shard that could not take everything, which moves the rest.
        reports: Reads of the event store. It has a thread for each reader, so that none waits for a reader.
        control: Transactions of the control store.
        attribution: One thread for each shard, since its attribution does one run at a time.
        background: What nobody waits for: purges, deliveries.

    Args:
        readers: How many readers the event store has.
    """

    def __init__(self, readers: int) -> None:
        self.ingestion = SharedThreadPool("ingestion", 3)
        self.compute = SharedThreadPool("compute", max(2, min(4, os.cpu_count() or 1)))
        self.log = ThreadPool("log", 1)
        self.inserts = ThreadPool("inserts", 1)
        self.reports = SharedThreadPool("reports", readers, gives_way=True)
        self.control = SharedThreadPool("control", 4)
        self.backlogs = ShardThreads("backlog", 1)
        self.attribution = ShardThreads("attribution", 1)
        self.background = SharedThreadPool("background", 4, gives_way=True)

    def close(self) -> None:
        """Wait for the work that has begun, and drop the rest."""
        for pool in (
            self.reports,
            self.control,
            self.compute,
            self.ingestion,
            self.attribution,
            self.background,
            self.log,
            self.inserts,
            self.backlogs,
        ):
            pool.close()
