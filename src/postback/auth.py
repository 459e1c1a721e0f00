"""API keys: who calls, and for which accounts."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from cachetools import TTLCache
from sqlalchemy import Connection, func, select

from postback.accounts.store import account_from
from postback.errors import StartupError
from postback.principal import SCOPES, Principal
from postback.store.control import ControlStore
from postback.store.tables import account, api_key, api_key_account

__all__ = ["ApiKey", "KeyStore"]

_CACHED_KEYS = 10_000
_CACHE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of an API key; the key itself isn't kept.

    Attributes:
        key_id: Public identifier.
        name: For people.
        account_ids: The accounts it acts for, ordered.
        scope: What it may be used for, one of SCOPES.
        created_at: Seconds since the epoch.
        revoked_at: Seconds since the epoch, or None while it is valid.
    """

    key_id: str
    name: str
    account_ids: tuple[str, ...]
    scope: str
    created_at: int
    revoked_at: int | None


class KeyStore:
    """API keys, kept as digests. A key is 256 random bits, so a plain SHA-256 can't be searched."""

    def __init__(self, control: ControlStore) -> None:
        self._control = control
        self._stand_ins: dict[str, str] = {}
        self._principals: TTLCache[bytes, tuple[Principal | None]] = TTLCache(_CACHED_KEYS, _CACHE_SECONDS)
        self._lock = Lock()

    def principal(self, key: str) -> Principal | None:
        """The principal that ``key`` stands for; None when it is unknown or revoked.

        An answer is remembered for a second: within that time a revoked key stops everywhere.
        """
        digest = self._digest(key)
        with self._lock:
            known = self._principals.get(digest)  # one look: between two it may expire
        if known is None:
            known = (self._find(digest),)
            with self._lock:
                self._principals[digest] = known
        return known[0]

    def remembered(self, key: str) -> Principal | None:
        """The principal that ``key`` stands for, if the last second knows it; never waits for the store."""
        with self._lock:
            known = self._principals.get(self._digest(key))
        return known[0] if known else None

    def forget(self) -> None:
        """Look every key up afresh, after accounts changed."""
        with self._lock:
            self._principals.clear()

    def create(self, account_ids: Sequence[str], name: str, scope: str = "buyer") -> tuple[str, str]:
        """Make a key for these accounts, and for one of SCOPES.

        Returns:
            The key_id, and the key: shown once, never again.

        Raises:
            StartupError: No account, or one that doesn't exist.
        """
        key = f"pb_{secrets.token_urlsafe(32)}"
        with self._control.begin() as connection:
            key_id = _insert(connection, key, name, scope)
            _grant(connection, key_id, account_ids)
        self._forget(key)
        return key_id, key

    def adopt(self, key: str, account_ids: Sequence[str], name: str = "bootstrap") -> str:
        """Make a key of the operator's choice valid for these accounts and everything; the second time nothing changes.

        Returns:
            The key_id.

        Raises:
            StartupError: The key was revoked, or an account doesn't exist.
        """
        with self._control.begin() as connection:
            known = connection.execute(select(api_key).where(api_key.c.digest == _digest(key))).one_or_none()
            if known and known.revoked_at is not None:
                raise StartupError(f"The bootstrap key was revoked (as {known.key_id}). Set another one.")
            key_id: str = known.key_id if known else _insert(connection, key, name, "both")
            _grant(connection, key_id, account_ids)
        self._forget(key)
        return key_id

    def adopt_all(self, prefix: str, secret: bytes, account_ids: Sequence[str]) -> None:
        """Let every key that begins with ``prefix``, and with no longer one, stand for one principal until a restart.

        Args:
            prefix: How they begin.
            secret: The install's: what is kept of them is of no use to a server that doesn't adopt them.
            account_ids: The accounts that they act for.
        """
        stand_in = f"{prefix}{secret.hex()}"
        self.adopt(stand_in, account_ids, name=f"{prefix}*")
        self._stand_ins[prefix] = stand_in

    def list(self) -> list[ApiKey]:
        """All keys, oldest first, the revoked ones too."""
        granted: dict[str, list[str]] = {}
        with self._control.connect() as connection:
            for link in connection.execute(select(api_key_account).order_by(api_key_account.c.account_id)):
                granted.setdefault(link.key_id, []).append(link.account_id)
            keys = connection.execute(select(api_key).order_by(api_key.c.created_at, api_key.c.key_id)).all()
        return [
            ApiKey(k.key_id, k.name, tuple(granted.get(k.key_id, ())), k.scope, k.created_at, k.revoked_at)
            for k in keys
        ]

    def revoke(self, key_id: str) -> None:
        """End a key for good; revoking it again changes nothing.

        Raises:
            StartupError: No key has this id.
        """
        first_time = func.coalesce(api_key.c.revoked_at, int(time.time()))
        with self._control.begin() as connection:
            revoked = connection.execute(
                api_key.update().where(api_key.c.key_id == key_id).values(revoked_at=first_time)
            ).rowcount
        if not revoked:
            raise StartupError(f"No key has the id {key_id!r}. 'postback keys list' shows them.")
        self.forget()

    def _digest(self, key: str) -> bytes:
        prefix = max((prefix for prefix in self._stand_ins if key.startswith(prefix)), key=len, default=None)
        return _digest(key if prefix is None else self._stand_ins[prefix])

    def _find(self, digest: bytes) -> Principal | None:
        granted = (
            select(api_key.c.key_id, api_key.c.scope, account)
            .join(api_key_account, api_key_account.c.key_id == api_key.c.key_id)
            .join(account, account.c.account_id == api_key_account.c.account_id)
            .where(api_key.c.digest == digest, api_key.c.revoked_at.is_(None))
            .order_by(account.c.account_id)
        )
        with self._control.connect() as connection:
            rows = connection.execute(granted).all()
        if not rows:
            return None
        return Principal(rows[0].key_id, tuple(account_from(row) for row in rows), SCOPES[rows[0].scope])

    def _forget(self, key: str) -> None:
        with self._lock:
            self._principals.pop(_digest(key), None)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _insert(connection: Connection, key: str, name: str, scope: str) -> str:
    key_id = f"key_{secrets.token_hex(6)}"
    row = {
        "key_id": key_id,
        "digest": _digest(key),
        "name": name,
        "created_at": int(time.time()),
        "scope": scope,
    }
    connection.execute(api_key.insert().values(row))
    return key_id


def _grant(connection: Connection, key_id: str, account_ids: Sequence[str]) -> None:
    wanted = set(account_ids)
    if not wanted:
        raise StartupError("A key acts for at least one account: name it.")
    existing = set(connection.scalars(select(account.c.account_id).where(account.c.account_id.in_(wanted))))
    if missing := sorted(wanted - existing):
        raise StartupError(f"There is no account {missing[0]!r}. 'postback accounts list' shows them.")
    granted = set(connection.scalars(select(api_key_account.c.account_id).where(api_key_account.c.key_id == key_id)))
    links = [{"key_id": key_id, "account_id": account_id} for account_id in sorted(wanted - granted)]
    if links:
        connection.execute(api_key_account.insert(), links)
