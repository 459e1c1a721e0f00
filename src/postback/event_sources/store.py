"""The event sources of every account, and the lookup of the one that a call names."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
from sqlalchemy import Connection, Select, func, or_, select

from postback.accounts.references import AccountRef, matching_accounts
from postback.auth.principal import Principal
from postback.errors import AccountAmbiguous, EventSourceNotFound, StartupError
from postback.event_sources.event_source import EventSource
from postback.store.control_store import ControlStore
from postback.store.recent_lookups import RecentLookups
from postback.store.tables import account, event_source

__all__ = ["AccountSources", "SourceRegistry", "new_seller_id"]

_COLUMNS = EventSource.__struct_fields__
_IDENTITY = ("account_id", "event_source_id", "seller_id")


class AccountSources:
    """One account's event sources during an edit; all changes commit together.

    Attributes:
        connection: The transaction.
        by_id: All of them by event_source_id, archived ones included.
    """

    def __init__(self, registry: SourceRegistry, connection: Connection, account_id: str) -> None:
        self._registry = registry
        self.connection = connection
        everything = select(event_source).where(event_source.c.account_id == account_id)
        self.by_id = {source.event_source_id: source for source in _read(connection, everything)}

    def save(self, sources: Iterable[EventSource]) -> None:
        """Write these sources, new or changed, with when they were deleted and created again."""
        dated = [self._dated(source) for source in sources]
        if not dated:
            return
        rows = [{column: msgspec.to_builtins(getattr(source, column)) for column in _COLUMNS} for source in dated]
        insert = self._registry.control.insert(event_source)
        upsert = insert.on_conflict_do_update(
            index_elements=["account_id", "event_source_id"],
            set_={column: insert.excluded[column] for column in _COLUMNS if column not in _IDENTITY},
        )
        self.connection.execute(upsert, rows)
        self.by_id |= {source.event_source_id: source for source in dated}

    def _dated(self, source: EventSource) -> EventSource:
        now, before = int(self._registry.now()), self.by_id.get(source.event_source_id)
        if source.archived:
            return msgspec.structs.replace(source, archived_at=source.archived_at or now)
        restored_at = before and (now if before.archived else before.restored_at)
        return msgspec.structs.replace(source, archived_at=None, restored_at=restored_at)


class SourceRegistry:
    """Every account's event sources. Synchronous and thread-safe.

    Args:
        control: Where they are stored.
        outage_seconds: For how long calls find the sources that were there while the control store doesn't answer.
        now: The time in seconds since the epoch.
    """

    def __init__(
        self, control: ControlStore, outage_seconds: float = 0.0, now: Callable[[], float] = time.time
    ) -> None:
        self.control = control
        self.now = now
        self._lookups: RecentLookups[tuple[str, str], tuple[EventSource, ...]] = RecentLookups(outage_seconds)
        self._public: RecentLookups[str, EventSource | None] = RecentLookups(outage_seconds)

    def resolve(self, principal: Principal, event_source_id: str, account_ref: AccountRef | None) -> EventSource:
        """The event source that a call names, cached for a second.

        Args:
            principal: The caller; only its accounts are searched.
            event_source_id: The buyer's identifier, or our seller_id.
            account_ref: The call's ``account``, or None. It narrows the search.

        Raises:
            EventSourceNotFound: No such source, or another caller's; the two are indistinguishable.
            AccountAmbiguous: Several of the principal's accounts have it.
            InvalidRequest: The account reference is malformed.
        """
        return _chosen(self._lookup(principal, event_source_id), principal, event_source_id, account_ref)

    def cached(self, principal: Principal, event_source_id: str, account_ref: AccountRef | None) -> EventSource | None:
        """What ``resolve`` returns or raises if the lookup is cached, else None; never waits for the store."""
        cached = self._lookups.fresh((principal.key_id, event_source_id))
        return None if cached is None else _chosen(cached[0], principal, event_source_id, account_ref)

    def by_seller_id(self, seller_id: str) -> EventSource | None:
        """The source with this seller_id, whosever it is; None if there is none. As it was at most a second ago."""
        named = select(event_source).where(event_source.c.seller_id == seller_id, event_source.c.archived.is_(False))
        return self._public.find(seller_id, lambda: next(iter(self._selected(named)), None))

    def list(self, account_id: str) -> list[EventSource]:
        """An account's sources by event_source_id, without the archived ones."""
        active = (
            select(event_source)
            .where(event_source.c.account_id == account_id, event_source.c.archived.is_(False))
            .order_by(event_source.c.event_source_id)
        )
        with self.control.connect() as connection:
            return _read(connection, active)

    def everyones(self) -> Sequence[EventSource]:
        """The sources of every account that isn't closed, without the archived ones."""
        of_open = event_source.join(account).select().with_only_columns(*event_source.c)
        with self.control.connect() as connection:
            return _read(connection, of_open.where(event_source.c.archived.is_(False), account.c.status != "closed"))

    def archived(self, account_ids: Iterable[str]) -> Sequence[EventSource]:
        """The sources of these accounts that were deleted."""
        deleted = select(event_source).where(
            event_source.c.account_id.in_(list(account_ids)), event_source.c.archived.is_(True)
        )
        with self.control.connect() as connection:
            return _read(connection, deleted)

    @contextmanager
    def edit(self, account_id: str) -> Iterator[AccountSources]:
        """Change an account's sources in one transaction; concurrent edits of one account are serialized.

        Raises:
            StoreUnavailable: The control store rejects the write; nothing is stored.
        """
        with self.control.begin() as connection:
            connection.execute(select(account.c.account_id).where(account.c.account_id == account_id).with_for_update())
            yield AccountSources(self, connection, account_id)
        self._lookups.clear()
        self._public.clear()

    def set_max_event_age_days(self, account_id: str, event_source_id: str, days: int | None) -> EventSource:
        """Set the age in days beyond which a source's events are rejected; None means the server's setting.

        Raises:
            StartupError: No such source, or not a positive number of days.
        """
        if days is not None and days < 1:
            raise StartupError("The maximum event age must be at least 1 day.")
        with self.edit(account_id) as sources:
            source = sources.by_id.get(event_source_id)
            if source is None or source.archived:
                raise StartupError(f"The account {account_id!r} has no event source {event_source_id!r}.")
            changed = msgspec.structs.replace(source, max_event_age_days=days)
            sources.save([changed])
        return changed

    def longest_max_event_age_days(self) -> int | None:
        """The highest limit on the age of events that a source has; None if every source has the server's."""
        table = event_source.c
        with self.control.connect() as connection:
            longest: int | None = connection.scalar(select(func.max(table.max_event_age_days)).where(~table.archived))
            return longest

    def _lookup(self, principal: Principal, event_source_id: str) -> tuple[EventSource, ...]:
        candidates = select(event_source).where(
            or_(event_source.c.event_source_id == event_source_id, event_source.c.seller_id == event_source_id),
            event_source.c.account_id.in_([a.account_id for a in principal.accounts]),
            event_source.c.archived.is_(False),
        )
        named = principal.key_id, event_source_id
        return self._lookups.find(named, lambda: tuple(self._selected(candidates)))

    def _selected(self, statement: Select[tuple[object, ...]]) -> Sequence[EventSource]:
        with self.control.connect() as connection:
            return _read(connection, statement)


def _chosen(
    found: Iterable[EventSource], principal: Principal, event_source_id: str, account_ref: AccountRef | None
) -> EventSource:
    accounts = {a.account_id for a in matching_accounts(principal, account_ref)}
    usable = [s for s in found if s.account_id in accounts]
    named = [s for s in usable if s.event_source_id == event_source_id] or usable
    if not named:
        raise EventSourceNotFound("Your account has no event source with this id.", field="event_source_id")
    if len(named) > 1:
        raise AccountAmbiguous("Several of your accounts have an event source with this id.", field="event_source_id")
    return named[0]


def new_seller_id() -> str:
    """A new seller_id for a source."""
    return f"src_{secrets.token_hex(8)}"


def _read(connection: Connection, statement: Select[tuple[object, ...]]) -> list[EventSource]:
    return [msgspec.convert(row, EventSource, from_attributes=True) for row in connection.execute(statement)]
