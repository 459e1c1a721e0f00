"""The nonces that several servers on one PostgreSQL have accepted, so that each signature works once on all of them."""

from __future__ import annotations

from hashlib import blake2b

from sqlalchemy import BigInteger, cast, delete, func

from postback.auth.signatures.nonces import REMEMBERED_SECONDS
from postback.auth.signatures.profile import signature_error
from postback.store.control_store import ControlStore
from postback.store.tables import signature_nonce
from postback.threads import ThreadPool

__all__ = ["SharedNonces"]

_NOW = cast(func.extract("epoch", func.now()), BigInteger)


class SharedNonces:
    """Remembers each nonce of every signing key for as long as its signature can be valid.

    Args:
        control: The control store.
        threads: Where it writes.
    """

    def __init__(self, control: ControlStore, threads: ThreadPool) -> None:
        self._control = control
        self._threads = threads

    async def use(self, key_id: str, kid: str, nonce: str) -> None:
        """Mark a nonce as used, for every server.

        Raises:
            SignatureRefused: It was used before.
            StoreUnavailable: The control store rejects the write.
        """
        await self._threads.run(self._use, blake2b("\n".join((key_id, kid, nonce)).encode(), digest_size=16).digest())

    def _use(self, digest: bytes) -> None:
        values = {"digest": digest, "expires_at": _NOW + int(REMEMBERED_SECONDS) + 1}
        insert = self._control.insert(signature_nonce).values(values).on_conflict_do_nothing()
        with self._control.begin() as connection:
            if connection.execute(insert.returning(signature_nonce.c.expires_at)).first() is None:
                raise signature_error("request_signature_replayed", "This nonce was used before.")

    def purge(self) -> None:
        """In a thread, forget the nonces whose signatures are no longer valid.

        Raises:
            StoreUnavailable: The control store rejects the write.
        """
        with self._control.begin() as connection:
            connection.execute(delete(signature_nonce).where(signature_nonce.c.expires_at <= _NOW))
