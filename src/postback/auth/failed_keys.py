"""API keys that are not valid: whoever sends many is refused without a look-up, and logged in sum."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from postback.errors import RateLimitExceeded

__all__ = ["WINDOW_SECONDS", "FailedKeys"]

WINDOW_SECONDS = 60
"""How long failures count; ``start_window`` must be called this often."""

_MOST_SENDERS = 100_000

_log = logging.getLogger(__name__)


class FailedKeys:
    """Counts keys that are not valid by who sent them, in windows of a minute.

    Args:
        most: Failures of one sender in a window; further ones are refused. 0 refuses nobody.
        refused: Called with ``address`` for each request that is refused.
        now: The time in seconds, of a clock that never goes back.
    """

    def __init__(
        self, most: int, refused: Callable[[str], None] = lambda _: None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._refused = refused
        self._now = now
        self._failures: Counter[str] = Counter()
        self._started_at = now()

    def check(self, sender: str) -> None:
        """Check that a sender may have another key looked up.

        Raises:
            RateLimitExceeded: It sent too many that are not valid.
        """
        if not self._most or self._failures[sender] < self._most:
            return
        self._failures[sender] += 1
        self._refused("address")
        raise RateLimitExceeded(
            "Too many requests from this address had an API key that is unknown or revoked.",
            retry_after=max(1, round(self._started_at + WINDOW_SECONDS - self._now())),
            suggestion="Send a valid API key. Ask the seller for one if yours is refused.",
        )

    def count(self, sender: str) -> None:
        """Count a key that was looked up and is not valid."""
        if sender in self._failures or len(self._failures) < _MOST_SENDERS:
            self._failures[sender] += 1

    def start_window(self) -> None:
        """Log what failed in the window that ends, in one line, and forget it."""
        failures, self._failures = self._failures, Counter()
        self._started_at = self._now()
        if not failures:
            return
        (worst, count), total = failures.most_common(1)[0], failures.total()
        _log.warning(
            "%d requests from %d addresses had an API key that is unknown or revoked; %d of them came from %s.",
            total,
            len(failures),
            count,
            worst,
        )
