"""Moving an installation: most is copied while servers run, the rest when they have stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from postback.config import Settings
from postback.errors import StartupError
from postback.moving.control_copy import copy_control
from postback.moving.destination import Destination, open_destination
from postback.moving.event_tables import EVENT_TABLES, EventTable
from postback.moving.origin import Origin, StoppedOrigin, open_origin
from postback.moving.table_copy import CopiedTable, TableCopy
from postback.store.fingerprint import note_moved
from postback.store.installation import note_commits

__all__ = ["Moved", "give_up", "move"]

_SHORT_SECONDS = 10.0
"""A pass that takes no longer leaves little for the end."""

_MOST_PASSES = 5
_LOOK_SECONDS = 0.5

Tell = Callable[[str], None]


class Moved(NamedTuple):
    """An installation that has moved.

    Attributes:
        place: Where its events are.
        settings: What to set for its servers.
        tables: What was compared; empty if it had been moved before.
        control_rows: How many rows its control store has.
        seconds: For how long no server could run.
    """

    place: str
    settings: Sequence[str]
    tables: Sequence[CopiedTable] = ()
    control_rows: int = 0
    seconds: float = 0


def move(settings: Settings, target: Settings, tell: Tell) -> Moved:
    """Move the installation of these settings to other stores. Cut short anywhere, the next call goes on.

    Args:
        settings: Of the servers that use it.
        target: Of servers in the new place.
        tell: Called with each thing that the operator should know.

    Raises:
        StartupError: It can't be moved there; says what to do.
        StoreUnavailable: A store failed.
    """
    with (
        open_origin(settings) as origin,
        open_destination(target, origin.secret, origin.found.fingerprint) as destination,
    ):
        if destination.arrived:
            if origin.found.moved_to != destination.place:
                raise StartupError(
                    f"This installation is in {destination.place} already, and may have received events there, which "
                    "this move would delete. Create empty databases."
                )
            return Moved(destination.place, destination.settings)
        _copy_while_in_use(origin, destination, tell)
        _wait_until_stopped(origin, tell)
        began = time.monotonic()
        with origin.stopped() as left:
            tell("No server runs any more: what is left is copied, and everything is compared.")
            with left.control.begin() as connection:
                note_moved(connection, destination.place)
            tables = [_equal(table, left, destination, tell) for table in EVENT_TABLES]
            destination.carry_files(left.folder)
            control_rows = copy_control(left.control, destination.control)
            if destination.folder:
                note_commits(destination.folder, destination.control)
        return Moved(destination.place, destination.settings, tables, control_rows, time.monotonic() - began)


def give_up(settings: Settings) -> str | None:
    """Let servers use the stores of these settings again, although they were left.

    Returns:
        Where the installation was being moved, or had; None if it was not.

    Raises:
        StartupError: There is no installation, or a store can't be opened.
    """
    with open_origin(settings) as origin:
        with origin.control.begin() as connection:
            note_moved(connection, None)
        return origin.found.moved_to


def _copy_while_in_use(origin: Origin, destination: Destination, tell: Tell) -> None:
    """Copy what is stored, again and again, until little comes meanwhile."""
    for _ in range(_MOST_PASSES):
        if not origin.users():
            return
        began, copied = time.monotonic(), 0
        try:
            with origin.live() as source:
                for table in EVENT_TABLES:
                    progress = _Progress(table, tell)
                    copied += TableCopy(
                        table, source, destination.client, int(time.time()), progress.note
                    ).append_and_replace()
        except StartupError:
            if origin.users():
                raise
            return  # what was stopped meanwhile takes its snapshot along
        seconds = time.monotonic() - began
        tell(f"Copied {copied:,} rows of events in {seconds:.0f} s, while servers run.")
        if seconds < _SHORT_SECONDS:
            return


def _wait_until_stopped(origin: Origin, tell: Tell) -> None:
    told: set[str] = set()
    while users := origin.users():
        names = {user.partition(",")[0] for user in users}
        if names - told:
            tell("Stop the servers now; the rest is copied at once. Still running: " + "; ".join(users))
            told |= names
        time.sleep(_LOOK_SECONDS)


def _equal(table: EventTable, left: StoppedOrigin, destination: Destination, tell: Tell) -> CopiedTable:
    progress = _Progress(table, tell)
    return TableCopy(table, left.client, destination.client, int(time.time()), progress.note).make_equal()


class _Progress:
    """Tells how far the copy of a table has come, now and then."""

    def __init__(self, table: EventTable, tell: Tell) -> None:
        self._table = table
        self._tell = tell
        self._rows = 0
        self._told_at = time.monotonic()

    def note(self, rows: int) -> None:
        """Note that so many more rows were copied."""
        self._rows += rows
        if time.monotonic() > self._told_at + _SHORT_SECONDS:
            self._told_at = time.monotonic()
            self._tell(f"{self._table.name}: {self._rows:,} rows copied so far")
