"""API keys: who calls, and for which accounts."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from cachetools import TTLCache
from sqlalchemy import ColumnElement, Connection, func, select

from postback.auth.principal import SCOPES, Principal, account_from
from postback.errors import StartupError
from postback.store.control_store import ControlStore
from postback.store.recent_lookups import RecentLookups
from postback.store.tables import account, api_key, api_key_account

__all__ = ["ApiKey", "KeyStore"]

_CACHED_KEYS = 10_000
_VALID_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as stored, without the key itself.

    Attributes:
        key_id: Public identifier.
        name: Display name.
        account_ids: The accounts it acts for, sorted.
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
    """API keys, stored as digests. A key has 256 random bits, so its plain SHA-256 can't be brute-forced.

    Args:
        control: Where they are stored.
        outage_seconds: For how long a key that was valid remains so while the control store doesn't answer.
    """

    def __init__(self, control: ControlStore, outage_seconds: float = 0.0) -> None:
        self._control = control
        self._keys_by_prefix: dict[str, str] = {}
        self._principals: RecentLookups[bytes, Principal | None] = RecentLookups(outage_seconds)
        self._valid: TTLCache[bytes, bool] = TTLCache(_CACHED_KEYS, _VALID_SECONDS)
        self._lock = Lock()

    def principal(self, key: str) -> Principal | None:
        """The principal that ``key`` identifies; None if it is unknown or revoked.

        The result is cached for a second, so a revoked key stops working on every server within that time.

        Raises:
            StoreUnavailable: The control store doesn't answer, and it is not known who this was.
        """
        digest = self._digest(key)
        found = self._principals.find(digest, lambda: self._find(api_key.c.digest == digest))
        if found:
            with self._lock:
                self._valid[digest] = True
        return found

    def principal_of(self, key_id: str) -> Principal | None:
        """The principal of the key with this id, never cached; None if there is none, or it is revoked."""
        return self._find(api_key.c.key_id == key_id)

    def cached_principal(self, key: str) -> Principal | None:
        """The principal that ``key`` identifies if it is cached, else None; never waits for the store."""
        cached = self._principals.fresh(self._digest(key))
        return cached[0] if cached else None

    def was_valid(self, key: str) -> bool:
        """Whether a look-up found ``key`` within the last hour, as far as this process remembers."""
        with self._lock:
            return self._digest(key) in self._valid

    def clear_cache(self) -> None:
        """Look up every key again, after accounts have changed."""
        self._principals.clear()

    def create(self, account_ids: Sequence[str], name: str, scope: str = "buyer") -> tuple[str, str]:
        """Create a key for these accounts with one of SCOPES.

        Returns:
            The key_id and the key, which is available only now.

        Raises:
            StartupError: No account is given, or one doesn't exist.
        """
        key = f"pb_{secrets.token_urlsafe(32)}"
        with self._control.begin() as connection:
            key_id = _insert(connection, key, name, scope)
            _grant(connection, key_id, account_ids)
        self._forget(key)
        return key_id, key

    def adopt(self, key: str, account_ids: Sequence[str], name: str = "bootstrap") -> str:
        """Register a key that the operator has chosen, for these accounts and with both scopes. Idempotent.

        Returns:
            The key_id.

        Raises:
            StartupError: The key is revoked, or an account doesn't exist.
        """
        with self._control.begin() as connection:
            stored = connection.execute(select(api_key).where(api_key.c.digest == _digest(key))).one_or_none()
            if stored and stored.revoked_at is not None:
                raise StartupError(f"The bootstrap key is revoked ({stored.key_id}). Set another one.")
            key_id: str = stored.key_id if stored else _insert(connection, key, name, "both")
            _grant(connection, key_id, account_ids)
        self._forget(key)
        return key_id

    def adopt_prefix(self, prefix: str, secret: bytes, account_ids: Sequence[str]) -> None:
        """Let every key whose longest adopted prefix is ``prefix`` identify one principal, until a restart.

        Args:
            prefix: The prefix.
            secret: The installation's secret. The stored key is derived from it, so nobody can send that key to a
                server that doesn't adopt the prefix.
            account_ids: The accounts that these keys act for.
        """
        key = f"{prefix}{secret.hex()}"
        self.adopt(key, account_ids, name=f"{prefix}*")
        self._keys_by_prefix[prefix] = key

    def list(self) -> list[ApiKey]:
        """All keys, revoked ones included, oldest first."""
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
        """Revoke a key for good. Idempotent.

        Raises:
            StartupError: No key has this id.
        """
        first_time = func.coalesce(api_key.c.revoked_at, int(time.time()))
        with self._control.begin() as connection:
            revoked = connection.execute(
                api_key.update().where(api_key.c.key_id == key_id).values(revoked_at=first_time)
            ).rowcount
        if not revoked:
            raise StartupError(f"No key has the id {key_id!r}. 'postback keys list' lists the keys.")
        self.clear_cache()

    def _digest(self, key: str) -> bytes:
        prefix = max((prefix for prefix in self._keys_by_prefix if key.startswith(prefix)), key=len, default=None)
        return _digest(key if prefix is None else self._keys_by_prefix[prefix])

    def _find(self, chosen: ColumnElement[bool]) -> Principal | None:
        granted = (
            select(api_key.c.key_id, api_key.c.scope, account)
            .join(api_key_account, api_key_account.c.key_id == api_key.c.key_id)
            .join(account, account.c.account_id == api_key_account.c.account_id)
            .where(chosen, api_key.c.revoked_at.is_(None))
            .order_by(account.c.account_id)
        )
        with self._control.connect() as connection:
            rows = connection.execute(granted).all()
        if not rows:
            return None
        return Principal(rows[0].key_id, tuple(account_from(row) for row in rows), SCOPES[rows[0].scope])

    def _forget(self, key: str) -> None:
        self._principals.forget(_digest(key))


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
    requested = set(account_ids)
    if not requested:
        raise StartupError("A key must act for at least one account. Name one.")
    existing = set(connection.scalars(select(account.c.account_id).where(account.c.account_id.in_(requested))))
    if missing := sorted(requested - existing):
        raise StartupError(f"There is no account {missing[0]!r}. 'postback accounts list' lists the accounts.")
    granted = set(connection.scalars(select(api_key_account.c.account_id).where(api_key_account.c.key_id == key_id)))
    links = [{"key_id": key_id, "account_id": account_id} for account_id in sorted(requested - granted)]
    if links:
        connection.execute(api_key_account.insert(), links)
