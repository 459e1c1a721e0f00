"""Loops that work beside the calls: they are watched, started again when they fail, and stopped in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn

from postback.errors import PostbackError
from postback.metrics import Metrics

__all__ = ["Background", "Loop", "repeat"]

Loop = Callable[[], Coroutine[Any, Any, NoReturn]]
"""Works until it is cancelled, or fails."""

_FIRST_WAIT = 1.0
_LONGEST_WAIT = 10.0

_log = logging.getLogger(__name__)


class Background:
    """The loops of one server. One that fails is started again, after a second first, later after up to ten.

    Args:
        metrics: Where failures are counted.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self, name: str, loop: Loop) -> None:
        """Start a loop on the running event loop; ``name`` is for the log and the metrics."""
        self._metrics.background_loop(name)
        self._tasks.append(asyncio.create_task(self._keep_running(name, loop), name=name))

    async def stop(self) -> None:
        """Cancel every loop, the last started first; each has ended before the next is cancelled."""
        self._stopping = True
        while self._tasks:
            task = self._tasks.pop()
            task.cancel()
            await asyncio.wait([task])

    async def _keep_running(self, name: str, loop: Loop) -> None:
        wait = _FIRST_WAIT
        while True:
            started = time.monotonic()
            try:
                await loop()
            except Exception as error:
                self._metrics.background_failure(name)
                if time.monotonic() - started > _LONGEST_WAIT:
                    wait = _FIRST_WAIT
                # The message of an error that is not ours may quote a payload.
                why = str(error) if isinstance(error, PostbackError) else type(error).__name__
                trace = None if isinstance(error, PostbackError) else error
                _log.error("%s failed (%s) and starts again in %g s", name, why, wait, exc_info=trace)
            if self._stopping:
                return
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)


async def repeat(work: Callable[[], Awaitable[object]], seconds: float) -> NoReturn:
    """Do the work again and again, with a pause of ``seconds`` after each time."""
    while True:
        await work()
        await asyncio.sleep(seconds)
