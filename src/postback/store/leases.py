"""Leases: what one of several servers on a PostgreSQL works on alone, for example attribution.

A lease ends by itself when its holder is killed, frozen or cut off, and another server takes it. So that a holder that
did not notice changes nothing any more, each new holder gets a higher number, and the holder's is compared in every
transaction that stores what its work came to. On SQLite the only server holds every lease, and nothing is stored.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, case, cast, func, or_, select, update

from postback.errors import StoreUnavailable
from postback.store.control_store import ControlStore
from postback.store.tables import lease

__all__ = ["LEASE_SECONDS", "Lease", "LeaseState", "is_held"]

LEASE_SECONDS = 15
"""A server that is gone is replaced after so long. The holder renews its lease every second."""

_SURE_SECONDS = 10
"""Only for so long after it renewed its lease a server is sure to have it."""

_NOW = cast(func.extract("epoch", func.now()), BigInteger)


class LeaseState(NamedTuple):
    """A lease as it was a moment ago.

    Attributes:
        number: Rises with every holder; None if another server holds the lease.
        progress: What the holder, this or another, has noted of its work; None before it did.
    """

    number: int | None
    progress: int | None


class Lease:
    """One lease, for one server. Synchronous and thread-safe.

    Args:
        control: The control store.
        name: What is leased.
    """

    def __init__(self, control: ControlStore, name: str) -> None:
        self._control = control
        self._name = name
        self._holder = secrets.token_hex(8)
        self._number: int | None = None
        self._progress: int | None = None
        self._renewed_at = 0.0
        self._lock = threading.Lock()

    def take(self) -> LeaseState:
        """Take the lease if it is free, or renew it.

        Raises:
            StoreUnavailable: The control store rejects the write.
        """
        if not self._control.shared:
            return LeaseState(0, self._progress)
        taken_at = time.monotonic()
        with self._lock:
            with self._control.begin() as connection:
                number = self._taken(connection)
                progress = _progress(connection, self._name)
            self._number, self._renewed_at = number, taken_at if number else self._renewed_at
        return LeaseState(number, progress)

    def noted(self) -> int | None:
        """What whoever holds the lease has noted of its work, without taking it; None before it did.

        Raises:
            StoreUnavailable: The control store doesn't answer.
        """
        if not self._control.shared:
            return self._progress
        with self._control.connect() as connection:
            return _progress(connection, self._name)

    def renew(self) -> None:
        """Hold the lease for longer, during work that takes long; does nothing once it has ended.

        Raises:
            StoreUnavailable: The control store rejects the write.
        """
        own = lease.c.name == self._name, lease.c.holder == self._holder, lease.c.held_until > _NOW
        renewed_at = time.monotonic()
        with self._control.begin() as connection:
            renewed = update(lease).where(*own).values(held_until=_NOW + LEASE_SECONDS)
            if connection.execute(renewed).rowcount:
                self._renewed_at = renewed_at

    def check(self) -> None:
        """Check, without asking the database, that the lease was renewed lately: before a write elsewhere.

        Raises:
            StoreUnavailable: It was not, so that another server may take it.
        """
        if self._control.shared and time.monotonic() > self._renewed_at + _SURE_SECONDS:
            raise StoreUnavailable(f"Another server may take over: {self._name}.", retry_after=1)

    def require(self, connection: Connection) -> None:
        """Check in a transaction that this server holds the lease; none other can take it before the transaction ends.

        Raises:
            StoreUnavailable: Another server has taken it. What the transaction writes must not be stored.
        """
        if not self._control.shared:
            return
        own = lease.c.name == self._name, lease.c.holder == self._holder, lease.c.number == self._number
        if connection.execute(select(lease.c.name).where(*own).with_for_update()).first() is None:
            raise StoreUnavailable(f"Another server has taken over: {self._name}.", retry_after=1)

    def note(self, progress: int) -> None:
        """Note for all servers how far this one's work has come.

        Raises:
            StoreUnavailable: The control store rejects the write, or another server has taken the lease.
        """
        self._progress = progress
        if not self._control.shared:
            return
        with self._control.begin() as connection:
            self.require(connection)
            connection.execute(update(lease).where(lease.c.name == self._name).values(progress=progress))

    def release(self) -> None:
        """Let another server take the lease at once.

        Raises:
            StoreUnavailable: The control store rejects the write.
        """
        if self._control.shared and self._number is not None:
            with self._control.begin() as connection:
                own = lease.c.name == self._name, lease.c.holder == self._holder
                connection.execute(update(lease).where(*own).values(held_until=0))

    def _taken(self, connection: Connection) -> int | None:
        values = {"name": self._name, "holder": self._holder, "number": 1, "held_until": _NOW + LEASE_SECONDS}
        mine = lease.c.holder == self._holder
        insert = self._control.insert(lease).values(values)
        take = insert.on_conflict_do_update(
            index_elements=["name"],
            set_={
                "holder": self._holder,
                "number": lease.c.number + case((mine & (lease.c.held_until > _NOW), 0), else_=1),
                "held_until": insert.excluded.held_until,
            },
            where=or_(mine, lease.c.held_until <= _NOW),
        )
        number: int | None = connection.scalar(take.returning(lease.c.number))
        return number


def is_held(connection: Connection, name: str) -> bool:
    """Whether a server holds a lease."""
    held = select(lease.c.name).where(lease.c.name == name, lease.c.held_until > _NOW)
    return connection.execute(held).first() is not None


def _progress(connection: Connection, name: str) -> int | None:
    progress: int | None = connection.scalar(select(lease.c.progress).where(lease.c.name == name))
    return progress
