"""Console keys: the operator's keys to the console, which show every account and call no task."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from threading import Lock

from cachetools import TTLCache
from sqlalchemy import func, select

from postback.errors import StartupError
from postback.store.control_store import ControlStore
from postback.store.tables import console_key

__all__ = ["KEY_PREFIX", "ConsoleKey", "ConsoleKeys"]

KEY_PREFIX = "pbc_"
"""What every console key begins with; no API key that Postback generates does."""

_REMEMBERED_KEYS = 1_000
_REMEMBERED_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class ConsoleKey:
    """A console key as stored, without the key itself.

    Attributes:
        key_id: Public identifier.
        name: Display name.
        created_at: Seconds since the epoch.
        revoked_at: Seconds since the epoch, or None while it is valid.
    """

    key_id: str
    name: str
    created_at: int
    revoked_at: int | None


class ConsoleKeys:
    """Console keys, stored as digests. A key has 256 random bits, so its plain SHA-256 can't be brute-forced.

    Synchronous and thread-safe.

    Args:
        control: Where they are stored.
    """

    def __init__(self, control: ControlStore) -> None:
        self._control = control
        self._valid: TTLCache[bytes, bool] = TTLCache(_REMEMBERED_KEYS, _REMEMBERED_SECONDS)
        self._lock = Lock()

    def create(self, name: str) -> tuple[str, str]:
        """Create a key; returns its key_id and the key, which is available only now."""
        key = f"{KEY_PREFIX}{secrets.token_urlsafe(32)}"
        key_id = f"console_{secrets.token_hex(6)}"
        row = {"key_id": key_id, "digest": _digest(key), "name": name, "created_at": int(time.time())}
        with self._control.begin() as connection:
            connection.execute(console_key.insert().values(row))
        return key_id, key

    def key_id(self, key: str) -> str | None:
        """The key_id of ``key``; None if it is unknown or revoked."""
        digest = _digest(key)
        valid = select(console_key.c.key_id).where(console_key.c.digest == digest, console_key.c.revoked_at.is_(None))
        with self._control.connect() as connection:
            key_id = connection.scalar(valid)
        if key_id:
            with self._lock:
                self._valid[digest] = True
        return key_id

    def was_valid(self, key: str) -> bool:
        """Whether a look-up found ``key`` within the last hour, as far as this process remembers."""
        with self._lock:
            return _digest(key) in self._valid

    def is_valid(self, key_id: str) -> bool:
        """Whether there is a key with this id that isn't revoked."""
        valid = select(console_key.c.key_id).where(console_key.c.key_id == key_id, console_key.c.revoked_at.is_(None))
        with self._control.connect() as connection:
            return connection.scalar(valid) is not None

    def list(self) -> list[ConsoleKey]:
        """All keys, revoked ones included, oldest first."""
        with self._control.connect() as connection:
            rows = connection.execute(
                select(console_key).order_by(console_key.c.created_at, console_key.c.key_id)
            ).all()
        return [ConsoleKey(row.key_id, row.name, row.created_at, row.revoked_at) for row in rows]

    def revoke(self, key_id: str) -> None:
        """Revoke a key for good, which ends its sessions. Idempotent.

        Raises:
            StartupError: No key has this id.
        """
        first_time = func.coalesce(console_key.c.revoked_at, int(time.time()))
        chosen = console_key.update().where(console_key.c.key_id == key_id)
        with self._control.begin() as connection:
            revoked = connection.execute(chosen.values(revoked_at=first_time)).rowcount
        if not revoked:
            raise StartupError(f"No console key has the id {key_id!r}. 'postback console-keys list' lists the keys.")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
