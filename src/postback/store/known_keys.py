"""Which idempotency keys were used lately, in memory, so that a new key needs no look-up in the control store."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["KnownKeys"]

_SLOTS = 1 << 24
_SHIFT = 32


class KnownKeys:
    """Keys of at least the last day. A key that was used is always known; a few new ones seem to be, too.

    A Bloom filter of whole bytes, so that threads may add to it at the same time. Of two of them one is replaced in
    turn, once a key that it has can't have a response any more.

    Args:
        seconds: How long a key is remembered at least.
        now: The time in seconds, of a clock that never goes back.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._now = now
        self._turned_at = now()
        self._newer, self._older = bytearray(_SLOTS), bytearray()

    def add(self, key_id: str, idempotency_key: str) -> None:
        """Remember a key."""
        if self._now() > self._turned_at + self._seconds:
            self._turned_at = self._now()
            self._newer, self._older = bytearray(_SLOTS), self._newer
        hashed = hash((key_id, idempotency_key))
        self._newer[hashed % _SLOTS] = self._newer[(hashed >> _SHIFT) % _SLOTS] = 1

    def may_have(self, key_id: str, idempotency_key: str) -> bool:
        """Whether a key may have been used; False is certain."""
        hashed = hash((key_id, idempotency_key))
        one, two = hashed % _SLOTS, (hashed >> _SHIFT) % _SLOTS
        newer, older = self._newer, self._older
        return bool((newer[one] and newer[two]) or (older and older[one] and older[two]))
