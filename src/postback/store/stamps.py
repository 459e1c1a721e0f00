"""The times of receipt: unique, so that of two copies of an event one came first."""

from __future__ import annotations

import threading
import time

__all__ = ["Stamps"]


class Stamps:
    """Hands out strictly rising times, also while the wall clock stands still or is set back. Thread-safe.

    Args:
        last: The newest stamp that was ever handed out, in µs since the epoch.
    """

    def __init__(self, last: int = 0) -> None:
        self._last = last
        self._lock = threading.Lock()

    def take(self, count: int) -> int:
        """The first of ``count`` consecutive stamps, in µs since the epoch."""
        with self._lock:
            first = max(time.time_ns() // 1_000, self._last + 1)
            self._last = first + count - 1
            return first
