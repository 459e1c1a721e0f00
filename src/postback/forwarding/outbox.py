"""The outbox: requests that wait to be forwarded, durable until they are delivered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, Row, Select, delete, func, select, update

from postback.metrics import Backlog
from postback.store.control import ControlStore
from postback.store.tables import forward

__all__ = ["KEPT_SECONDS", "Outbox", "Parcel"]

KEPT_SECONDS = 30 * 86_400
"""How long what nothing is tried for is kept: as long as failed events are."""


class Parcel(NamedTuple):
    """A request on its way to one destination.

    Attributes:
        parcel_id: Identifies it; the same for the same events of a call that is repeated.
        destination: The destination's name.
        account_id: The account of the events.
        event_source_id: Their source.
        key_id: The API key that they came with.
        events: How many they are; a source's declaration holds none.
        sealed: The request, encrypted; empty in listings.
        attempts: How often it was tried.
        error: Why the last attempt failed, or None.
        dead: Whether nothing more is tried.
    """

    parcel_id: str
    destination: str
    account_id: str
    event_source_id: str
    key_id: str
    events: int
    sealed: bytes = b""
    attempts: int = 0
    error: str | None = None
    dead: bool = False


class Outbox:
    """The parcels of every destination. Synchronous and thread-safe.

    Args:
        control: Where they are kept.
        now: The clock, in seconds since the epoch.
    """

    def __init__(self, control: ControlStore, now: Callable[[], float] = time.time) -> None:
        self._control = control
        self._now = now

    def put(self, parcels: Sequence[Parcel]) -> None:
        """Keep parcels, durably; one that waits already stays as it is.

        Raises:
            StoreUnavailable: The control store doesn't take them; none is kept.
        """
        with self._control.begin() as connection:
            self._insert(connection, parcels)

    def replace(self, parcel: Parcel, parcels: Sequence[Parcel]) -> None:
        """Keep parcels in the place of one."""
        with self._control.begin() as connection:
            connection.execute(delete(forward).where(forward.c.parcel_id == parcel.parcel_id))
            self._insert(connection, parcels)

    def due(self, destination: str, limit: int) -> list[Parcel]:
        """The parcels of a destination whose time has come, oldest first."""
        waiting = (
            select(forward)
            .where(forward.c.destination == destination, *self._is_due())
            .order_by(forward.c.next_attempt_at, forward.c.created_at)
            .limit(limit)
        )
        return self._read(waiting)

    def owes(self, key_id: str, destinations: Iterable[str]) -> bool:
        """Whether a parcel that came with an API key is due at one of these destinations, or under way."""
        owed = forward.c.key_id == key_id, forward.c.destination.in_(list(destinations))
        with self._control.connect() as connection:
            return connection.execute(select(forward.c.parcel_id).where(*owed, *self._is_due())).first() is not None

    def next_attempt(self, destination: str) -> float | None:
        """Seconds until a parcel of a destination is due; None when none waits."""
        soonest = select(func.min(forward.c.next_attempt_at)).where(
            forward.c.destination == destination, forward.c.dead.is_(False)
        )
        with self._control.connect() as connection:
            due = connection.scalar(soonest)
        return None if due is None else max(0.0, due - self._now())

    def delivered(self, parcels: Iterable[Parcel]) -> None:
        """Forget parcels that have arrived, and what they held of people."""
        self._delete(forward.c.parcel_id.in_([parcel.parcel_id for parcel in parcels]))

    def failed(self, parcel: Parcel, error: str, wait: float | None) -> None:
        """Note a failed attempt.

        Args:
            parcel: The parcel.
            error: Why, in words that are safe to show.
            wait: Seconds until the next attempt; None: there is none.
        """
        values = {
            "attempts": parcel.attempts + 1,
            "error": error,
            "dead": wait is None,
            "next_attempt_at": int(self._now() + (wait or 0)) + 1,
        }
        with self._control.begin() as connection:
            connection.execute(update(forward).where(forward.c.parcel_id == parcel.parcel_id).values(values))

    def listed(self, dead: bool | None = None) -> list[Parcel]:
        """Every parcel without its request, oldest first; only dead or only waiting ones, if asked."""
        shown: list[Column[Any]] = [forward.c[name] for name in Parcel._fields if name != "sealed"]
        parcels = select(*shown).order_by(forward.c.created_at, forward.c.parcel_id)
        return self._read(parcels if dead is None else parcels.where(forward.c.dead.is_(dead)))

    def replay(self, parcel_id: str | None = None) -> int:
        """Try a dead parcel again, or all of them; returns how many."""
        chosen: list[ColumnElement[bool]] = [forward.c.dead.is_(True)]
        if parcel_id is not None:
            chosen.append(forward.c.parcel_id == parcel_id)
        values = {"dead": False, "attempts": 0, "next_attempt_at": int(self._now())}
        with self._control.begin() as connection:
            return connection.execute(update(forward).where(*chosen).values(values)).rowcount

    def drop(self, parcel_id: str | None = None, destination: str | None = None) -> int:
        """Forget a parcel, every one of a destination or, with neither, every dead one; returns how many there were."""
        if parcel_id is not None:
            return self._delete(forward.c.parcel_id == parcel_id)
        if destination is not None:
            return self._delete(forward.c.destination == destination)
        return self._delete(forward.c.dead.is_(True))

    def purge(self, destinations: Iterable[str]) -> int:
        """Forget what has lain for KEPT_SECONDS and isn't tried: dead, or not for one of these destinations."""
        idle = forward.c.dead.is_(True) | forward.c.destination.not_in(list(destinations))
        return self._delete(idle & (forward.c.created_at <= int(self._now()) - KEPT_SECONDS))

    def backlog(self) -> dict[str, Backlog]:
        """By destination, what waits for it."""
        counts = select(
            forward.c.destination,
            forward.c.dead,
            func.sum(forward.c.events).label("events"),
            func.min(forward.c.created_at).label("oldest"),
        ).group_by(forward.c.destination, forward.c.dead)
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
        """By destination, the bytes of what waits for it or was given up."""
        sums = select(forward.c.destination, func.sum(func.length(forward.c.sealed))).group_by(forward.c.destination)
        with self._control.connect() as connection:
            return {name: int(size) for name, size in connection.execute(sums)}

    def _is_due(self) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        return forward.c.dead.is_(False), forward.c.next_attempt_at <= int(self._now())

    def _insert(self, connection: Connection, parcels: Sequence[Parcel]) -> None:
        now = int(self._now())
        insert = self._control.insert(forward).on_conflict_do_nothing(index_elements=["parcel_id"])
        if parcels:
            rows = [parcel._asdict() | {"created_at": now, "next_attempt_at": now} for parcel in parcels]
            connection.execute(insert, rows)

    def _read(self, statement: Select[Any]) -> list[Parcel]:
        with self._control.connect() as connection:
            rows: Sequence[Row[Any]] = connection.execute(statement).all()
        known = set(Parcel._fields)
        return [Parcel(**{name: value for name, value in row._mapping.items() if name in known}) for row in rows]

    def _delete(self, condition: ColumnElement[bool]) -> int:
        with self._control.begin() as connection:
            return connection.execute(delete(forward).where(condition)).rowcount
