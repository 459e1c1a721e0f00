"""Signals: what is wrong with an event source since when, as the control store keeps it.

A signal opens when a source goes offline or changes for the worse, and closes when it is well again. While it is open
it keeps its identifier and its time, whoever reads it and however often the server starts.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, and_, delete, select, update

from postback.event_sources.rhythms import SourceKey
from postback.store.control_store import ControlStore
from postback.store.tables import source_signal, source_watch

__all__ = ["LONGEST_BREAK", "Announce", "SignalChange", "SignalKind", "SignalStore", "SourceSignal", "new_signal_id"]

SignalKind = Literal["offline", "failure_rate", "match_rate"]

LONGEST_BREAK = timedelta(minutes=3)
"""A server looks at its sources once a minute. When none did for longer, events may have found none."""


class SourceSignal(NamedTuple):
    """Something that is wrong with a source.

    Attributes:
        account_id: The account of the source.
        event_source_id: The source.
        kind: "offline"; "failure_rate" when more of its events are rejected than usual; "match_rate" when fewer are
            attributed.
        signal_id: Names this one for ever.
        observed_at: When it was noticed, UTC.
        reason: What was noticed, in a sentence with numbers.
        status_before: The health status that the source had, if it is known.
    """

    account_id: str
    event_source_id: str
    kind: SignalKind
    signal_id: str
    observed_at: datetime
    reason: str
    status_before: str | None = None

    @property
    def source(self) -> SourceKey:
        """The source."""
        return SourceKey(self.account_id, self.event_source_id)


class SignalChange(NamedTuple):
    """A signal that has opened; or has closed, because the source is well again or was deleted."""

    signal: SourceSignal
    what: Literal["opened", "closed", "deleted"]


Announce = Callable[[Connection, Sequence[SignalChange]], object]
"""Called in the transaction that opens and closes signals, with those that really changed."""


class SignalStore:
    """The open signals of every account. Synchronous and thread-safe."""

    def __init__(self, control: ControlStore) -> None:
        self._control = control

    def watched(self, now: datetime) -> datetime:
        """Note that a server is there to receive events; returns since when one has been, without a break.

        Raises:
            StoreUnavailable: The control store rejects the write.
        """
        with self._control.begin() as connection:
            row = connection.execute(select(source_watch).with_for_update()).first()
            if row is None:
                connection.execute(source_watch.insert().values(since=_seconds(now), seen_at=_seconds(now)))
                return now
            pause = now - _moment(row.seen_at)
            broken = not timedelta(minutes=-1) <= pause <= LONGEST_BREAK
            since = _seconds(now) if broken else row.since
            connection.execute(update(source_watch).values(since=since, seen_at=_seconds(now)))
            return _moment(since)

    def watched_since(self, now: datetime) -> datetime:
        """What ``watched`` last returned; now, before it was ever called."""
        with self._control.connect() as connection:
            since = connection.scalar(select(source_watch.c.since))
        return now if since is None else _moment(since)

    def open(self, account_ids: Collection[str] | None = None) -> list[SourceSignal]:
        """The open signals of these accounts, or of all, oldest first."""
        statement = select(source_signal).order_by(source_signal.c.observed_at, source_signal.c.signal_id)
        if account_ids is not None:
            statement = statement.where(source_signal.c.account_id.in_(account_ids))
        with self._control.connect() as connection:
            rows = connection.execute(statement).all()
        return [SourceSignal(**{**row._mapping, "observed_at": _moment(row.observed_at)}) for row in rows]

    def change(self, changes: Sequence[SignalChange], announce: Announce = lambda _, __: None) -> list[SignalChange]:
        """Open and close signals in one transaction; returns those that another server hadn't opened or closed.

        Raises:
            StoreUnavailable: The control store rejects the write; nothing is changed.
        """
        with self._control.begin() as connection:
            done = [change for change in changes if self._apply(connection, change)]
            if done:
                announce(connection, done)
        return done

    def _apply(self, connection: Connection, change: SignalChange) -> bool:
        if change.what == "opened":
            return self._insert(connection, change.signal)
        return _delete(connection, change.signal)

    def _insert(self, connection: Connection, signal: SourceSignal) -> bool:
        values: dict[str, Any] = {**signal._asdict(), "observed_at": _seconds(signal.observed_at)}
        statement = self._control.insert(source_signal).values(values).on_conflict_do_nothing()
        return bool(connection.execute(statement).rowcount)


def new_signal_id() -> str:
    """A new identifier of a signal."""
    return f"imp_{secrets.token_hex(10)}"


def _delete(connection: Connection, signal: SourceSignal) -> bool:
    column = source_signal.c
    chosen = and_(column.account_id == signal.account_id, column.signal_id == signal.signal_id)
    return bool(connection.execute(delete(source_signal).where(chosen)).rowcount)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
