"""Counts by name, each in a window of a minute that starts with the first count."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["WINDOW_SECONDS", "Windows"]

WINDOW_SECONDS = 60


class _Window:
    __slots__ = ("count", "full", "started")

    def __init__(self, started: float) -> None:
        self.started = started
        self.count = 0
        self.full = False


class Windows:
    """The windows that have not ended. Not thread-safe.

    A window is fixed, so that a refusal can say exactly when the next one begins.

    Args:
        now: The time in seconds, of a clock that nobody sets.
        most: How many windows there may be; what comes above it is not counted.
    """

    def __init__(self, now: Callable[[], float], most: float = math.inf) -> None:
        self._now = now
        self._most = most
        self._windows: dict[str, _Window] = {}

    def counted(self, name: str) -> int:
        """How much was counted in the window of this name; 0 if there is none."""
        self._forget_ended()
        window = self._windows.get(name)
        return window.count if window else 0

    def count(self, name: str, number: int = 1) -> None:
        """Count ``number`` for this name, in a new window if there is none."""
        self._forget_ended()
        window = self._windows.get(name)
        if window is None:
            if len(self._windows) >= self._most:
                return
            window = self._windows[name] = _Window(self._now())
        window.count += number

    def mark_full(self, name: str) -> None:
        """Note that the window of this name, if there is one, has no room for what was to be counted."""
        if window := self._windows.get(name):
            window.full = True

    def is_full(self, name: str) -> bool:
        """Whether that was noted of the window of this name."""
        self._forget_ended()
        window = self._windows.get(name)
        return window is not None and window.full

    def seconds_left(self, name: str) -> int:
        """Whole seconds until the window of this name has ended, at least 1."""
        window = self._windows.get(name)
        return max(1, math.ceil(window.started + WINDOW_SECONDS - self._now())) if window else 1

    def _forget_ended(self) -> None:
        """Forget the windows that have ended: they end in the order in which they were put in."""
        ended = self._now() - WINDOW_SECONDS
        while self._windows:
            name = next(iter(self._windows))
            if self._windows[name].started > ended:
                return
            del self._windows[name]
