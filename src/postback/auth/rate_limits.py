"""Rate limits: how many requests and events an API key may send per minute."""

from __future__ import annotations

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from postback.errors import RateLimitExceeded

__all__ = ["RateLimits"]


class RateLimits:
    """Counts requests and events per key, in one-minute windows that start with a key's first call.

    The window is fixed, so that the error can say exactly when the call will be accepted.

    Args:
        requests: Requests per minute and key; 0 turns both limits off.
        events: Events per minute and key.
    """

    def __init__(self, requests: int, events: int) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerMinute(requests, namespace="requests") if requests else None
        self._events = RateLimitItemPerMinute(events, namespace="events") if requests else None

    def hit_request(self, key_id: str) -> None:
        """Count one request.

        Raises:
            RateLimitExceeded: The key has reached its limit; nothing is counted.
        """
        if self._requests:
            self._hit(self._requests, key_id, 1, "requests")

    def hit_events(self, key_id: str, count: int) -> None:
        """Count the events of one request.

        Raises:
            RateLimitExceeded: The key has reached its limit; nothing is counted.
        """
        if self._events:
            self._hit(self._events, key_id, count, "events")

    def _hit(self, limit: RateLimitItemPerMinute, key_id: str, cost: int, unit: str) -> None:
        if self._limiter.test(limit, key_id, cost=cost):
            self._limiter.hit(limit, key_id, cost=cost)
            return
        seconds = self._limiter.get_window_stats(limit, key_id).reset_time - time.time()
        raise RateLimitExceeded(
            f"This call exceeds the API key's limit of {limit.amount:,} {unit} per minute.",
            retry_after=max(1, math.ceil(seconds)),
            suggestion=_split_call(limit.amount) if cost > limit.amount else None,
        )


def _split_call(amount: int) -> str:
    return f"Send at most {amount:,} events in one call. A larger call is never accepted."
