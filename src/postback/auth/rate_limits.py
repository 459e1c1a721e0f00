"""Rate limits: how many requests and events an API key may send per minute."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

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
        refused: Called with ``requests`` or ``events`` for each request that is refused.
    """

    def __init__(self, requests: int, events: int, refused: Callable[[str], None] = lambda _: None) -> None:
        self._refused = refused
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerMinute(requests, namespace="requests") if requests else None
        self._events = RateLimitItemPerMinute(events, namespace="events") if requests else None
        self._events_refused_until: dict[str, float] = {}

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

    def events_refusal(self, key_id: str | None) -> RateLimitExceeded | None:
        """What a call with many events of this key gets, before it is read; None if it may be accepted.

        A key has some left in its minute or none: once a call was refused, only small ones are worth reading.
        """
        until = self._events_refused_until.get(key_id) if key_id else None
        if not key_id or not until or not self._events:
            return None
        if until <= time.time():
            del self._events_refused_until[key_id]
            return None
        return _exceeded(self._events, until, "events")

    def _hit(self, limit: RateLimitItemPerMinute, key_id: str, cost: int, unit: str) -> None:
        if self._limiter.test(limit, key_id, cost=cost):
            self._limiter.hit(limit, key_id, cost=cost)
            return
        self._refused(unit)
        until = self._limiter.get_window_stats(limit, key_id).reset_time
        if cost > limit.amount:
            raise _exceeded(limit, until, unit, _split_call(limit.amount))
        if limit is self._events:
            self._events_refused_until[key_id] = until
        raise _exceeded(limit, until, unit)


def _exceeded(
    limit: RateLimitItemPerMinute, until: float, unit: str, suggestion: str | None = None
) -> RateLimitExceeded:
    return RateLimitExceeded(
        f"This call exceeds the API key's limit of {limit.amount:,} {unit} per minute.",
        retry_after=max(1, math.ceil(until - time.time())),
        suggestion=suggestion,
    )


def _split_call(amount: int) -> str:
    return f"Send at most {amount:,} events in one call. A larger call is never accepted."
