"""The outbox: deliveries that wait to be sent, durable until they arrive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    case,
    cast,
    delete,
    func,
    or_,
    select,
    update,
)

from postback.collectors import Backlog
from postback.errors import StartupError
from postback.forwarding.encryption import Encryptor, Undecryptable
from postback.store.control_store import ControlStore
from postback.store.deliveries import insert_deliveries
from postback.store.tables import forward

__all__ = ["LEASE_SECONDS", "MAX_WAIT_SECONDS", "RETENTION_SECONDS", "Delivery", "Outbox"]

LEASE_SECONDS = 60
"""How long a server has for sending: longer than a request takes. Then what a killed one had goes to others."""

MAX_WAIT_SECONDS = 3600.0
"""The longest time between two attempts."""

_CLOCKS_DIFFER_SECONDS = 300
"""How far servers' clocks may differ: an attempt that is due so much later than MAX_WAIT_SECONDS waits all the same."""

RETENTION_SECONDS = 30 * 86_400
"""How long undeliverable events are stored: as long as rejected ones."""

_DATABASE_NOW = cast(func.extract("epoch", func.now()), BigInteger)


class Delivery(NamedTuple):
    """A request on its way to one destination.

    Attributes:
        delivery_id: Its identifier; the same when a call with the same events is repeated.
        destination: The destination's name.
        account_id: The account of the events.
        event_source_id: Their source.
        key_id: The API key of the call that sent them.
        events: The number of events; 0 for a source's declaration.
        encrypted: The encrypted request; empty in listings.
        attempts: The number of attempts so far.
        error: Why the last attempt failed, or None.
        dead: Whether it is dead-lettered: no further attempts are made.
    """

    delivery_id: str
    destination: str
    account_id: str
    event_source_id: str
    key_id: str
    events: int
    encrypted: bytes = b""
    attempts: int = 0
    error: str | None = None
    dead: bool = False


class Outbox:
    """The deliveries of every destination. Synchronous and thread-safe.

    Args:
        control: The control store.
        now: The time in seconds since the epoch.

    Attributes:
        shared: Whether other servers have it, too.
    """

    def __init__(self, control: ControlStore, now: Callable[[], float] = time.time) -> None:
        self._control = control
        self._now = now
        self.shared = control.shared

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Store deliveries durably; one that is stored already stays unchanged.

        Raises:
            StoreUnavailable: The control store rejects the write; nothing is stored.
        """
        with self._control.begin() as connection:
            self.put_in(connection, deliveries)

    def put_in(self, connection: Connection, deliveries: Sequence[Delivery]) -> None:
        """The same in a transaction."""
        insert_deliveries(self._control, connection, self.rows(deliveries))

    def replace(self, delivery: Delivery, deliveries: Sequence[Delivery]) -> None:
        """Replace one delivery by others, in one transaction."""
        with self._control.begin() as connection:
            connection.execute(delete(forward).where(forward.c.delivery_id == delivery.delivery_id))
            self.put_in(connection, deliveries)

    def take(self, destination: str, limit: int) -> list[Delivery]:
        """The deliveries of a destination that are due, oldest first.

        Where several servers share the store, no other one gets them for LEASE_SECONDS.
        """
        has_come, is_too_far = self._due()  # one after the other, since each is a range of the index
        return self._take(destination, limit, has_come) or self._take(destination, limit, is_too_far)

    def _take(self, destination: str, limit: int, due: ColumnElement[bool]) -> list[Delivery]:
        oldest_first = forward.c.next_attempt_at, forward.c.created_at
        waiting = (
            select(forward)
            .where(forward.c.destination == destination, forward.c.dead.is_(False), due)
            .order_by(*oldest_first)
            .limit(limit)
        )
        if not self._control.shared:
            return self._read(waiting)
        free = forward.c.leased_until.is_(None) | (forward.c.leased_until <= _DATABASE_NOW)
        chosen = waiting.with_only_columns(forward.c.delivery_id).where(free).with_for_update(skip_locked=True)
        lease = (
            update(forward).where(forward.c.delivery_id.in_(chosen)).values(leased_until=_DATABASE_NOW + LEASE_SECONDS)
        )
        with self._control.begin() as connection:
            rows = connection.execute(lease.returning(forward)).all()
        return _deliveries(sorted(rows, key=lambda row: (row.next_attempt_at, row.created_at)))

    def owes(self, key_id: str, destinations: Iterable[str]) -> bool:
        """Whether a delivery caused by an API key is due at one of these destinations, or in flight."""
        of_key = forward.c.key_id == key_id, forward.c.destination.in_(list(destinations))
        owed = select(forward.c.delivery_id).where(*of_key, forward.c.dead.is_(False), or_(*self._due()))
        with self._control.connect() as connection:
            return connection.execute(owed).first() is not None

    def next_attempt(self, destination: str) -> float | None:
        """Seconds until the next delivery of a destination is due; None if none is waiting."""
        leased = forward.c.leased_until > forward.c.next_attempt_at
        free_at = case((leased, forward.c.leased_until), else_=forward.c.next_attempt_at)
        soonest = select(func.min(free_at)).where(forward.c.destination == destination, forward.c.dead.is_(False))
        with self._control.connect() as connection:
            due = connection.scalar(soonest)
        return None if due is None else max(0.0, due - self._now())

    def reencrypt(self, connection: Connection, old: Encryptor, new: Encryptor) -> int:
        """Encrypt every delivery with another secret, in a transaction; returns how many.

        One that the old secret doesn't decrypt stays as it is: it can't be sent, and says so.
        """
        count = 0
        for row in connection.execute(select(forward.c.delivery_id, forward.c.encrypted)).all():
            try:
                encrypted = new.encrypt(old.decrypt(row.encrypted, row.delivery_id), row.delivery_id)
            except Undecryptable:
                continue
            chosen = forward.c.delivery_id == row.delivery_id
            connection.execute(update(forward).where(chosen).values(encrypted=encrypted))
            count += 1
        return count

    def delivered(self, deliveries: Iterable[Delivery]) -> None:
        """Delete deliveries that have arrived, and the personal data in them."""
        self._delete(forward.c.delivery_id.in_([delivery.delivery_id for delivery in deliveries]))

    def failed(self, delivery: Delivery, error: str, wait: float | None) -> None:
        """Record a failed attempt.

        Args:
            delivery: The delivery.
            error: The cause, in words that are safe to show.
            wait: Seconds until the next attempt; None dead-letters the delivery.
        """
        values = {
            "attempts": delivery.attempts + 1,
            "error": error,
            "dead": wait is None,
            "next_attempt_at": int(self._now() + (wait or 0)) + 1,
            "leased_until": None,
        }
        with self._control.begin() as connection:
            connection.execute(update(forward).where(forward.c.delivery_id == delivery.delivery_id).values(values))

    def listed(self, dead: bool | None = None, limit: int | None = None) -> list[Delivery]:
        """The deliveries without their requests, oldest first; only dead (True) or only waiting ones (False)."""
        shown: list[Column[Any]] = [forward.c[name] for name in Delivery._fields if name != "encrypted"]
        deliveries = select(*shown).order_by(forward.c.created_at, forward.c.delivery_id).limit(limit)
        return self._read(deliveries if dead is None else deliveries.where(forward.c.dead.is_(dead)))

    def replay(self, delivery_id: str | None = None) -> int:
        """Make a dead delivery, or all of them, due again; returns how many.

        Raises:
            StartupError: No dead delivery has this id.
        """
        chosen: list[ColumnElement[bool]] = [forward.c.dead.is_(True)]
        if delivery_id is not None:
            chosen.append(forward.c.delivery_id == delivery_id)
        values = {"dead": False, "attempts": 0, "next_attempt_at": int(self._now())}
        with self._control.begin() as connection:
            count = connection.execute(update(forward).where(*chosen).values(values)).rowcount
        if delivery_id is not None and not count:
            raise StartupError(
                f"No dead delivery has the id {delivery_id!r}. 'postback forwards list --dead' lists the dead "
                "deliveries."
            )
        return count

    def drop(self, delivery_id: str | None = None, destination: str | None = None) -> int:
        """Delete one delivery, all of a destination or, with neither, all dead ones; returns how many."""
        if delivery_id is not None:
            return self._delete(forward.c.delivery_id == delivery_id)
        if destination is not None:
            return self._delete(forward.c.destination == destination)
        return self._delete(forward.c.dead.is_(True))

    def purge(self, destinations: Iterable[str], now: float) -> int:
        """Delete deliveries that are dead or for none of these destinations; returns how many.

        Args:
            destinations: The names of those that are delivered to.
            now: The time in seconds since the epoch at which they are older than RETENTION_SECONDS. It must not be
                ahead, as the wall clock may be for a while: nothing brings them back.
        """
        idle = forward.c.dead.is_(True) | forward.c.destination.not_in(list(destinations))
        return self._delete(idle & (forward.c.created_at <= int(now) - RETENTION_SECONDS))

    def backlog(self, account_id: str | None = None, event_source_id: str | None = None) -> dict[str, Backlog]:
        """By destination, what is waiting for it: all of it, or what came from one source of an account."""
        counts = select(
            forward.c.destination,
            forward.c.dead,
            func.sum(forward.c.events).label("events"),
            func.min(forward.c.created_at).label("oldest"),
        ).group_by(forward.c.destination, forward.c.dead)
        if account_id is not None:
            of_source = forward.c.account_id == account_id, forward.c.event_source_id == event_source_id
            counts = counts.where(*of_source)
        found: dict[str, Backlog] = {}
        with self._control.connect() as connection:
            for row in connection.execute(counts):
                known = found.get(row.destination, Backlog(0, 0, None))
                found[row.destination] = (
                    known._replace(dead=int(row.events))
                    if row.dead
                    else known._replace(waiting=int(row.events), oldest=row.oldest)
                )
        return found

    def sizes(self) -> dict[str, int]:
        """By destination, the bytes that are waiting or dead-lettered."""
        sums = select(forward.c.destination, func.sum(func.length(forward.c.encrypted))).group_by(forward.c.destination)
        with self._control.connect() as connection:
            return {name: int(size) for name, size in connection.execute(sums)}

    def _due(self) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        """What is due: what has reached its time, and what waits longer than any failure asks for.

        The latter was put off while the clock was ahead, and would otherwise wait until the clock is there again.
        """
        now = int(self._now())
        latest = now + int(MAX_WAIT_SECONDS) + _CLOCKS_DIFFER_SECONDS
        return forward.c.next_attempt_at <= now, forward.c.next_attempt_at > latest

    def rows(self, deliveries: Sequence[Delivery]) -> list[dict[str, Any]]:
        """New deliveries as rows of the table ``forward``, due at once."""
        now = int(self._now())
        return [delivery._asdict() | {"created_at": now, "next_attempt_at": now} for delivery in deliveries]

    def _read(self, statement: Select[Any]) -> list[Delivery]:
        with self._control.connect() as connection:
            return _deliveries(connection.execute(statement).all())

    def _delete(self, condition: ColumnElement[bool]) -> int:
        with self._control.begin() as connection:
            return connection.execute(delete(forward).where(condition)).rowcount


def _deliveries(rows: Iterable[Row[Any]]) -> list[Delivery]:
    known = set(Delivery._fields)
    return [Delivery(**{name: value for name, value in row._mapping.items() if name in known}) for row in rows]
