"""Encryption of waiting events: their personal data can be read only with the installation's secret."""

from __future__ import annotations

import os
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Encryptor", "Undecryptable"]

_NONCE_BYTES = 12


class Undecryptable(Exception):
    """Bytes that were encrypted with another secret, or changed."""


class Encryptor:
    """Encrypts bytes with AES-256-GCM under a key derived from the installation's secret."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(blake2b(key=secret, person=b"pb-forwarding", digest_size=32).digest())

    def encrypt(self, plain: bytes, name: str) -> bytes:
        """Encrypt bytes that belong to ``name``, which is authenticated with them."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, name.encode())

    def decrypt(self, encrypted: bytes, name: str) -> bytes:
        """Decrypt bytes that were encrypted for ``name``.

        Raises:
            Undecryptable: The secret, the name or the bytes are not the same.
        """
        try:
            return self._cipher.decrypt(encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:], name.encode())
        except InvalidTag:
            raise Undecryptable from None
