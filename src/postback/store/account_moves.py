"""Accounts on their way from one shard to another, as the control store knows them: one at a time.

*copying*: nothing changes for servers. *switching*: they store nothing, and nobody attributes the account, so that both
shards can be made equal. *leaving*: the account is on its new shard, and its rows on the old one are deleted. Each step
is a new version of the placements, and the next one is taken when all servers go by it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import Connection, func, select, update

from postback.errors import StartupError
from postback.store.control_store import ControlStore
from postback.store.leases import is_held
from postback.store.tables import placement

__all__ = [
    "COPYING",
    "LEAVING",
    "MOVING",
    "SWITCHING",
    "AccountMove",
    "PlacedAccount",
    "begun",
    "go_on_if_abandoned",
    "moved_since",
    "moving",
]

COPYING, SWITCHING, LEAVING = "copying", "switching", "leaving"

MOVING = "move of an account"
"""The lease of the command that moves an account."""

_COLUMNS = placement.c.account_id, placement.c.shard, placement.c.version, placement.c.phase, placement.c.other


class PlacedAccount(NamedTuple):
    """An account that has moved, or is on its way.

    Attributes:
        account_id: The account.
        shard: Where it is read, and what arrives for it is stored.
        version: Of all placements, the one in which it came to be so.
        phase: How far it has come; None if it isn't on its way.
        other: The shard to which it moves; when it is leaving, the one that has rows of it left.
    """

    account_id: str
    shard: int
    version: int
    phase: str | None
    other: int | None


class AccountMove(NamedTuple):
    """An account that is on its way; attributes as those of ``PlacedAccount``."""

    account_id: str
    shard: int
    version: int
    phase: str
    other: int

    def advanced(self, connection: Connection, phase: str, shard: int, other: int) -> AccountMove:
        """The next step, as a transaction takes it.

        Raises:
            StartupError: Somebody else has taken one.
        """
        values = {"version": self.version + 1, "phase": phase, "shard": shard, "other": other}
        self._change(connection, values)
        return AccountMove(self.account_id, shard, self.version + 1, phase, other)

    def ended(self, connection: Connection) -> None:
        """Note that the account is where it belongs, and nowhere else.

        Raises:
            StartupError: Somebody else has taken a step.
        """
        self._change(connection, {"version": self.version + 1, "phase": None, "other": None})

    def _change(self, connection: Connection, values: dict[str, object]) -> None:
        own = placement.c.account_id == self.account_id, placement.c.version == self.version
        if not connection.execute(update(placement).where(*own).values(values)).rowcount:
            raise StartupError(
                f"The servers waited too long for the move of account {self.account_id}, and go on without it. Nothing "
                "is lost. Run the command again."
            )


def begun(connection: Connection, control: ControlStore, account_id: str, shard: int, other: int) -> AccountMove:
    """Note that an account begins to move."""
    version = 1 + (connection.scalar(select(func.max(placement.c.version))) or 0)
    values = {"shard": shard, "version": version, "phase": COPYING, "other": other}
    insert = control.insert(placement).values(account_id=account_id, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=["account_id"], set_=values))
    return AccountMove(account_id, shard, version, COPYING, other)


def moving(connection: Connection) -> AccountMove | None:
    """The account that is on its way; None if there is none."""
    row = connection.execute(select(*_COLUMNS).where(placement.c.phase.is_not(None))).first()
    return AccountMove(*row) if row else None


def moved_since(connection: Connection, version: int) -> list[PlacedAccount]:
    """The accounts whose placement changed after a version, the last one last."""
    changed = select(*_COLUMNS).where(placement.c.version > version).order_by(placement.c.version)
    return [PlacedAccount(*row) for row in connection.execute(changed)]


def go_on_if_abandoned(control: ControlStore) -> None:
    """Let servers store events again whose command was killed while they waited for it.

    Raises:
        StoreUnavailable: The control store rejects the write.
    """
    with suppress(StartupError), control.begin() as connection:  # another server was faster
        move = moving(connection)
        if move and move.phase == SWITCHING and not is_held(connection, MOVING):
            move.advanced(connection, COPYING, move.shard, move.other)
