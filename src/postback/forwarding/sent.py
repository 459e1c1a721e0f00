"""What was really sent, remembered by sandboxes for official runners."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime

__all__ = ["SentCall", "SentCalls"]

_CALL_BYTES = 1_000
"""What a call takes beside its body."""


@dataclass(frozen=True, slots=True)
class SentCall:
    """A request that was sent and answered.

    Attributes:
        key_id: The API key of the call that caused it.
        url: Where it went.
        body: What it carried, JSON.
        status: The HTTP status that came back.
        at: When it was sent, UTC.
    """

    key_id: str
    url: str
    body: bytes
    status: int
    at: datetime


class SentCalls:
    """The last calls.

    Args:
        most_bytes: How much of them is kept; the oldest are forgotten beyond.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._calls: deque[SentCall] = deque()
        self._bytes = 0

    def add(self, call: SentCall) -> None:
        """Remember a call."""
        self._calls.append(call)
        self._bytes += len(call.body) + _CALL_BYTES
        while self._bytes > self._most:
            self._bytes -= len(self._calls.popleft().body) + _CALL_BYTES

    def of(self, key_id: str, since: datetime) -> list[SentCall]:
        """The calls that an API key caused since then, in the order in which they were sent."""
        mine = [call for call in list(self._calls) if call.key_id == key_id and call.at >= since]
        return sorted(mine, key=lambda call: call.at)
