"""Events that wait are encrypted: what they hold of people leaves the install's secret, or is gone with it."""

from __future__ import annotations

import os
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Seal", "Unsealable"]

_NONCE_BYTES = 12


class Unsealable(Exception):
    """What was sealed with another secret, or was changed."""


class Seal:
    """Seals bytes with AES-256-GCM under a key of the install's secret."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(blake2b(key=secret, person=b"pb-forwarding", digest_size=32).digest())

    def close(self, plain: bytes, name: str) -> bytes:
        """Seal bytes that belong to ``name``."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, name.encode())

    def open(self, sealed: bytes, name: str) -> bytes:
        """The bytes that were sealed for ``name``.

        Raises:
            Unsealable: They can't be read.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
        except InvalidTag:
            raise Unsealable from None
