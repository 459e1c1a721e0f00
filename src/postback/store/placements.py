"""Placements: which shard of the event store has the events of each account, as the control store knows it.

The first shard is the one that POSTBACK_EVENTS names. It is there without a row, and so is what is placed on it, so
that an installation with one shard stores nothing here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, select, update

from postback.errors import StartupError
from postback.store.account_moves import SWITCHING, AccountMove, PlacedAccount, moved_since
from postback.store.control_store import ControlStore
from postback.store.tables import account, placement, shard

__all__ = [
    "FIRST_SHARD",
    "Placements",
    "ShardRow",
    "accounts_by_shard",
    "add_shard",
    "drain_shard",
    "list_shards",
    "place",
]

FIRST_SHARD = 1

_PLACED = select(func.coalesce(placement.c.shard, FIRST_SHARD)).select_from(account.outerjoin(placement))


class ShardRow(NamedTuple):
    """A shard as the control store has it.

    Attributes:
        number: From 1.
        url: Its database, without user and password; empty for the first.
        draining: Whether no more accounts are placed on it.
    """

    number: int
    url: str
    draining: bool


class Placements:
    """Knows the shard of each account that was asked for. Synchronous and thread-safe.

    What was read once is right until ``take_up`` changes it: the command that moves an account waits for that.

    Attributes:
        version: The newest change that was taken up.
        move: The account that is on its way, as far as that was taken up; None if there is none.
    """

    def __init__(self, control: ControlStore) -> None:
        self._control = control
        self._known: dict[str, int] = {}
        self.version = 0
        self.move: AccountMove | None = None

    def learn(self) -> None:
        """Read where every account is, in one statement.

        Raises:
            StoreUnavailable: The control store doesn't answer.
        """
        with self._control.connect() as connection:
            everyone = connection.execute(_PLACED.add_columns(account.c.account_id))
            self._known.update((account_id, number) for number, account_id in everyone)

    def changes(self) -> list[PlacedAccount]:
        """What has changed since ``version``.

        Raises:
            StoreUnavailable: The control store doesn't answer.
        """
        with self._control.connect() as connection:
            return moved_since(connection, self.version)

    def take_up(self, changes: Sequence[PlacedAccount]) -> None:
        """Go by what has changed."""
        for placed in changes:
            self._known[placed.account_id] = placed.shard
            if placed.phase is not None and placed.other is not None:
                self.move = AccountMove(placed.account_id, placed.shard, placed.version, placed.phase, placed.other)
            elif self.move and self.move.account_id == placed.account_id:
                self.move = None
            self.version = placed.version

    @property
    def switching(self) -> AccountMove | None:
        """The account that is being switched to another shard, so that nothing may be stored; None if there is none."""
        move = self.move
        return move if move and move.phase == SWITCHING else None

    def known(self, account_id: str) -> int | None:
        """The number of an account's shard, without asking the control store; None where that is necessary."""
        return self._known.get(account_id)

    def of(self, account_id: str) -> int:
        """The number of an account's shard.

        Raises:
            StoreUnavailable: The control store doesn't answer.
        """
        number = self._known.get(account_id)
        if number is None:
            with self._control.connect() as connection:
                number = connection.scalar(_PLACED.where(account.c.account_id == account_id))
            if number is None:  # there is no such account, or not yet
                return FIRST_SHARD
            number = self._known.setdefault(account_id, number)  # ``take_up`` may have been faster, and knows better
        return number


def place(connection: Connection, account_id: str) -> None:
    """Place a new account on the shard with the fewest accounts of those that take any."""
    shards = _shards(connection)
    if len(shards) == 1:
        return
    counts = accounts_by_shard(connection)
    number = min((row.number for row in shards if not row.draining), key=lambda number: (counts[number], number))
    if number != FIRST_SHARD:
        connection.execute(placement.insert().values(account_id=account_id, shard=number))


def accounts_by_shard(connection: Connection) -> Counter[int]:
    """How many accounts each shard has, by its number."""
    placed = select(placement.c.shard, func.count()).group_by(placement.c.shard)
    counts = Counter({number: count for number, count in connection.execute(placed)})  # noqa: C416 rows are no pairs
    counts[FIRST_SHARD] += (connection.scalar(select(func.count()).select_from(account)) or 0) - counts.total()
    return counts


def list_shards(control: ControlStore) -> list[ShardRow]:
    """Every shard, by its number.

    Raises:
        StoreUnavailable: The control store doesn't answer.
    """
    with control.connect() as connection:
        return _shards(connection)


def add_shard(control: ControlStore, url: str) -> int:
    """Have accounts placed on another shard, which is ready; returns its number.

    Raises:
        StoreUnavailable: The control store rejects the write.
    """
    with control.begin() as connection:
        number = _shards(connection)[-1].number + 1
        connection.execute(shard.insert().values(number=number, url=url, draining=False))
    return number


def drain_shard(control: ControlStore, number: int) -> None:
    """Have no more accounts placed on a shard; those that are there stay.

    Raises:
        StartupError: There is none with this number, or none would be left.
    """
    with control.begin() as connection:
        shards = _shards(connection)
        if number not in {row.number for row in shards}:
            raise StartupError(f"There is no shard {number}. 'postback shards list' lists the shards.")
        if not any(row.number != number and not row.draining for row in shards):
            raise StartupError(
                f"No other shard than {number} takes new accounts. Add one first, with 'postback shards add'."
            )
        changed = update(shard).where(shard.c.number == number).values(draining=True)
        if not connection.execute(changed).rowcount:
            connection.execute(shard.insert().values(number=number, url="", draining=True))


def _shards(connection: Connection) -> list[ShardRow]:
    rows = connection.execute(select(shard.c.number, shard.c.url, shard.c.draining).order_by(shard.c.number))
    found = [ShardRow(*row) for row in rows]
    if not found or found[0].number != FIRST_SHARD:
        found.insert(0, ShardRow(FIRST_SHARD, "", draining=False))
    return found
