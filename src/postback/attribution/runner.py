"""The runs that derive attribution from what is stored: a little at a time while a server runs, or everything anew.

A run counts a span of new exposures, or attributes a span of events. It first makes everything ready beside the
results, then adds its sums in one insert that carries its number, then keeps its outcomes and notes how far it came.
Killed at any moment, it is done again or completed, never done twice.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec.structs import replace

from postback.attribution.rules import EventKind, Rules
from postback.attribution.staging import SCRATCH_TABLES, stage_rules
from postback.attribution.state import AccountState, Backfill, StateStore
from postback.media_buys.buys import MediaBuyStore
from postback.store.control import ControlStore
from postback.store.events import EventStore

__all__ = ["Attribution", "Limits"]

_EXPOSURES, _CONVERSIONS = "exposures", "conversions"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run takes on.

    Attributes:
        exposures: Most new exposures.
        events: Most new events, and most older ones at a time.
        restated: Most events that late exposures restate one by one; beyond that every event is gone through in order.
        shared: Most events with the same match key that are compared with each of its exposures.
    """

    exposures: int = 1_000_000
    events: int = 500_000
    restated: int = 250_000
    shared: int = 100


class Attribution:
    """Derives attribution for every account. Synchronous and thread-safe: one run at a time.

    Args:
        events: Where events and exposures are, and what is derived from them goes.
        control: Where it is noted how far attribution has come.
        media_buys: Whose goals count.
        limits: What one run takes on.
    """

    def __init__(
        self, events: EventStore, control: ControlStore, media_buys: MediaBuyStore, limits: Limits | None = None
    ) -> None:
        self._derived = events.derived
        self._media_buys = media_buys
        self._states = StateStore(control)
        self._limits = limits or Limits()
        self._work = threading.RLock()
        self._accounts: dict[str, AccountState] = {}
        self._recovered = False
        self._newest: dict[str, tuple[int, int]] = {}
        self._rules: dict[str, tuple[int, Rules]] = {}
        self._complete: datetime | None = None
        self._stopping = False

    def catch_up(self) -> None:
        """Derive from everything that was stored before the call.

        Raises:
            StoreUnavailable: A store doesn't answer; the next call goes on from there.
        """
        with self._work:
            begun = datetime.now(UTC)
            self._recover()
            # Whatever breaks off a run, the next call looks first whether its sums were added.
            self._recovered = False
            changes = self._media_buys.changes()
            self._look_for_arrivals()
            for account_id in sorted(self._newest.keys() | changes.keys() | self._accounts.keys()):
                self._catch_up_account(account_id, changes.get(account_id, 0))
            self._recovered = True
            if not self._stopping:
                self._complete = begun

    def rebuild(self) -> None:
        """Derive everything anew, except the outcomes of packages whose numbers are final.

        Raises:
            StoreUnavailable: A store doesn't answer. What was dropped is derived again by the next ``catch_up``.
        """
        with self._work:
            self._states.note_rebuild()
            self._recovered = False
            self.catch_up()

    def finalize(self, account_id: str, media_buy_id: str, package_id: str) -> None:
        """Make the numbers of a package final: nothing that is received later changes them.

        The caller has seen to it that the package ended, and its windows with it.

        Raises:
            StoreUnavailable: A store doesn't answer.
        """
        with self._work:
            self.catch_up()
            self._media_buys.finalize(account_id, media_buy_id, package_id, datetime.now(UTC))

    @property
    def complete_through(self) -> datetime | None:
        """The time through which whatever was received is in the results; None while the first pass is at work."""
        return self._complete

    def stop(self) -> None:
        """Let a run that is at work be the last of its call."""
        self._stopping = True

    def _recover(self) -> None:
        """Load the states; a run that was cut short is completed if its sums were added, and forgotten if not."""
        if self._recovered:
            return
        if self._states.rebuilding():
            self._drop()
        for account_id, (state, pending, sums) in self._states.load().items():
            if pending and self._derived.value(f"summed_{sums}", account_id=account_id, run_id=pending.run_id):
                self._derived.run("keep", account_id=account_id, run_id=pending.run_id)
                state = pending
            self._keep(account_id, state)
        self._derived.empty(*SCRATCH_TABLES)
        self._recovered = True

    def _drop(self) -> None:
        """Drop what is derived. Cut short, it is done again from the beginning."""
        frozen = [
            (account_id, *key)
            for account_id, change in self._media_buys.changes().items()
            for key in self._goals(account_id, change).frozen
        ]
        self._derived.empty("exposure_by_key", "event_by_key", "exposure_hour", "conversion_hour")
        if frozen:
            account_ids, media_buy_ids, package_ids = map(list, zip(*frozen, strict=True))
            self._derived.run("collapse_outcomes")
            self._derived.run(
                "drop_outcomes", account_ids=account_ids, media_buy_ids=media_buy_ids, package_ids=package_ids
            )
        else:
            self._derived.empty("attribution")
        self._states.clear()
        self._accounts.clear()
        self._newest.clear()

    def _look_for_arrivals(self) -> None:
        events = max((event for event, _ in self._newest.values()), default=0)
        exposures = max((exposure for _, exposure in self._newest.values()), default=0)
        for account_id, event, exposure in self._derived.rows("arrivals", events=events, exposures=exposures):
            last_event, last_exposure = self._newest.get(account_id, (0, 0))
            self._newest[account_id] = max(event, last_event), max(exposure, last_exposure)

    def _catch_up_account(self, account_id: str, change: int) -> None:
        newest_event, newest_exposure = self._newest.get(account_id, (0, 0))
        state = self._accounts.get(account_id) or AccountState()
        if state.run_id == 0 and self._goals(account_id, change).frozen:
            state = self._sum_frozen(account_id, replace(state, change=change))
        if state.change != change:
            state = self._apply_goals(account_id, state, change, newest_event)
        while state.exposures_through < newest_exposure and not self._stopping:
            state = self._count_exposures(account_id, state, newest_exposure)
        if not state.kinds:
            return
        while not (self._stopping or (state.caught_up and state.events_through >= newest_event)):
            state = self._attribute(account_id, state, newest_event)

    def _keep(self, account_id: str, state: AccountState) -> AccountState:
        self._states.save(account_id, state)
        self._accounts[account_id] = state
        return state

    def _goals(self, account_id: str, change: int) -> Rules:
        if account_id not in self._rules or self._rules[account_id][0] != change:
            self._rules[account_id] = change, Rules.of(self._media_buys.goals(account_id))
        return self._rules[account_id][1]

    def _apply_goals(self, account_id: str, state: AccountState, change: int, newest_event: int) -> AccountState:
        rules = self._goals(account_id, change)
        signatures = rules.signatures()
        added = [kind for kind in rules.kinds if kind.name not in state.kinds]
        changed = {key for key in rules.packages if signatures["\n".join(key)] != state.signatures.get("\n".join(key))}
        waiting = {(older.event_source_id, older.event_type): older for older in state.backfill}
        waiting.update(_backfill(added))
        return self._keep(
            account_id,
            replace(
                state,
                change=change,
                kinds=tuple(kind.name for kind in rules.kinds),
                signatures=signatures,
                changed=tuple(sorted(changed | set(state.changed))),
                # Until a goal names something, arriving events are passed over.
                events_through=state.events_through if state.kinds else newest_event,
                backfill=tuple(waiting.values()),
            ),
        )

    def _sum_frozen(self, account_id: str, state: AccountState) -> AccountState:
        """Begin the sums of a rebuild with the outcomes that it kept."""
        run = self._begin(account_id, state)
        self._states.save(account_id, AccountState(), AccountState(run_id=run), _CONVERSIONS)
        self._derived.run("sum_frozen", account_id=account_id, run_id=run)
        return self._keep(account_id, AccountState(run_id=run))

    def _count_exposures(self, account_id: str, state: AccountState, newest: int) -> AccountState:
        """Count the next span of exposures and make them findable."""
        run = self._begin(account_id, state)
        span = {"account_id": account_id, "after": state.exposures_through}
        # The newest of all may have been a copy, which a merge has dropped.
        through = self._derived.value("exposures_through", **span, most=self._limits.exposures) or newest
        self._derived.run("new_exposures", **span, through=through)
        self._derived.run("known_exposures", **span)
        self._derived.run("key_exposures", account_id=account_id)
        following = replace(state, run_id=run, exposures_through=through)
        return self._finish(account_id, state, following, _EXPOSURES)

    def _attribute(self, account_id: str, state: AccountState, newest: int) -> AccountState:
        """Attribute the next span of events: older ones that goals have come to name, or those that are new."""
        if state.backfill == tuple(_backfill(self._goals(account_id, state.change).kinds).values()):
            # Every event is about to be attributed, with every exposure that is known.
            state = replace(state, changed=(), restated_through=state.exposures_through)
        run = self._begin(account_id, state)
        following = (
            self._stage_older(account_id, state) if state.backfill else self._stage_new(account_id, state, newest)
        )
        if following is None:
            return self._keep(account_id, self._all_again(account_id, state))
        self._derived.run("prior", account_id=account_id)
        self._derived.run("stage_new")
        self._derived.run("stage_siblings")
        if self._derived.value("count_targets"):
            self._derived.run("stage_targets", account_id=account_id)
        self._derived.run("key_events", account_id=account_id)
        self._derived.run("spread_keys", most=self._limits.shared)
        self._derived.run("match", account_id=account_id)
        self._derived.run("decide", account_id=account_id, run_id=run)
        return self._finish(account_id, state, replace(following, run_id=run), _CONVERSIONS)

    def _stage_older(self, account_id: str, state: AccountState) -> AccountState:
        older, *rest = state.backfill
        pair = {"event_source_id": older.event_source_id, "event_type": older.event_type, "after": older.after}
        found = self._derived.rows("older_events_end", account_id=account_id, **pair, most=self._limits.events)
        end = found[0][0] if found else ""
        self._derived.run("older_events", account_id=account_id, **pair, end=end, through=state.events_through)
        left = (replace(older, after=end), *rest) if end else tuple(rest)
        return replace(state, backfill=left)

    def _stage_new(self, account_id: str, state: AccountState, newest: int) -> AccountState | None:
        """Stage what is new, and what it restates; None when that is too much to do one by one."""
        span = {"account_id": account_id, "after": state.events_through}
        through = self._derived.value("events_through", **span, most=self._limits.events)
        following = replace(state, changed=(), restated_through=state.exposures_through)
        if state.restated_through < state.exposures_through:
            self._derived.run(
                "late_exposures",
                account_id=account_id,
                after=state.restated_through,
                through=state.exposures_through,
                most=self._limits.restated + 1,
            )
        if state.changed:
            self._derived.run(
                "changed_packages",
                account_id=account_id,
                media_buy_ids=[media_buy_id for media_buy_id, _ in state.changed],
                package_ids=[package_id for _, package_id in state.changed],
                most=self._limits.restated + 1,
            )
        if self._derived.value("count_targets") > self._limits.restated:
            return None
        if through:
            self._derived.run("new_events", **span, through=through)
        return replace(following, events_through=through or max(newest, state.events_through))

    def _all_again(self, account_id: str, state: AccountState) -> AccountState:
        """So many events are restated that all of them are gone through in order."""
        kinds = self._goals(account_id, state.change).kinds
        return replace(
            state, changed=(), restated_through=state.exposures_through, backfill=tuple(_backfill(kinds).values())
        )

    def _begin(self, account_id: str, state: AccountState) -> int:
        self._derived.empty(*SCRATCH_TABLES)
        stage_rules(self._derived, self._goals(account_id, state.change))
        return state.run_id + 1

    def _finish(self, account_id: str, state: AccountState, following: AccountState, sums: str) -> AccountState:
        """Add the sums of a run that is ready, and keep its outcomes."""
        run = {"account_id": account_id, "run_id": following.run_id}
        self._states.save(account_id, state, following, sums)
        self._derived.run(f"sum_{sums}", **run)
        self._derived.run("keep", **run)
        kept = self._keep(account_id, following)
        self._derived.empty(*SCRATCH_TABLES)  # they are in memory
        return kept


def _backfill(kinds: list[EventKind] | tuple[EventKind, ...]) -> dict[tuple[str, str], Backfill]:
    return {(kind.event_source_id, kind.event_type): Backfill(kind.event_source_id, kind.event_type) for kind in kinds}
