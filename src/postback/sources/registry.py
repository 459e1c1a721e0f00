"""The event sources of every account, and how a call finds the one that it means."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock

import msgspec
from cachetools import TTLCache
from sqlalchemy import Connection, Select, or_, select

from postback.accounts.references import matching_accounts
from postback.errors import AccountAmbiguous, EventSourceNotFound, StartupError
from postback.principal import Principal
from postback.sources.model import EventSource
from postback.store.control import ControlStore
from postback.store.tables import account, event_source

__all__ = ["AccountSources", "SourceRegistry", "new_seller_id"]

_CACHED_LOOKUPS = 10_000
_CACHE_SECONDS = 1.0
_COLUMNS = EventSource.__struct_fields__
_IDENTITY = ("account_id", "event_source_id", "seller_id")


class AccountSources:
    """One account's event sources while they are being edited; what is saved here is committed together.

    Attributes:
        by_id: All of them by event_source_id, the archived ones too.
    """

    def __init__(self, registry: SourceRegistry, connection: Connection, account_id: str) -> None:
        self._registry = registry
        self._connection = connection
        everything = select(event_source).where(event_source.c.account_id == account_id)
        self.by_id = {source.event_source_id: source for source in _read(connection, everything)}

    def save(self, sources: Iterable[EventSource]) -> None:
        """Write these sources, new or changed."""
        rows = [{column: getattr(source, column) for column in _COLUMNS} for source in sources]
        if not rows:
            return
        insert = self._registry.control.insert(event_source)
        upsert = insert.on_conflict_do_update(
            index_elements=["account_id", "event_source_id"],
            set_={column: insert.excluded[column] for column in _COLUMNS if column not in _IDENTITY},
        )
        self._connection.execute(upsert, rows)


class SourceRegistry:
    """Every account's event sources. Synchronous and thread-safe."""

    def __init__(self, control: ControlStore) -> None:
        self.control = control
        self._lookups: TTLCache[tuple[str, str], tuple[EventSource, ...]] = TTLCache(_CACHED_LOOKUPS, _CACHE_SECONDS)
        self._lock = Lock()

    def resolve(self, principal: Principal, event_source_id: str, account_ref: object | None) -> EventSource:
        """The event source that a call means, remembered for a second.

        Args:
            principal: Who calls; only its accounts are searched.
            event_source_id: The buyer's identifier, or our seller_id.
            account_ref: The call's ``account``, or None. It narrows the search.

        Raises:
            EventSourceNotFound: No such source, or somebody else's: the answers are the same.
            AccountAmbiguous: Several of the principal's accounts have it.
            InvalidRequest: The account reference is malformed.
        """
        accounts = {a.account_id for a in matching_accounts(principal, account_ref)}
        found = [s for s in self._lookup(principal, event_source_id) if s.account_id in accounts]
        named = [s for s in found if s.event_source_id == event_source_id] or found
        if not named:
            raise EventSourceNotFound("No such event source is configured on your account.", field="event_source_id")
        if len(named) > 1:
            raise AccountAmbiguous("Several of your accounts have this event source.", field="event_source_id")
        return named[0]

    async def resolve_soon(self, principal: Principal, event_source_id: str, account_ref: object | None) -> EventSource:
        """``resolve`` on an event loop: only what isn't remembered costs a thread."""
        with self._lock:
            remembered = (principal.key_id, event_source_id) in self._lookups
        if not remembered:
            await asyncio.to_thread(self._lookup, principal, event_source_id)
        return self.resolve(principal, event_source_id, account_ref)

    def list(self, account_id: str) -> list[EventSource]:
        """An account's sources by event_source_id, without the archived ones."""
        active = (
            select(event_source)
            .where(event_source.c.account_id == account_id, event_source.c.archived.is_(False))
            .order_by(event_source.c.event_source_id)
        )
        with self.control.connect() as connection:
            return _read(connection, active)

    @contextmanager
    def edit(self, account_id: str) -> Iterator[AccountSources]:
        """Change an account's sources; concurrent edits of one account follow each other.

        Raises:
            StoreUnavailable: The control store doesn't take the change; nothing of it is kept.
        """
        with self.control.begin() as connection:
            connection.execute(select(account.c.account_id).where(account.c.account_id == account_id).with_for_update())
            yield AccountSources(self, connection, account_id)
        with self._lock:
            self._lookups.clear()

    def set_max_event_age_days(self, account_id: str, event_source_id: str, days: int | None) -> EventSource:
        """Set the age in days beyond which a source's events are refused; None means the server's setting.

        Raises:
            StartupError: No such source, or not a positive number of days.
        """
        if days is not None and days < 1:
            raise StartupError("The oldest event to take is at least 1 day old.")
        with self.edit(account_id) as sources:
            source = sources.by_id.get(event_source_id)
            if source is None or source.archived:
                raise StartupError(f"The account {account_id!r} has no event source {event_source_id!r}.")
            changed = msgspec.structs.replace(source, max_event_age_days=days)
            sources.save([changed])
        return changed

    def _lookup(self, principal: Principal, event_source_id: str) -> tuple[EventSource, ...]:
        with self._lock:
            known = self._lookups.get((principal.key_id, event_source_id))
        if known is not None:
            return known
        candidates = select(event_source).where(
            or_(event_source.c.event_source_id == event_source_id, event_source.c.seller_id == event_source_id),
            event_source.c.account_id.in_([a.account_id for a in principal.accounts]),
            event_source.c.archived.is_(False),
        )
        with self.control.connect() as connection:
            found = tuple(_read(connection, candidates))
        with self._lock:
            self._lookups[principal.key_id, event_source_id] = found
        return found


def new_seller_id() -> str:
    """A fresh identifier of ours for a source."""
    return f"src_{secrets.token_hex(8)}"


def _read(connection: Connection, statement: Select[tuple[object, ...]]) -> list[EventSource]:
    return [msgspec.convert(row, EventSource, from_attributes=True) for row in connection.execute(statement)]
