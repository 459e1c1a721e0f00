"""Work that many callers share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from postback.logs import RequestContext, bind_shared, current_request
from postback.threads import ThreadPool

__all__ = ["Coalescer"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Coalescer(Generic[_Item, _Result]):
    """Runs blocking work in a thread for many callers at once: whatever arrives during one run shares the next.

    One lookup costs as much as a hundred, and one commit a flush of the disk, so neither is done per call.

    Args:
        work: Takes the items of a group and returns a result for each, in their order.
        threads: Where it runs.
    """

    def __init__(self, work: Callable[[Sequence[_Item]], Sequence[_Result]], threads: ThreadPool) -> None:
        self._work = work
        self._threads = threads
        self._waiting: list[tuple[_Item, asyncio.Future[_Result], RequestContext | None]] = []
        self._running: asyncio.Task[None] | None = None

    async def submit(self, item: _Item) -> _Result:
        """Wait for the result of this item; a failure of the work is raised to everyone in its group."""
        result: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result, current_request.get()))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await result

    async def _run(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            bind_shared(request for _, _, request in group)
            try:
                results = await self._threads.run(self._work, [item for item, _, _ in group])
            except Exception as error:  # theirs to handle: everyone in the group raises it
                for _, caller, _ in group:
                    if not caller.done():
                        caller.set_exception(error)
            else:
                for (_, caller, _), result in zip(group, results, strict=True):
                    if not caller.done():
                        caller.set_result(result)
        self._running = None
