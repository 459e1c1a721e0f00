"""Moving an account to another shard while servers take its events: copied first, then made equal and switched.

For the switch no server stores anything, and nobody attributes on the two shards, for as long as it takes to compare
what they have. What is received waits in the ingest logs, and is stored where the account is then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import timedelta
from threading import Event, Thread
from typing import NamedTuple, TypeVar

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from sqlalchemy import Connection, select

from postback.errors import StartupError, StoreUnavailable
from postback.moving.event_tables import EVENT_TABLES
from postback.moving.table_copy import CopiedTable, TableCopy
from postback.store.account_moves import COPYING, LEAVING, MOVING, SWITCHING, AccountMove, begun, moving
from postback.store.control_store import ControlStore
from postback.store.event_engine import reason
from postback.store.event_store import EventStore
from postback.store.leases import LEASE_SECONDS, Lease
from postback.store.nodes import nodes_behind
from postback.store.placements import FIRST_SHARD, list_shards
from postback.store.shards import Shards
from postback.store.tables import account, placement

__all__ = ["MOVED_TABLES", "MovedAccount", "move_account"]

MOVED_TABLES = tuple(table for table in EVENT_TABLES if table.name != "retention")
"""Those whose rows belong to accounts."""

_SHORT_SECONDS = 5.0
"""A pass that takes no longer leaves little for the end."""

_MOST_PASSES = 5
_PATIENCE_SECONDS = 30.0
_READ_SECONDS = 5.0
"""Reads that began on the old shard have ended by then."""

_LOOK_SECONDS = 0.1
_RENEW_SECONDS = 1.0

Tell = Callable[[str], None]
_Result = TypeVar("_Result")


class MovedAccount(NamedTuple):
    """An account that has moved.

    Attributes:
        tables: What was compared; empty if it had been switched before.
        seconds: For how long servers stored nothing.
    """

    tables: Sequence[CopiedTable] = ()
    seconds: float = 0


def move_account(
    control: ControlStore, shards: Shards, attribution: Callable[[int], Lease], account_id: str, to: int, tell: Tell
) -> MovedAccount:
    """Move an account to another shard. Cut short anywhere, the next call goes on.

    Args:
        control: The control store.
        shards: The shards.
        attribution: The lease of the server that attributes on the shard with a number.
        account_id: The account.
        to: The number of its new shard; that of its present one gives a move up that has not got to the switch.
        tell: Called with each thing that the operator should know.

    Raises:
        StartupError: It can't be moved there; says what to do.
        StoreUnavailable: A store failed; the next call goes on.
    """
    own = Lease(control, MOVING)
    if own.take().number is None:
        raise StartupError(
            f"Another command is moving an account. If it was killed, run this again in {LEASE_SECONDS} s."
        )
    try:
        with control.begin() as connection:
            move = _begun(connection, control, account_id, to)
        return _Moving(control, shards, attribution, own, tell).from_(move)
    finally:
        with suppress(StoreUnavailable):
            own.release()


def _begun(connection: Connection, control: ControlStore, account_id: str, to: int) -> AccountMove:
    """Begin a move, or take up the one that was cut short."""
    if connection.scalar(select(account.c.account_id).where(account.c.account_id == account_id)) is None:
        raise StartupError(f"There is no account {account_id}. 'postback accounts list' lists the accounts.")
    found = {row.number: row for row in list_shards(control)}
    if to not in found:
        raise StartupError(
            f"There is no shard {to}. 'postback shards list' lists the shards, and 'postback shards add' adds one."
        )
    known = moving(connection)
    if known:
        return _taken_up(connection, known, account_id, to)
    at = connection.scalar(select(placement.c.shard).where(placement.c.account_id == account_id)) or FIRST_SHARD
    if at == to:
        raise StartupError(f"Account {account_id} is on shard {to} already. Name another shard.")
    if found[to].draining:
        raise StartupError(f"Shard {to} is draining, so it takes no accounts. Name another shard.")
    return begun(connection, control, account_id, at, to)


def _taken_up(connection: Connection, known: AccountMove, account_id: str, to: int) -> AccountMove:
    ends_at = known.shard if known.phase == LEAVING else known.other
    if known.account_id == account_id and known.phase != LEAVING and to == known.shard:
        return known.advanced(connection, LEAVING, known.shard, known.other)
    if known.account_id != account_id or to != ends_at:
        raise StartupError(
            f"Account {known.account_id} is on its way to shard {ends_at}, and one account moves at a time. Run "
            f"'postback accounts move {known.account_id} {ends_at}' first."
        )
    if known.phase == SWITCHING:
        return known.advanced(connection, COPYING, known.shard, known.other)
    return known


@contextmanager
def _renewed(*leases: Lease) -> Iterator[None]:
    """Hold leases for as long as the block runs."""
    ended = Event()

    def renew() -> None:
        while not ended.wait(_RENEW_SECONDS):
            for lease in leases:
                with suppress(StoreUnavailable):  # whatever needs the lease looks whether it still is there
                    lease.renew()

    thread = Thread(target=renew, name="leases", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _Moving:
    """The steps of a move, for the one command that has the lease."""

    def __init__(
        self,
        control: ControlStore,
        shards: Shards,
        attribution: Callable[[int], Lease],
        lease: Lease,
        tell: Tell,
    ) -> None:
        self._control = control
        self._shards = shards
        self._attribution = attribution
        self._lease = lease
        self._tell = tell

    def from_(self, move: AccountMove) -> MovedAccount:
        """Go on from wherever a move is."""
        moved = MovedAccount()
        with _renewed(self._lease):
            if move.phase == COPYING:
                self._wait_for_nodes(move)
                self._wait_for_deletes(move)
                self._copy_while_in_use(move)
                move, moved = self._switch(move)
            self._leave(move)
        return moved

    def _copy_while_in_use(self, move: AccountMove) -> None:
        """Copy what is stored, again and again, until little comes meanwhile."""
        self._tell(f"Copying account {move.account_id} from shard {move.shard} to shard {move.other}.")
        for _ in range(_MOST_PASSES):
            began = time.monotonic()
            copied = sum(self._each(move, TableCopy.append_and_replace))
            seconds = time.monotonic() - began
            self._tell(f"Copied {copied:,} rows in {seconds:.1f} s, while servers store more.")
            if seconds < _SHORT_SECONDS:
                return

    def _each(self, move: AccountMove, work: Callable[[TableCopy], _Result]) -> list[_Result]:
        """Do the same with every table: facts first, since views add to the sums what is copied of them."""
        source, target = self._shards.get(move.shard), self._shards.get(move.other)
        source.wait_for_inserts()
        where, check = _rows_of(move.account_id), self._lease.check
        with _clients(source, target) as [here, there]:
            return [
                work(TableCopy(table, here, there, int(time.time()), where=where, check=check))
                for table in MOVED_TABLES
            ]

    def _switch(self, move: AccountMove) -> tuple[AccountMove, MovedAccount]:
        """Make both shards equal while nothing is stored, and have the account on the other one."""
        leases = [self._attribution(number) for number in (move.shard, move.other)]
        began = time.monotonic()
        move = self._advanced(move, SWITCHING)
        try:
            with _renewed(*leases):
                self._wait_for_nodes(move)
                progress = self._taken(leases, move)
                self._require_same_retention(move)
                tables = self._each(move, TableCopy.make_equal)
                if None not in progress:  # what the account has may be attributed less far than the new shard's
                    leases[1].note(min(filter(None, progress)))
                move = self._advanced(move, LEAVING, leases)
        except BaseException:
            with suppress(StartupError, StoreUnavailable):  # then servers do so when the lease has ended
                if move.phase == SWITCHING:
                    self._advanced(move, COPYING)
            raise
        finally:
            for lease in leases:
                with suppress(StoreUnavailable):
                    lease.release()
        self._tell(f"Account {move.account_id} is on shard {move.shard} now.")
        return move, MovedAccount(tables, time.monotonic() - began)

    def _advanced(self, move: AccountMove, phase: str, leases: Sequence[Lease] = ()) -> AccountMove:
        """The next step; LEAVING: with the account on the other shard."""
        shard, other = (move.other, move.shard) if phase == LEAVING else (move.shard, move.other)
        with self._control.begin() as connection:
            for lease in (self._lease, *leases):
                lease.require(connection)
            return move.advanced(connection, phase, shard, other)

    def _leave(self, move: AccountMove) -> None:
        """Delete what the account has left where no server looks for it any more."""
        self._wait_for_nodes(move)
        time.sleep(_READ_SECONDS)
        self._sum_up_hours(self._shards.get(move.shard), self._shards.get(move.other))
        where = _rows_of(move.account_id)
        with _clients(self._shards.get(move.other)) as [left]:
            for table in MOVED_TABLES:
                self._lease.check()
                left.command(f"DELETE FROM {table.name} WHERE {where}")  # noqa: S608
        with self._control.begin() as connection:
            self._lease.require(connection)
            move.ended(connection)

    def _wait_for_nodes(self, move: AccountMove) -> None:
        """Wait until every server goes by a step.

        Raises:
            StartupError: One doesn't.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while behind := nodes_behind(self._control, move.version):
            if time.monotonic() > deadline:
                places = "; ".join(
                    f"node {node.number} on {node.place}, last seen {node.silent_seconds} s ago" for node in behind
                )
                raise StartupError(
                    f"Account {move.account_id} waits for servers that don't take notice of its move: {places}. Each "
                    "must run this release, store what is in its log, for which every shard must answer, and end the "
                    "run of attribution that is at work. If one was killed, start it or adopt its log. Then run the "
                    "command again."
                )
            time.sleep(_LOOK_SECONDS)

    def _wait_for_deletes(self, move: AccountMove) -> None:
        """Wait until the engines have deleted what a command was at that was killed: rows that are equal now may go."""
        query = "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND NOT is_done"
        with _clients(self._shards.get(move.shard), self._shards.get(move.other)) as clients:
            while any(client.query(query).result_rows[0][0] for client in clients):
                time.sleep(_LOOK_SECONDS)

    def _taken(self, leases: Sequence[Lease], move: AccountMove) -> list[int | None]:
        """Have no server or command attribute on the two shards; returns how far each has come."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        progress = []
        for lease in leases:
            while (state := lease.take()).number is None:
                if time.monotonic() > deadline:
                    raise StartupError(
                        f"Something attributes on shard {move.shard} or {move.other} all the time, for example "
                        "'postback attribute'. Run the command again when that has ended."
                    )
                time.sleep(_LOOK_SECONDS)
            progress.append(state.progress)
        return progress

    def _require_same_retention(self, move: AccountMove) -> None:
        """Check that attribution may change the same events on both shards."""
        with _clients(self._shards.get(move.shard), self._shards.get(move.other)) as clients:
            query = "SELECT max(settled_before) FROM retention"
            source, target = (client.query(query).result_rows[0][0] for client in clients)
        if source != target:
            raise StartupError(
                f"Retention has come to different days on shards {move.shard} and {move.other}. It works on each in "
                "the minutes after midnight UTC, and when a server starts. Run the command again then."
            )

    def _sum_up_hours(self, target: EventStore, source: EventStore) -> None:
        """Sum up hours that the new shard had summed before it had the account."""
        [[newest]], [[known]] = (events.query("summed_source_hours") for events in (target, source))
        target.execute("sum_source_hours", begin=min(newest, known), end=newest + timedelta(hours=1))


def _rows_of(account_id: str) -> str:
    """As SQL, whether a row is an account's."""
    return f"account_id = unhex('{account_id.encode().hex()}')"


@contextmanager
def _clients(*stores: EventStore) -> Iterator[list[Client]]:
    """A client of each store.

    Raises:
        StartupError: One failed.
    """
    try:
        with ExitStack() as opened:
            yield [opened.enter_context(closing(events.engine.client())) for events in stores]
    except (ClickHouseError, OSError) as error:
        raise StartupError(
            f"A shard failed ({reason(error)}). Nothing is lost. Run the command again: it goes on where it was."
        ) from error
