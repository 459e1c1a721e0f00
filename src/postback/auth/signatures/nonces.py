"""The nonces of one signing key, so that each signature works once."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from cachetools import TTLCache

from postback.auth.signatures.profile import SKEW, WINDOW, signature_error
from postback.clock import FOLLOWED_SECONDS

__all__ = ["MAX_NONCES", "REMEMBERED_SECONDS", "Nonces"]

MAX_NONCES = 100_000

REMEMBERED_SECONDS = WINDOW + 2 * SKEW + FOLLOWED_SECONDS + 1
"""From the earliest time at which a signature is accepted to the latest, both included, if the clock is set back by as
much as nobody notices."""


class Nonces:
    """Remembers each nonce for as long as its signature can be valid.

    Args:
        passed: How much time has passed since some moment, in seconds, whatever the wall clock says.
        capacity: The maximum number of nonces; beyond it, signatures of the key are refused.
    """

    def __init__(self, passed: Callable[[], float], capacity: int = MAX_NONCES) -> None:
        self._used: TTLCache[str, None] = TTLCache(capacity, REMEMBERED_SECONDS, timer=passed)
        self._capacity = capacity
        self._lock = Lock()

    def require_room(self) -> None:
        """Check that there is room for another nonce.

        Raises:
            SignatureRefused: There is none.
        """
        with self._lock:
            self._require_room()

    def use(self, nonce: str) -> None:
        """Mark a nonce as used.

        Raises:
            SignatureRefused: It was used before, or there is no room for it.
        """
        with self._lock:
            if nonce in self._used:
                raise signature_error("request_signature_replayed", "This nonce was used before.")
            self._require_room()
            self._used[nonce] = None

    def _require_room(self) -> None:
        if len(self._used) >= self._capacity:
            raise signature_error(
                "request_signature_rate_abuse", "This key has signed too many requests. Wait a few minutes."
            )
