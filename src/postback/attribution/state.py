"""How far attribution has come, account by account."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from postback.store.control import ControlStore
from postback.store.tables import attribution_state

__all__ = ["AccountState", "Backfill", "StateStore"]


_REBUILD = ""
"""Stands in an account's place for the note of a rebuild."""


class Backfill(msgspec.Struct, frozen=True):
    """Stored events of one source and type that have yet to be attributed: those whose event_id is after ``after``."""

    event_source_id: str
    event_type: str
    after: str = ""


class AccountState(msgspec.Struct, frozen=True, kw_only=True):
    """How far the attribution of one account has come. Times are received_at, in µs since the epoch.

    Attributes:
        run_id: The last run that was completed.
        change: The change of the account's media buys whose goals are applied.
        kinds: The kinds of event that those goals name, by their names.
        signatures: Package → what its goals say.
        changed: Packages of which it has yet to be seen which events they change.
        exposures_through: Exposures are counted and findable up to here.
        restated_through: Events are attributed with all exposures up to here.
        events_through: Events are attributed up to here, those in ``backfill`` excepted.
        backfill: What is left of older events.
    """

    run_id: int = 0
    change: int = 0
    kinds: tuple[str, ...] = ()
    signatures: dict[str, str] = {}
    changed: tuple[tuple[str, str], ...] = ()
    exposures_through: int = 0
    restated_through: int = 0
    events_through: int = 0
    backfill: tuple[Backfill, ...] = ()

    @property
    def caught_up(self) -> bool:
        """Whether nothing is left of what was known to this state."""
        return not self.backfill and not self.changed and self.restated_through == self.exposures_through


class _Document(msgspec.Struct):
    state: AccountState
    pending: AccountState | None = None
    sums: str = ""


class StateStore:
    """The states of every account, in the control store. Synchronous.

    A run whose sums are being added is noted first as pending, with the table of those sums.
    """

    def __init__(self, control: ControlStore) -> None:
        self._control = control

    def load(self) -> dict[str, tuple[AccountState, AccountState | None, str]]:
        """By account: its state, the state after a run that was cut short, and the table of that run's sums."""
        with self._control.connect() as connection:
            rows = connection.execute(select(attribution_state)).all()
        documents = {row.account_id: msgspec.convert(row.document, _Document) for row in rows if row.account_id}
        return {account_id: (d.state, d.pending, d.sums) for account_id, d in documents.items()}

    def save(self, account_id: str, state: AccountState, pending: AccountState | None = None, sums: str = "") -> None:
        """Keep an account's state, durably.

        Raises:
            StoreUnavailable: The control store doesn't take it.
        """
        document = msgspec.to_builtins(_Document(state, pending, sums))
        with self._control.begin() as connection:
            connection.execute(attribution_state.delete().where(attribution_state.c.account_id == account_id))
            connection.execute(attribution_state.insert().values(account_id=account_id, document=document))

    def note_rebuild(self) -> None:
        """Note, durably, that everything that is derived has to be dropped."""
        self.save(_REBUILD, AccountState())

    def rebuilding(self) -> bool:
        """Whether that was noted, and not undone by ``clear``."""
        noted = select(attribution_state).where(attribution_state.c.account_id == _REBUILD)
        with self._control.connect() as connection:
            return connection.execute(noted).first() is not None

    def clear(self) -> None:
        """Forget every state, and the note of a rebuild."""
        with self._control.begin() as connection:
            connection.execute(attribution_state.delete())
