"""Rate limits: how many requests and events an API key may send per minute."""

from __future__ import annotations

import time
from collections.abc import Callable

from postback.auth.windows import Windows
from postback.errors import RateLimitExceeded

__all__ = ["RateLimits"]

_MOST_VISITORS = 1_000_000


class RateLimits:
    """Counts requests and events per key, in one-minute windows that start with a key's first call.

    Args:
        requests: Requests per minute and key; 0 turns both limits off.
        events: Events per minute and key.
        visitors: Requests per minute from one address for one event source's browser tag; 0 turns it off.
        refused: Called with ``requests``, ``events`` or ``visitors`` for each request that is refused.
        now: The time in seconds, of a clock that nobody sets.
    """

    def __init__(
        self,
        requests: int,
        events: int,
        visitors: int = 0,
        refused: Callable[[str], None] = lambda _: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._refused = refused
        self._most_requests = requests
        self._most_events = events
        self._most_visitors = visitors
        self._requests = Windows(now)
        self._events = Windows(now)
        self._visitors = Windows(now, _MOST_VISITORS)

    def hit_request(self, key_id: str) -> None:
        """Count one request.

        Raises:
            RateLimitExceeded: The key has reached its limit; nothing is counted.
        """
        if not self._most_requests:
            return
        if self._requests.counted(key_id) >= self._most_requests:
            self._refused("requests")
            raise _exceeded(self._most_requests, "requests", self._requests.seconds_left(key_id))
        self._requests.count(key_id)

    def hit_events(self, key_id: str, count: int) -> None:
        """Count the events of one request.

        Raises:
            RateLimitExceeded: The key has reached its limit; nothing is counted.
        """
        if not self._most_requests:
            return
        if self._events.counted(key_id) + count <= self._most_events:
            self._events.count(key_id, count)
            return
        self._refused("events")
        if count > self._most_events:
            never = f"Send at most {self._most_events:,} events in one call. A larger call is never accepted."
            raise _exceeded(self._most_events, "events", self._events.seconds_left(key_id), never)
        self._events.mark_full(key_id)
        raise _exceeded(self._most_events, "events", self._events.seconds_left(key_id))

    def check_visitor(self, sender: str) -> None:
        """Check that an address may have another event source looked up for its browser tag.

        Raises:
            RateLimitExceeded: It named so many that don't exist.
        """
        self._check_visits(sender, "")

    def hit_visitor(self, sender: str, source: str = "") -> None:
        """Count one request of a browser tag.

        Args:
            sender: The visitor's address or network.
            source: The event source that the tag sends to; empty for one that doesn't exist.

        Raises:
            RateLimitExceeded: So many came from there; nothing is counted.
        """
        if self._most_visitors:
            self._check_visits(sender, source)
            self._visitors.count(f"{sender} {source}")

    def _check_visits(self, sender: str, source: str) -> None:
        visits = f"{sender} {source}"
        if self._most_visitors and self._visitors.counted(visits) >= self._most_visitors:
            self._refused("visitors")
            seconds = self._visitors.seconds_left(visits)
            raise _exceeded(self._most_visitors, "requests", seconds, whose="this address's")

    def events_refusal(self, key_id: str) -> RateLimitExceeded | None:
        """What a call with many events of this key gets, before it is read; None if it may be accepted.

        A key has some left in its minute or none: once a call was refused, only small ones are worth reading.
        """
        if not self._events.is_full(key_id):
            return None
        return _exceeded(self._most_events, "events", self._events.seconds_left(key_id))


def _exceeded(
    most: int, unit: str, seconds: int, suggestion: str | None = None, whose: str = "the API key's"
) -> RateLimitExceeded:
    return RateLimitExceeded(
        f"This call exceeds {whose} limit of {most:,} {unit} per minute.",
        retry_after=seconds,
        suggestion=suggestion,
    )
