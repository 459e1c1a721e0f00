"""Turns: who is next when there are fewer workers than batches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

__all__ = ["Turns"]

_Worker = TypeVar("_Worker")


class Turns(Generic[_Worker]):
    """Lends workers, for one event loop: while some wait, to one API key after the other.

    So a key with many batches uses every worker, and a key with one waits for no more than the batches at work.

    Args:
        workers: What is lent. The one that was given back last is lent first.
    """

    def __init__(self, workers: Iterable[_Worker]) -> None:
        self._idle = list(workers)
        self._waiting: dict[str, deque[asyncio.Future[_Worker]]] = {}

    async def take(self, key_id: str) -> _Worker:
        """A worker, as soon as it is this key's turn; ``give`` must be called with it."""
        if self._idle:
            return self._idle.pop()
        waiter: asyncio.Future[_Worker] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key_id, deque()).append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.give(waiter.result())
            raise

    def give(self, worker: _Worker) -> None:
        """Give a worker back, to whoever is next."""
        while self._waiting:
            key_id, waiters = next(iter(self._waiting.items()))
            waiter = waiters.popleft()
            del self._waiting[key_id]
            if waiters:
                self._waiting[key_id] = waiters  # behind the other keys
            if not waiter.done():
                waiter.set_result(worker)
                return
        self._idle.append(worker)

    def take_idle(self) -> list[_Worker]:
        """The workers that nobody uses, not to be given back."""
        idle, self._idle = self._idle, []
        return idle
