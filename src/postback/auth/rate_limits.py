"""Rate limits: how many requests and events an API key, or the browser tag at one address, may send per minute."""

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
        visitors: Requests per minute from one address for one event source's browser tag; 0 turns it off.
        refused: Called with ``requests``, ``events`` or ``visitors`` for each request that is refused.
    """

    def __init__(
        self, requests: int, events: int, visitors: int = 0, refused: Callable[[str], None] = lambda _: None
    ) -> None:
        self._refused = refused
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerMinute(requests, namespace="requests") if requests else None
        self._events = RateLimitItemPerMinute(events, namespace="events") if requests else None
        self._visitors = RateLimitItemPerMinute(visitors, namespace="visitors") if visitors else None
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

    def check_visitor(self, sender: str) -> None:
        """Check that an address may have another event source looked up for its browser tag.

        Raises:
            RateLimitExceeded: It named so many that don't exist.
        """
        if self._visitors and not self._limiter.test(self._visitors, sender, ""):
            raise self._visitor_refusal(self._visitors, sender, "")

    def hit_visitor(self, sender: str, source: str = "") -> None:
        """Count one request of a browser tag.

        Args:
            sender: The visitor's address or network.
            source: The event source that the tag sends to; empty for one that doesn't exist.

        Raises:
            RateLimitExceeded: So many came from there; nothing is counted.
        """
        limit = self._visitors
        if limit is None:
            return
        if not self._limiter.hit(limit, sender, source):
            raise self._visitor_refusal(limit, sender, source)

    def _visitor_refusal(self, limit: RateLimitItemPerMinute, sender: str, source: str) -> RateLimitExceeded:
        self._refused("visitors")
        until = self._limiter.get_window_stats(limit, sender, source).reset_time
        return _exceeded(limit, until, "requests", whose="this address's")

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
    limit: RateLimitItemPerMinute, until: float, unit: str, suggestion: str | None = None, whose: str = "the API key's"
) -> RateLimitExceeded:
    return RateLimitExceeded(
        f"This call exceeds {whose} limit of {limit.amount:,} {unit} per minute.",
        retry_after=max(1, math.ceil(until - time.time())),
        suggestion=suggestion,
    )


def _split_call(amount: int) -> str:
    return f"Send at most {amount:,} events in one call. A larger call is never accepted."
