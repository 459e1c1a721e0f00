"""Receipt times: unique, so that of two copies of an event one is the first, and in the order of inserts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from postback.clock import Clock

__all__ = ["ReceiptTimes"]


class ReceiptTimes:
    """Issues strictly increasing times, even while the clock stands still or is set back. Thread-safe.

    Args:
        last: The latest receipt time ever issued, in µs since the epoch.
        clock: The time.

    Attributes:
        step: The distance of consecutive receipt times, in µs.
    """

    def __init__(self, last: int = 0, clock: Clock | None = None) -> None:
        self.step = 1
        self._number = 0
        self._last = last
        self._clock = clock or Clock()
        self._lock = threading.Lock()
        self._on_their_way: dict[int, frozenset[int] | None] = {}

    def share(self, number: int, step: int, after: int) -> None:
        """Issue from now on only times whose remainder is ``number`` when they are divided by ``step``.

        Args:
            number: From 0 to ``step`` - 1; others who issue times have other numbers.
            step: For all the same.
            after: Only later times are issued, in µs since the epoch.
        """
        with self._lock:
            self.step, self._number, self._last = step, number, max(self._last, after)

    def advance(self, last: int) -> None:
        """Issue from now on only times that are later than one that was issued before, in µs since the epoch."""
        with self._lock:
            self._last = max(self._last, last)

    def take(self, count: int) -> int:
        """The first of ``count`` consecutive receipt times, which are ``step`` apart, in µs since the epoch."""
        with self._lock:
            return self._take(count)

    def announce(self) -> int:
        """Note that rows are on their way to any shard. Their receipt times are later than the time that is returned.

        Returns:
            What ``settle`` takes when they are stored, or never will be.
        """
        with self._lock:
            announced = self._take(1)
            self._on_their_way[announced] = None
            return announced

    def narrow(self, announced: int, shards: frozenset[int]) -> None:
        """Note which shards the rows that are not stored yet are for."""
        with self._lock:
            self._on_their_way[announced] = shards

    def settle(self, announced: int) -> None:
        """Note that rows are stored, or never will be; for the second time where a flush was repeated."""
        with self._lock:
            self._on_their_way.pop(announced, None)

    def resume(self, first: int, last: int) -> int:
        """Note rows that were on their way when the server stopped, with receipt times from ``first`` to ``last``.

        Returns:
            What ``settle`` takes.
        """
        with self._lock:
            self._last = max(self._last, last)
            self._on_their_way[first - 1] = None
            return first - 1

    @contextmanager
    def on_their_way(self) -> Iterator[None]:
        """Announce rows that are stored, or never will be, when the block ends."""
        announced = self.announce()
        try:
            yield
        finally:
            self.settle(announced)

    def ahead(self) -> float:
        """By how many seconds the last one is ahead of the clock, because the clock was wrong once; at least 0."""
        with self._lock:
            return max(0.0, (self._last - self._clock.micros()) / 1_000_000)

    def stored_through(self, shard: int | None = None) -> int:
        """The time through which whatever was received is stored, in µs since the epoch; others come later.

        Args:
            shard: Only of what is for this shard.
        """
        with self._lock:
            waiting = (
                announced
                for announced, shards in self._on_their_way.items()
                if shard is None or shards is None or shard in shards
            )
            earliest = min(waiting, default=None)
            return self._take(1) if earliest is None else earliest

    def _take(self, count: int) -> int:
        earliest = max(self._clock.micros(), self._last + 1)
        first = earliest + (self._number - earliest) % self.step
        self._last = first + (count - 1) * self.step
        return first
