"""The requests that were really sent, which a sandbox records for official test runners."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime

__all__ = ["SentCall", "SentCalls"]

_CALL_BYTES = 1_000
"""The size of a record without its body."""


@dataclass(frozen=True, slots=True)
class SentCall:
    """A request that was sent and answered.

    Attributes:
        key_id: The API key of the call that caused it.
        url: Its URL.
        body: Its JSON body.
        status: The HTTP status of the response.
        at: When it was sent, UTC.
    """

    key_id: str
    url: str
    body: bytes
    status: int
    at: datetime


class SentCalls:
    """The latest requests.

    Args:
        max_bytes: The size beyond which the oldest are dropped.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._calls: deque[SentCall] = deque()
        self._bytes = 0

    def add(self, call: SentCall) -> None:
        """Record a request."""
        self._calls.append(call)
        self._bytes += len(call.body) + _CALL_BYTES
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._calls.popleft().body) + _CALL_BYTES

    def of(self, key_id: str, since: datetime) -> list[SentCall]:
        """The requests that an API key has caused since then, in the order of sending."""
        found = [call for call in list(self._calls) if call.key_id == key_id and call.at >= since]
        return sorted(found, key=lambda call: call.at)
