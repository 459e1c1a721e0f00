"""How responses are stored for retries: packed, and so many bytes of large ones for each key.

A call of a few kilobytes can have a response of megabytes: ten thousand events, each of which failed. They differ by
little, so that packed they take little.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Lock

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["LARGE_ANSWER_BYTES", "AnswerQuota", "pack_answer", "unpack_answer"]

LARGE_ANSWER_BYTES = 1_024
"""Packed responses up to this size don't count: the number of requests bounds them."""

_MAGIC = b"\x28\xb5\x2f\xfd"
_BUCKET_SECONDS = 3_600


def pack_answer(answer: bytes) -> bytes:
    """A response as it is stored."""
    return zstd.compress(answer, 1) if len(answer) > LARGE_ANSWER_BYTES else answer


def unpack_answer(stored: bytes) -> bytes:
    """A stored response, also one of a version that didn't pack them. No JSON begins as what is packed does."""
    return zstd.decompress(stored) if stored.startswith(_MAGIC) else stored


class AnswerQuota:
    """How many bytes of large responses are stored for each key. Thread-safe.

    Args:
        most: Bytes that a key may have.
        now: The time in seconds that responses expire by.
    """

    def __init__(self, most: int, now: Callable[[], float]) -> None:
        self._most = most
        self._now = now
        self._bytes: dict[str, dict[int, int]] = {}
        self._lock = Lock()

    def add(self, key_id: str, size: int, expires_at: int) -> None:
        """Count a response of this packed size."""
        if size <= LARGE_ANSWER_BYTES:
            return
        with self._lock:
            by_hour = self._bytes.setdefault(key_id, {})
            hour = -(-expires_at // _BUCKET_SECONDS)
            by_hour[hour] = by_hour.get(hour, 0) + size

    def used(self, key_id: str) -> float:
        """The share of a key's bytes that it uses; above 1 when it uses more."""
        this_hour = self._now() / _BUCKET_SECONDS
        with self._lock:
            by_hour = self._bytes.get(key_id, {})
            for hour in [hour for hour in by_hour if hour < this_hour]:
                del by_hour[hour]
            return sum(by_hour.values()) / self._most
