"""Watches the event loop and the engine of the event store from threads of its own, and ends a server that hangs.

A server that hangs for good answers nobody, but looks alive. Only a new start helps, which whoever supervises it makes
once it has ended. What was acknowledged is on disk.

A library that hangs while it holds Python's lock lets no thread run, this one neither. Then a timer of the interpreter,
which needs no lock and is put off every second, prints where every thread stands, and ends the process.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

__all__ = ["HUNG_EXIT_STATUS", "Patience", "Watchdog"]

HUNG_EXIT_STATUS = 70
"""The status of a process that its watchdog ended."""

_LOOP, _ENGINE = "event loop", "event store"

_STANDARD_ERROR = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a part of the server may keep still, in seconds.

    Attributes:
        pause: Between two questions.
        ill: After so long ``/healthz`` fails.
        hung: After so long the process ends.
        locked: After so long in which no thread could run the process ends.
    """

    pause: float = 1.0
    ill: float = 15.0
    hung: float = 120.0
    locked: float = 150.0


class Watchdog:
    """Asks the event loop and the engine again and again whether they work.

    Args:
        ask_engine: Asks the engine something, and returns when it has answered; by a client that nobody else uses. None
            if the engine is not in this process: then it isn't this process that hangs.
        patience: How long each may take.
    """

    def __init__(self, ask_engine: Callable[[], object] | None, patience: Patience | None = None) -> None:
        self._ask_engine = ask_engine
        self._patience = patience or Patience()
        parts = (_LOOP, _ENGINE) if ask_engine else (_LOOP,)
        self._answered = dict.fromkeys(parts, time.monotonic())
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Watch the running event loop, and the engine."""
        loop = asyncio.get_running_loop()
        self._start("watchdog", partial(self._watch, loop))
        if self._ask_engine:
            self._start("watchdog of the engine", partial(self._question_engine, self._ask_engine))

    def _start(self, name: str, work: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=work, name=name, daemon=True))
        self._threads[-1].start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()

    @property
    def problem(self) -> str | None:
        """A sentence about the part that has kept still for too long, or None."""
        part, seconds = self._stillest()
        return f"The {part} has not answered for {seconds:.0f} seconds." if seconds > self._patience.ill else None

    def _stillest(self) -> tuple[str, float]:
        part = min(self._answered, key=lambda part: self._answered[part])
        return part, time.monotonic() - self._answered[part]

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._watch_both(loop)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _watch_both(self, loop: asyncio.AbstractEventLoop) -> None:
        told = False
        self._put_off_end()
        while not self._stopped.wait(self._patience.pause):
            self._put_off_end()
            try:
                loop.call_soon_threadsafe(self._note, _LOOP)
            except RuntimeError:  # it was closed
                return
            part, seconds = self._stillest()
            if seconds > self._patience.hung:
                _log.critical(
                    "The %s has not answered for %.0f s: the server ends, to be started again.", part, seconds
                )
                os._exit(HUNG_EXIT_STATUS)
            if (problem := self.problem) and not told:
                _log.error(problem)
            told = problem is not None

    def _put_off_end(self) -> None:
        faulthandler.dump_traceback_later(self._patience.locked, exit=True, file=_STANDARD_ERROR)

    def _question_engine(self, ask: Callable[[], object]) -> None:
        while not self._stopped.wait(self._patience.pause):
            try:
                ask()
            except Exception:  # an answer, too: what a store says is told where it is used
                _log.debug("the engine answered with an error")
            self._note(_ENGINE)

    def _note(self, part: str) -> None:
        self._answered[part] = time.monotonic()
