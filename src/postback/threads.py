"""The threads of a server: a pool for each kind of work, so that no kind can starve another.

The default pools of asyncio and anyio serve everything: twenty slow reports there keep every event waiting.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

__all__ = ["ShardThreads", "ThreadPool", "Threads"]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class ThreadPool:
    """Runs blocking work for event loops. Whatever finds every thread busy waits its turn without one.

    Args:
        name: What the threads are called.
        threads: Most threads. Each starts when it is first needed.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(
        self, work: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> _Result:
        """What ``work`` returns or raises. Once begun it runs to its end, even if the caller is cancelled."""
        call = partial(copy_context().run, partial(work, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def start(self, work: Callable[_Arguments, None], *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> None:
        """Have ``work`` run, for which nobody waits: it reports by itself, and never raises."""
        self._executor.submit(partial(copy_context().run, partial(work, *args, **kwargs)))

    def close(self) -> None:
        """Wait for the work that has begun, and drop the rest."""
        self._executor.shutdown(cancel_futures=True)


class ShardThreads:
    """Of each shard of the event store a pool of its own, so that one that is slow keeps none of the others waiting.

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
            self._pools[shard] = ThreadPool(f"{self._name} {shard}", self._threads)
        return self._pools[shard]

    def close(self) -> None:
        """Wait for the work that has begun, and drop the rest."""
        for pool in self._pools.values():
            pool.close()


class Threads:
    """Every thread pool of one server.

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
        self.ingestion = ThreadPool("ingestion", 3)
        self.compute = ThreadPool("compute", max(2, min(4, os.cpu_count() or 1)))
        self.log = ThreadPool("log", 1)
        self.inserts = ThreadPool("inserts", 1)
        self.reports = ThreadPool("reports", readers)
        self.control = ThreadPool("control", 4)
        self.backlogs = ShardThreads("backlog", 1)
        self.attribution = ShardThreads("attribution", 1)
        self.background = ThreadPool("background", 4)

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
