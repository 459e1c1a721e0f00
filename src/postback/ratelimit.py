"""How much one API key may send in a minute."""

from __future__ import annotations

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from postback.errors import RateLimitExceeded

__all__ = ["RateLimits"]


class RateLimits:
    """Counts requests and events by key, in windows of a minute that start with a key's first call.

    A fixed window, because it can say exactly when the refused call will be taken.

    Args:
        requests: Requests a minute for each key; 0 turns both limits off.
        events: Events a minute for each key.
    """

    def __init__(self, requests: int, events: int) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerMinute(requests, namespace="requests") if requests else None
        self._events = RateLimitItemPerMinute(events, namespace="events") if requests else None

    def hit_request(self, key_id: str) -> None:
        """Count one request.

        Raises:
            RateLimitExceeded: The key has used up its minute; nothing was counted.
        """
        if self._requests:
            self._hit(self._requests, key_id, 1, "requests")

    def hit_events(self, key_id: str, count: int) -> None:
        """Count the events of one request.

        Raises:
            RateLimitExceeded: The key has used up its minute; nothing was counted.
        """
        if self._events:
            self._hit(self._events, key_id, count, "events")

    def _hit(self, limit: RateLimitItemPerMinute, key_id: str, cost: int, unit: str) -> None:
        if self._limiter.test(limit, key_id, cost=cost):
            self._limiter.hit(limit, key_id, cost=cost)
            return
        seconds = self._limiter.get_window_stats(limit, key_id).reset_time - time.time()
        raise RateLimitExceeded(
            f"This API key may send {limit.amount:,} {unit} a minute; this call would exceed that.",
            retry_after=max(1, math.ceil(seconds)),
            suggestion=_smaller(limit.amount) if cost > limit.amount else None,
        )


def _smaller(amount: int) -> str:
    return f"Send at most {amount:,} events in one call: a larger call is never taken."
