"""API keys that are not valid: whoever sends many is refused without a look-up, and logged in sum."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from postback.auth.windows import Windows
from postback.errors import RateLimitExceeded

__all__ = ["FailedKeys"]

_MOST_SENDERS = 100_000

_log = logging.getLogger(__name__)


class FailedKeys:
    """Counts keys that are not valid by who sent them, in windows of a minute that start with a sender's first.

    Args:
        most: Failures of one sender in a window; further ones are refused. 0 refuses nobody.
        refused: Called with ``address`` for each request that is refused.
        now: The time in seconds, of a clock that nobody sets.
    """

    def __init__(
        self, most: int, refused: Callable[[str], None] = lambda _: None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._refused = refused
        self._failures = Windows(now, _MOST_SENDERS)
        self._not_logged: Counter[str] = Counter()

    def check(self, sender: str) -> None:
        """Check that a sender may have another key looked up.

        Raises:
            RateLimitExceeded: It sent too many that are not valid.
        """
        if not self._most or self._failures.counted(sender) < self._most:
            return
        self._not_logged[sender] += 1
        self._refused("address")
        raise RateLimitExceeded(
            "Too many requests from this address had an API key that is unknown or revoked.",
            retry_after=self._failures.seconds_left(sender),
            suggestion="Send a valid API key. Ask the seller for one if yours is refused.",
        )

    def count(self, sender: str) -> None:
        """Count a key that was looked up and is not valid."""
        self._failures.count(sender)
        if sender in self._not_logged or len(self._not_logged) < _MOST_SENDERS:
            self._not_logged[sender] += 1

    def log(self) -> None:
        """Log what failed since the last time, in one line."""
        failures, self._not_logged = self._not_logged, Counter()
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
