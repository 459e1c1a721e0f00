"""The progress of attribution, by account."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from sqlalchemy import bindparam, delete, select

from postback.store.control_store import ControlStore
from postback.store.leases import Lease
from postback.store.placements import FIRST_SHARD
from postback.store.tables import attribution_state

__all__ = ["NEVER", "AccountState", "Backfill", "StateStore"]

NEVER = -(2**63)
"""Events from before this time, in µs since the epoch, are settled while retention has settled none."""

_REBUILDS = ("", " ")
"""How what takes the place of an account_id begins, to record that a rebuild is under way; behind it is the shard."""


class Backfill(msgspec.Struct, frozen=True):
    """Stored events of one source and type that have yet to be attributed.

    Attributes:
        event_source_id: The source.
        event_type: The type.
        after: Those whose event_id is after this one.
        unnamed: Whether also those that no goal names: one did, and they may have counted for it.
    """

    event_source_id: str
    event_type: str
    after: str = ""
    unnamed: bool = False


class AccountState(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of one account's attribution. Times are received_at, in µs since the epoch.

    Attributes:
        run_id: The last completed run.
        change: The change number of the media buys whose goals are applied.
        rules_version: The version of the rules that are applied (``rules.RULES_VERSION``).
        kinds: The signatures of the event kinds in those goals.
        signatures: Package → the signature of its rule set.
        changed: Packages whose effect on events has yet to be determined.
        exposures_through: Exposures are counted and indexed up to this time.
        restated_through: Events are attributed with all exposures up to this time.
        events_through: Events are attributed up to this time, except those in ``backfill``.
        linked: The sources whose events refunds find by their event_id and order_id.
        backfill: The older events that are still to be attributed.
    """

    run_id: int = 0
    change: int = 0
    rules_version: int = 0
    kinds: tuple[str, ...] = ()
    signatures: dict[str, str] = {}
    changed: tuple[tuple[str, str], ...] = ()
    exposures_through: int = 0
    restated_through: int = 0
    events_through: int = 0
    linked: tuple[str, ...] = ()
    backfill: tuple[Backfill, ...] = ()

    def is_behind(self, newest_event: int) -> bool:
        """Whether there is something to attribute, with the newest event received at this time.

        While no goal names an event, events and exposures are passed over; what counted for earlier goals is not.
        """
        if self.backfill or self.changed:
            return True
        waiting = self.events_through < newest_event or self.restated_through < self.exposures_through
        return bool(self.kinds) and waiting


class _Document(msgspec.Struct):
    state: AccountState
    pending: AccountState | None = None
    sums: str = ""


class StateStore:
    """The states of every account, in the control store. Synchronous.

    Before a run's sums are added, the run is recorded as pending, with the table of its sums. Nothing is written but by
    the server that holds the lease.

    Args:
        control: The control store.
        lease: Without which nothing is written.
        mine: Which accounts it is about.
        shard: The shard that has them.
    """

    def __init__(
        self,
        control: ControlStore,
        lease: Lease,
        mine: Callable[[str], bool] = lambda _: True,
        shard: int = FIRST_SHARD,
    ) -> None:
        self._control = control
        self._lease = lease
        self._mine = mine
        self._rebuild = "" if shard == FIRST_SHARD else f" {shard}"

    def load(self) -> dict[str, tuple[AccountState, AccountState | None, str]]:
        """By account: its state, the state after an interrupted run, and the table of that run's sums."""
        with self._control.connect() as connection:
            rows = connection.execute(select(attribution_state)).all()
        documents = {
            row.account_id: msgspec.convert(row.document, _Document) for row in rows if self._is_mine(row.account_id)
        }
        return {account_id: (d.state, d.pending, d.sums) for account_id, d in documents.items()}

    def save(self, account_id: str, state: AccountState, pending: AccountState | None = None, sums: str = "") -> None:
        """Store an account's state durably.

        Raises:
            StoreUnavailable: The control store rejects the write.
        """
        document = msgspec.to_builtins(_Document(state, pending, sums))
        with self._control.begin() as connection:
            self._lease.require(connection)
            connection.execute(attribution_state.delete().where(attribution_state.c.account_id == account_id))
            connection.execute(attribution_state.insert().values(account_id=account_id, document=document))

    def note_rebuild(self) -> None:
        """Record durably that all derived data has to be dropped."""
        self.save(self._rebuild, AccountState())

    def rebuilding(self) -> bool:
        """Whether ``note_rebuild`` was called and ``clear`` was not called since."""
        noted = select(attribution_state).where(attribution_state.c.account_id == self._rebuild)
        with self._control.connect() as connection:
            return connection.execute(noted).first() is not None

    def clear(self) -> None:
        """Delete every state, and the record of a rebuild."""
        with self._control.begin() as connection:
            self._lease.require(connection)
            ids = connection.scalars(select(attribution_state.c.account_id)).all()
            gone = [{"gone": each} for each in ids if each == self._rebuild or self._is_mine(each)]
            if gone:
                connection.execute(
                    delete(attribution_state).where(attribution_state.c.account_id == bindparam("gone")), gone
                )

    def _is_mine(self, account_id: str) -> bool:
        return account_id[:1] not in _REBUILDS and self._mine(account_id)
