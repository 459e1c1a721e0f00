"""Work that many callers share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Groups"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Groups(Generic[_Item, _Result]):
    """Runs blocking work in a thread for many callers at once: whatever arrives during one run shares the next.

    One lookup costs as much as a hundred, and one commit a flush of the disk, so neither is done per call.
    """

    def __init__(self, work: Callable[[Sequence[_Item]], Sequence[_Result]]) -> None:
        self._work = work
        self._waiting: list[tuple[_Item, asyncio.Future[_Result]]] = []
        self._running: asyncio.Task[None] | None = None

    async def submit(self, item: _Item) -> _Result:
        """Wait for the result of this item; a failure of the work is raised to everyone in its group."""
        result: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await result

    async def _run(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                results = await asyncio.to_thread(self._work, [item for item, _ in group])
            except Exception as error:  # theirs to handle: everyone in the group raises it
                for _, caller in group:
                    if not caller.done():
                        caller.set_exception(error)
            else:
                for (_, caller), result in zip(group, results, strict=True):
                    if not caller.done():
                        caller.set_result(result)
        self._running = None
