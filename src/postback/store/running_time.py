"""Running time: a clock that nobody sets, for what is stored for a time and then forgotten.

It began as the wall clock was when the control store was made, goes on while a server runs, and stands still while none
does. So what expires by it is never forgotten early: neither when the wall clock jumps, nor when it jumped while the
server was stopped.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from sqlalchemy import case, select, update

from postback.clock import LASTING_SECONDS, Clock
from postback.store.control_store import ControlStore
from postback.store.tables import running_time

__all__ = ["RunningTime"]

_LONG_PAUSE = 30 * 86_400

_log = logging.getLogger(__name__)


class RunningTime:
    """The running time of the servers on one control store. Thread-safe.

    Args:
        control: The control store.
        clock: What tells how much time has passed.
    """

    def __init__(self, control: ControlStore, clock: Clock) -> None:
        self._control = control
        self._clock = clock
        now = int(clock.now())
        with control.begin() as connection:
            row = connection.execute(select(running_time)).first()
            if row is None:
                connection.execute(running_time.insert().values(seconds=now, seen_at=now))
        self._began = float(row.seconds if row else now)
        self._began_at = clock.passed()
        if row:
            self._compare(now, row.seen_at)

    def now(self) -> float:
        """Running time in seconds; comparable with other running times only."""
        return self._began + self._clock.passed() - self._began_at

    def cautious(self) -> float:
        """The time for deleting what can't be brought back: the wall clock's or running time, whichever is earlier."""
        return min(self._clock.now(), self.now())

    def save(self) -> None:
        """Store how much time has passed; what passed since the last call is lost with the process.

        Raises:
            StoreUnavailable: The control store rejects the write.
        """
        now = int(self.now())
        seconds = running_time.c.seconds
        values = {"seconds": case((seconds < now, now), else_=seconds), "seen_at": int(self._clock.now())}
        with self._control.begin() as connection:
            connection.execute(update(running_time).values(values))

    def _compare(self, now: int, seen_at: int) -> None:
        """Look at the wall clock beside the time when a server last ran."""
        if now < seen_at:
            self._clock.distrust_until(seen_at, now)
        if now < seen_at - LASTING_SECONDS:
            _log.error(
                "The clock says %s, but a server ran on these data until %s. Was the clock wrong then, or is it now? "
                "If it is now, stop the server, set the clock, and start again.",
                _minute(now),
                _minute(seen_at),
            )
        elif now > seen_at + _LONG_PAUSE:
            _log.warning(
                "The clock says %s, and the last server on these data ran until %s. If it was not stopped for so long, "
                "the clock is wrong: stop the server, set the clock, and start again.",
                _minute(now),
                _minute(seen_at),
            )


def _minute(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
