"""The nonces of one signing key: each makes one signature usable once."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from cachetools import TTLCache

from postback.signatures.profile import SKEW, WINDOW, refused

__all__ = ["Nonces"]

_MOST = 100_000


class Nonces:
    """Remembers nonces for as long as a signature may be valid; none is forgotten before.

    Args:
        clock: Gives seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        # From the earliest time that a signature is taken to the latest, which counts, too.
        self._used: TTLCache[str, None] = TTLCache(_MOST, WINDOW + 2 * SKEW + 1, timer=clock)
        self._lock = Lock()

    def refuse_full(self) -> None:
        """See that another one can be remembered.

        Raises:
            SignatureRefused: It can't.
        """
        with self._lock:
            self._refuse_full()

    def use(self, nonce: str) -> None:
        """Use a nonce up.

        Raises:
            SignatureRefused: It was used before, or can't be remembered.
        """
        with self._lock:
            if nonce in self._used:
                raise refused("request_signature_replayed", "This nonce was used before.")
            self._refuse_full()
            self._used[nonce] = None

    def _refuse_full(self) -> None:
        if len(self._used) >= _MOST:
            raise refused("request_signature_rate_abuse", "This key signs too often; wait for minutes.")
