"""Idempotency records: the answers of successful calls, kept for a day so that a retry gets the same one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import msgspec
from sqlalchemy import Connection, delete, select

from postback.groups import Groups
from postback.store.control import ControlStore
from postback.store.tables import idempotency

__all__ = ["KEPT_SECONDS", "IdempotencyStore", "Keep", "Keeper", "Record", "Scope"]

KEPT_SECONDS = 86_400

Keep = Callable[[Connection, dict[str, Any]], None]
"""Keeps an answer in a transaction."""


class Scope(NamedTuple):
    """Where an idempotency key counts: for one caller, acting for one account; an empty account_id means for all."""

    key_id: str
    account_id: str
    idempotency_key: str


class Record(NamedTuple):
    """A call that succeeded.

    Attributes:
        task: The AdCP task's name.
        fingerprint: Digest of the call's canonical body.
        answer: The answer's body, as JSON.
    """

    task: str
    fingerprint: bytes
    answer: bytes


class IdempotencyStore:
    """Records of calls that succeeded, durable and shared by every process on one control store.

    Args:
        control: Where they are kept.
        now: The clock, in seconds since the epoch.
    """

    def __init__(self, control: ControlStore, now: Callable[[], float] = time.time) -> None:
        self._control = control
        self._now = now
        self._claims: WeakValueDictionary[Scope, asyncio.Lock] = WeakValueDictionary()
        self._lookups = Groups(self._select)
        self._commits = Groups(self._insert)

    @asynccontextmanager
    async def claim(self, scope: Scope) -> AsyncIterator[None]:
        """Hold a key while its call runs: a second call with the same key waits until the first is done."""
        lock = self._claims.setdefault(scope, asyncio.Lock())
        async with lock:
            yield

    async def find(self, scope: Scope) -> Record | None:
        """The call that this key was used for within the last day, or None.

        A call that belongs to no account uses up its key for all of them, and finds what the key was used for in any.

        Raises:
            StoreUnavailable: The control store doesn't answer.
        """
        return await self._lookups.submit(scope)

    async def keep(self, scope: Scope, task: str, fingerprint: bytes, answer: bytes) -> None:
        """Keep a call's answer for a day; durable on return. A record that another process kept first stays.

        Raises:
            StoreUnavailable: The control store doesn't take it.
        """
        await self._commits.submit((scope, Record(task, fingerprint, answer)))

    def keep_within(self, connection: Connection, scope: Scope, record: Record) -> None:
        """Keep a call's answer in a transaction of the control store, which makes it durable."""
        self._write(connection, [(scope, record)])

    def purge(self) -> int:
        """Delete what has expired; returns how many records."""
        with self._control.begin() as connection:
            return connection.execute(delete(idempotency).where(idempotency.c.expires_at <= int(self._now()))).rowcount

    def _select(self, scopes: Sequence[Scope]) -> list[Record | None]:
        # Keys are all but unique, so their scope is told apart here; to compare tuples SQLite would read all rows.
        kept = select(idempotency).where(idempotency.c.idempotency_key.in_({s.idempotency_key for s in scopes}))
        now = int(self._now())
        with self._control.connect() as connection:
            found: dict[tuple[str, str], dict[str, Record]] = {}
            for row in connection.execute(kept):
                if row.expires_at > now:
                    record = Record(row.task, row.fingerprint, row.answer)
                    found.setdefault((row.key_id, row.idempotency_key), {})[row.account_id] = record
        return [_fitting(found.get((s.key_id, s.idempotency_key), {}), s.account_id) for s in scopes]

    def _insert(self, records: Sequence[tuple[Scope, Record]]) -> list[None]:
        with self._control.begin() as connection:
            self._write(connection, records)
        return [None] * len(records)

    def _write(self, connection: Connection, records: Sequence[tuple[Scope, Record]]) -> None:
        now = int(self._now())
        insert = self._control.insert(idempotency)
        replaced = (*Record._fields, "expires_at")
        first_wins = insert.on_conflict_do_update(
            index_elements=Scope._fields,
            set_={name: insert.excluded[name] for name in replaced},
            where=idempotency.c.expires_at <= now,
        )
        expiry = {"expires_at": now + KEPT_SECONDS}
        rows = [scope._asdict() | record._asdict() | expiry for scope, record in records]
        connection.execute(first_wins, rows)


class Keeper:
    """Keeps the answer of one call under its key."""

    def __init__(self, records: IdempotencyStore, scope: Scope, task: str, fingerprint: bytes) -> None:
        self._records = records
        self._scope = scope
        self._task = task
        self._fingerprint = fingerprint

    async def by_itself(self, answer: dict[str, Any]) -> None:
        """Keep the answer to work that was done before; durable on return.

        Raises:
            StoreUnavailable: The control store doesn't take it.
        """
        await self._records.keep(self._scope, self._task, self._fingerprint, msgspec.json.encode(answer))

    def within(self, connection: Connection, answer: dict[str, Any]) -> None:
        """Keep the answer in the transaction of the work that it answers."""
        record = Record(self._task, self._fingerprint, msgspec.json.encode(answer))
        self._records.keep_within(connection, self._scope, record)


def _fitting(by_account: Mapping[str, Record], account_id: str) -> Record | None:
    found = by_account.get(account_id) or by_account.get("")
    return found or (None if account_id else next(iter(by_account.values()), None))
