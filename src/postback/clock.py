"""The time: the wall clock as long as it goes on steadily, and what has really passed when it jumps.

The wall clock may be set at any moment: by an operator's mistake, a time server that is wrong, a virtual machine that
was paused. A second with a wrong clock must not order, expire or reject anything for months. So it is compared with a
clock that nobody sets, which counts what has passed since the machine was started, its sleep included.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from postback.errors import StartupError

__all__ = ["FOLLOWED_SECONDS", "LASTING_SECONDS", "Clock"]

FOLLOWED_SECONDS = 60
"""The wall clock is followed at once when it is set by no more than this."""

LASTING_SECONDS = 300
"""A greater jump is followed when it has lasted so long."""

_DISTRUST_SECONDS = 3600
"""The most time for which a clock that was set back distrusts what was signed before."""

_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOS = 1_000_000_000

_log = logging.getLogger(__name__)


def _nanos_passed() -> int:
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Clock:
    """The time for everything that is decided or stored. Thread-safe.

    Args:
        wall: The wall clock, in ns since the epoch.
        passed: A clock that nobody sets, in ns.

    Attributes:
        distrusted_until: The clock was set back from about here, in seconds since the epoch: what was used up before
            then may seem valid again. 0 if it never was.
    """

    def __init__(self, wall: Callable[[], int] = time.time_ns, passed: Callable[[], int] = _nanos_passed) -> None:
        self._wall = wall
        self._passed = passed
        self._lock = threading.Lock()
        self._wall_then, self._passed_then = wall(), passed()
        self._jump = 0
        self._jumped_at = 0
        self.distrusted_until = 0.0

    def nanos(self) -> int:
        """The time in ns since the epoch."""
        with self._lock:
            wall, passed = self._wall(), self._passed()
            expected = self._wall_then + passed - self._passed_then
            jump = wall - expected
            if abs(jump) <= FOLLOWED_SECONDS * _NANOS:
                if self._jump:
                    _log.warning("The wall clock is right again.")
            elif abs(jump - self._jump) > FOLLOWED_SECONDS * _NANOS:
                self._jump, self._jumped_at = jump, passed
                _log.error("%s", self._sentence())
                return expected
            elif passed - self._jumped_at < LASTING_SECONDS * _NANOS:
                return expected
            else:
                self._accept(expected, wall)
            self._wall_then, self._passed_then, self._jump = wall, passed, 0
            return wall

    def _accept(self, expected: int, wall: int) -> None:
        _log.error(
            "The wall clock has been %s for %d minutes: from now on the server follows it.",
            _difference(wall - expected),
            LASTING_SECONDS // 60,
        )
        if wall < expected:
            self.distrust_until(expected / _NANOS, wall / _NANOS)

    def distrust_until(self, before: float, now: float) -> None:
        """Note that the clock was set back from ``before`` to ``now``, in seconds since the epoch."""
        self.distrusted_until = max(self.distrusted_until, min(before, now + _DISTRUST_SECONDS))

    def now(self) -> float:
        """The time in seconds since the epoch."""
        return self.nanos() / _NANOS

    def micros(self) -> int:
        """The time in µs since the epoch."""
        return self.nanos() // 1_000

    def utc(self) -> datetime:
        """The time as a datetime in UTC."""
        return _EPOCH + timedelta(microseconds=self.micros())

    def passed(self) -> float:
        """Seconds that have passed since some moment, whatever the wall clock says."""
        return self._passed() / _NANOS

    @property
    def jump(self) -> float:
        """By how many seconds the wall clock is ahead of the time that is followed; 0 unless it has jumped."""
        return self._jump / _NANOS

    @property
    def problem(self) -> str | None:
        """A sentence about a jump of the wall clock that is not followed, or None."""
        return self._sentence() if self._jump else None

    def _sentence(self) -> str:
        return (
            f"The wall clock jumped: it is {_difference(self._jump)}. The server follows it when that has lasted "
            f"{LASTING_SECONDS // 60} minutes, and until then the time that has passed. Check the machine's clock."
        )

    def require_set(self) -> None:
        """Check that the wall clock was ever set.

        Raises:
            StartupError: It is before the first version of Postback.
        """
        if (now := self.utc()) < _EARLIEST:
            raise StartupError(
                f"The clock of this machine says {now:%Y-%m-%d %H:%M} UTC. Set it, for example by NTP, and start "
                "again: events would be stored with wrong times for good."
            )


def _difference(nanos: int) -> str:
    return f"{timedelta(seconds=abs(nanos) // _NANOS)} {'ahead' if nanos > 0 else 'behind'}"
