"""The outbox: batches of events that wait to be forwarded, durable until they are delivered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, delete, func, select, update

from postback.store.control import ControlStore
from postback.store.tables import forward

__all__ = ["Backlog", "Outbox", "Parcel"]


class Parcel(NamedTuple):
    """A batch of events on its way to one destination.

    Attributes:
        parcel_id: Identifies it; the same for the same events of a call that is repeated.
        destination: The destination's name.
        account_id: The account of the events.
        event_source_id: Their source.
        events: How many they are.
        sealed: The JSON array of the events, encrypted.
        sent: How many of them the destination has taken, when each goes by itself.
        attempts: How often it was tried.
        error: Why the last attempt failed, or None.
        dead: Whether nothing more is tried.
    """

    parcel_id: str
    destination: str
    account_id: str
    event_source_id: str
    events: int
    sealed: bytes
    sent: int = 0
    attempts: int = 0
    error: str | None = None
    dead: bool = False


class Backlog(NamedTuple):
    """What waits for a destination.

    Attributes:
        waiting: Events that wait.
        dead: Events that nothing is tried for any more.
        oldest: Seconds since the epoch of the oldest waiting one, or None.
    """

    waiting: int
    dead: int
    oldest: int | None


class Outbox:
    """The parcels of every destination. Synchronous and thread-safe.

    Args:
        control: Where they are kept.
        now: The clock, in seconds since the epoch.
    """

    def __init__(self, control: ControlStore, now: Callable[[], float] = time.time) -> None:
        self._control = control
        self._now = now

    def put(self, parcels: Iterable[Parcel]) -> None:
        """Keep parcels, durably; one that waits already stays as it is.

        Raises:
            StoreUnavailable: The control store doesn't take them; none is kept.
        """
        now = int(self._now())
        rows = [parcel._asdict() | {"created_at": now, "next_attempt_at": now} for parcel in parcels]
        insert = self._control.insert(forward).on_conflict_do_nothing(index_elements=["parcel_id"])
        with self._control.begin() as connection:
            connection.execute(insert, rows)

    def due(self, destination: str, limit: int) -> list[Parcel]:
        """The parcels of a destination whose time has come, oldest first."""
        waiting = (
            select(forward)
            .where(
                forward.c.destination == destination,
                forward.c.dead.is_(False),
                forward.c.next_attempt_at <= int(self._now()),
            )
            .order_by(forward.c.next_attempt_at, forward.c.created_at)
            .limit(limit)
        )
        return self._read(waiting)

    def next_attempt(self, destination: str) -> float | None:
        """Seconds until a parcel of a destination is due; None when none waits."""
        soonest = select(func.min(forward.c.next_attempt_at)).where(
            forward.c.destination == destination, forward.c.dead.is_(False)
        )
        with self._control.connect() as connection:
            due = connection.scalar(soonest)
        return None if due is None else max(0.0, due - self._now())

    def delivered(self, parcel: Parcel) -> None:
        """Forget a parcel that has arrived, and what it held of people."""
        self._delete(forward.c.parcel_id == parcel.parcel_id)

    def failed(self, parcel: Parcel, error: str, wait: float | None, sent: int = 0) -> None:
        """Note a failed attempt.

        Args:
            parcel: The parcel.
            error: Why, in words that are safe to show.
            wait: Seconds until the next attempt; None: there is none.
            sent: How many of its events have arrived.
        """
        values = {
            "attempts": parcel.attempts + 1,
            "error": error,
            "sent": sent,
            "dead": wait is None,
            "next_attempt_at": int(self._now() + (wait or 0)) + 1,
        }
        with self._control.begin() as connection:
            connection.execute(update(forward).where(forward.c.parcel_id == parcel.parcel_id).values(values))

    def listed(self, dead: bool | None = None) -> list[Parcel]:
        """Every parcel, oldest first; only dead or only waiting ones, if asked."""
        parcels = select(forward).order_by(forward.c.created_at, forward.c.parcel_id)
        return self._read(parcels if dead is None else parcels.where(forward.c.dead.is_(dead)))

    def replay(self, parcel_id: str | None = None) -> int:
        """Try a dead parcel again, or all of them; returns how many."""
        chosen: list[ColumnElement[bool]] = [forward.c.dead.is_(True)]
        if parcel_id is not None:
            chosen.append(forward.c.parcel_id == parcel_id)
        values = {"dead": False, "attempts": 0, "next_attempt_at": int(self._now())}
        with self._control.begin() as connection:
            return connection.execute(update(forward).where(*chosen).values(values)).rowcount

    def drop(self, parcel_id: str) -> int:
        """Forget a parcel that nobody wants; returns how many there were."""
        return self._delete(forward.c.parcel_id == parcel_id)

    def backlog(self) -> dict[str, Backlog]:
        """By destination, what waits for it."""
        counts = select(
            forward.c.destination,
            forward.c.dead,
            func.sum(forward.c.events - forward.c.sent).label("events"),
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

    def _read(self, statement: Any) -> list[Parcel]:
        with self._control.connect() as connection:
            rows: Sequence[Row[Any]] = connection.execute(statement).all()
        return [Parcel(**{name: getattr(row, name) for name in Parcel._fields}) for row in rows]

    def _delete(self, condition: ColumnElement[bool]) -> int:
        with self._control.begin() as connection:
            return connection.execute(delete(forward).where(condition)).rowcount
