"""The runs of one account: a span of exposures is counted, or a span of events attributed.

Everything is made ready in memory, and it is noted that the run begins to write. Exposures are added to the sums in one
insert that carries the run's number. Outcomes are written, then what they change is added to the sums. Last it is noted
how far the account came. Killed at any moment, a run is completed or done again: sums of conversions are then
reconciled with the outcomes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from postback.attribution.event_run import attribute_staged
from postback.attribution.exposure_spans import ExposureSpans
from postback.attribution.rules import RULES_VERSION, AccountRules, EventKind, PackageKey, signed_kind
from postback.attribution.staging import RUN_TABLES, replace_scratch, stage_rules
from postback.attribution.state import NEVER, AccountState, Backfill, StateStore
from postback.attribution.statements import DerivedStore
from postback.media_buys.store import MediaBuyStore
from postback.store.leases import Lease

__all__ = ["AccountRuns", "Limits"]

_EXPOSURES, _CONVERSIONS = "exposures", "conversions"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run takes on.

    Attributes:
        exposures: Most new exposures.
        events: Most new events, and most older ones at a time.
        restated: Most events that late exposures restate one by one; beyond that every event is gone through in order.
    """

    exposures: int = 1_000_000
    events: int = 500_000
    restated: int = 250_000


class AccountRuns:
    """Takes accounts as far as events and exposures are stored, a run at a time. Not thread-safe.

    Args:
        derived: Where the statements of runs are executed.
        states: Where it is noted how far each account has come.
        media_buys: Whose goals count.
        exposures: The spans of new exposures, and the indexes.
        lease: Without which nothing is written.
        limits: What one run takes on.

    Attributes:
        accounts: How far each account has come, as far as it is known here.
        settled_before: The outcomes of events from before this time stay, in µs since the epoch.
        stopping: Whether the run at work is the last.
    """

    def __init__(
        self,
        derived: DerivedStore,
        states: StateStore,
        media_buys: MediaBuyStore,
        exposures: ExposureSpans,
        lease: Lease,
        limits: Limits,
    ) -> None:
        self._derived = derived
        self._states = states
        self._media_buys = media_buys
        self._exposures = exposures
        self._lease = lease
        self._limits = limits
        self._staged: AccountRules | None = None
        self._rules: dict[str, tuple[int, AccountRules]] = {}
        self.accounts: dict[str, AccountState] = {}
        self.settled_before = NEVER
        self.stopping = False

    def prepare(self) -> None:
        """Make the tables of runs anew, which a session that was lost has taken along.

        Raises:
            StoreUnavailable: The event store refused.
        """
        self._staged = None
        replace_scratch(self._derived)

    def catch_up(self, account_id: str, change: int, newest_event: int, newest_exposure: int) -> None:
        """Count and attribute what an account has.

        Args:
            account_id: The account.
            change: The change number of its media buys.
            newest_event: When its newest event was received, in µs since the epoch.
            newest_exposure: And its newest exposure.

        Raises:
            StoreUnavailable: A store refused.
        """
        state = self.accounts.get(account_id) or AccountState()
        if state.run_id == 0 and (self._rules_of(account_id, change).frozen or self.settled_before > NEVER):
            # A rebuild begins with the outcomes that it kept, and its own are newer.
            self._derived.run("reconcile_conversions", account_id=account_id)
            last = self._derived.value("last_outcome_run", account_id=account_id)
            state = self._keep(account_id, AccountState(run_id=last + 1))
        if self._exposures.opened(account_id).through != state.exposures_through:
            self._catch_up_index(account_id, state, change)
        if (state.change, state.rules_version) != (change, RULES_VERSION):
            state = self._apply_goals(account_id, state, change, newest_event)
        while state.exposures_through < newest_exposure and not self.stopping:
            state = self._count_exposures(account_id, state, newest_exposure)
        while state.is_behind(newest_event) and not self.stopping:
            state = self._attribute(account_id, state, newest_event)

    def recover(self) -> None:
        """Load where each account is; a run that was cut short is completed if its sums were added, else forgotten.

        Raises:
            StoreUnavailable: A store refused.
        """
        self.settled_before = self._derived.value("settled_before")
        if self._states.rebuilding():
            self._drop()
        for account_id, (state, pending, sums) in self._states.load().items():
            self._keep(account_id, self._recovered(account_id, state, pending, sums) if pending else state)
        for (account_id,) in self._derived.rows("summed_without_source"):
            self._derived.run("reconcile_conversions", account_id=account_id)
        self._derived.empty(*RUN_TABLES)

    def _drop(self) -> None:
        """Drop what is derived. Cut short, it is done again from the beginning."""
        frozen = [
            (account_id, *key)
            for account_id, change in self._media_buys.changes().items()
            for key in self._rules_of(account_id, change).frozen
        ]
        self._derived.empty("event_hash_by_key", "event_by_link", "exposure_hour", "conversion_hour")
        if frozen or self.settled_before > NEVER:
            names = ("account_ids", "media_buy_ids", "package_ids")
            columns = {name: [key[place] for key in frozen] for place, name in enumerate(names)}
            self._derived.run("collapse_outcomes")
            self._derived.run("drop_outcomes", **columns, settled_before=self.settled_before)
            # Those of the runs to come may have smaller numbers than those that were dropped.
            self._derived.empty("attributed_event")
            self._derived.run("list_kept_outcomes")
        else:
            self._derived.empty("attribution", "attributed_event")
        self._states.clear()
        self.accounts.clear()

    def _recovered(self, account_id: str, state: AccountState, pending: AccountState, sums: str) -> AccountState:
        """Where to go on after a run that was cut short: exposures were added or not; outcomes are attributed again."""
        if sums == _EXPOSURES:
            added = self._derived.value("summed_exposures", account_id=account_id, run_id=pending.run_id)
            return pending if added else state
        self._derived.run("reconcile_conversions", account_id=account_id)
        return replace(state, run_id=pending.run_id)

    def follow(self, wait_for_inserts: Callable[[], None]) -> None:
        """Take the index of each account as far as the server that attributes has come, and drop what retention does.

        Args:
            wait_for_inserts: Called when it is known how far that is, and before what is there is read.

        Raises:
            StoreUnavailable: A store doesn't answer, or the data folder can't be written.
        """
        states = self._states.load()
        wait_for_inserts()
        for account_id, (state, _, _) in states.items():
            if self._exposures.opened(account_id).through < state.exposures_through and not self.stopping:
                self._catch_up_index(account_id, state, state.change)
        dropped_before = self._derived.value("dropped_before")
        while not self.stopping and self._exposures.forget(dropped_before):
            pass

    def _catch_up_index(self, account_id: str, state: AccountState, change: int) -> None:
        self._stage_rules(self._rules_of(account_id, change))
        self._exposures.catch_up(account_id, state.exposures_through)

    def _keep(self, account_id: str, state: AccountState) -> AccountState:
        self._states.save(account_id, state)
        self.accounts[account_id] = state
        return state

    def _rules_of(self, account_id: str, change: int) -> AccountRules:
        if account_id not in self._rules or self._rules[account_id][0] != change:
            self._rules[account_id] = change, AccountRules.of(self._media_buys.goals(account_id))
        return self._rules[account_id][1]

    def _apply_goals(self, account_id: str, state: AccountState, change: int, newest_event: int) -> AccountState:
        rules = self._rules_of(account_id, change)
        signatures, kinds = rules.signatures(), rules.kind_signatures()
        known = set(state.kinds) if state.rules_version == RULES_VERSION else set()
        # Until a goal names something, arriving events are passed over.
        through = state.events_through if state.kinds else newest_event
        return self._keep(
            account_id,
            replace(
                state,
                change=change,
                rules_version=RULES_VERSION,
                kinds=tuple(kinds),
                signatures=signatures,
                changed=tuple(sorted(_changed_packages(rules, state.signatures) | set(state.changed))),
                events_through=through,
                linked=self._link(account_id, rules, state.linked, through),
                backfill=_backfill(
                    state.backfill,
                    added=[kind for signature, kind in kinds.items() if signature not in known],
                    removed=[signed_kind(signature) for signature in state.kinds if signature not in kinds],
                ),
            ),
        )

    def _link(self, account_id: str, rules: AccountRules, linked: tuple[str, ...], through: int) -> tuple[str, ...]:
        """Make the stored events of sources findable in which refunds come to look for their purchases."""
        if not rules.refund_types:
            return ()
        added = sorted(rules.near.keys() - set(linked))
        if added:
            self._stage_rules(rules)
            span = {"after": 0, "through": through}
            self._derived.run("index_events_by_link", account_id=account_id, event_source_ids=added, **span)
        return tuple(sorted({*linked, *added}))

    def _count_exposures(self, account_id: str, state: AccountState, newest: int) -> AccountState:
        """Count the next span of exposures and make them findable."""
        run = self._begin(account_id, state)
        through = self._exposures.stage(account_id, state.exposures_through, newest)
        following = replace(state, run_id=run, exposures_through=through)
        self._states.save(account_id, state, following, _EXPOSURES)
        self._lease.check()
        self._derived.run("sum_exposures", account_id=account_id, run_id=run)
        self._exposures.index(account_id, through)
        return self._finish(account_id, following)

    def _attribute(self, account_id: str, state: AccountState, newest: int) -> AccountState:
        """Attribute the next span of events: older ones that goals have come to name, or those that are new."""
        named = {(kind.event_source_id, kind.event_type, "") for kind in self._rules_of(account_id, state.change).kinds}
        if named and named <= {(each.event_source_id, each.event_type, each.after) for each in state.backfill}:
            # Every event is about to be attributed, with every exposure that is known.
            state = replace(state, changed=(), restated_through=state.exposures_through)
        run = self._begin(account_id, state)
        following = (
            self._stage_older(account_id, state) if state.backfill else self._stage_new(account_id, state, newest)
        )
        if following is None:
            self._derived.empty(*RUN_TABLES)
            return self._keep(account_id, self._all_again(account_id, state))
        rules = self._rules_of(account_id, state.change)
        exposures = self._exposures.opened(account_id).view
        attribute_staged(self._derived, account_id, rules, exposures, self.settled_before, run)
        following = replace(following, run_id=run)
        self._states.save(account_id, state, following, _CONVERSIONS)
        self._lease.check()
        self._derived.run("commit_outcomes")
        self._lease.check()
        self._derived.run("sum_conversions", account_id=account_id)
        return self._finish(account_id, following)

    def _stage_older(self, account_id: str, state: AccountState) -> AccountState:
        older, *rest = state.backfill
        pair = {"event_source_id": older.event_source_id, "event_type": older.event_type, "after": older.after}
        found = self._derived.rows("older_events_end", account_id=account_id, **pair, most=self._limits.events)
        span = pair | {"end": found[0][0] if found else "", "through": state.events_through}
        self._derived.run("older_events", account_id=account_id, **span, unnamed=older.unnamed)
        left = (replace(older, after=span["end"]), *rest) if found else tuple(rest)
        return replace(state, backfill=left)

    def _stage_new(self, account_id: str, state: AccountState, newest: int) -> AccountState | None:
        """Stage what is new, and what it restates; None when that is too much to do one by one."""
        span = {"account_id": account_id, "after": state.events_through}
        through = self._derived.value("events_through", **span, newest=newest, most=self._limits.events)
        following = replace(state, changed=(), restated_through=state.exposures_through)
        restated = {
            "account_id": account_id,
            "through": state.exposures_through,
            "settled_before": self.settled_before,
            "most": self._limits.restated + 1,
        }
        if state.restated_through < state.exposures_through:
            self._derived.run("late_exposures", **restated, after=state.restated_through)
        if state.changed:
            self._derived.run(
                "changed_packages",
                **restated,
                media_buy_ids=[media_buy_id for media_buy_id, _ in state.changed],
                package_ids=[package_id for _, package_id in state.changed],
            )
        if self._derived.value("count_targets") > self._limits.restated:
            return None
        if through:
            self._derived.run("new_events", **span, through=through)
            rules = self._rules_of(account_id, state.change)
            if rules.refund_types:
                arrived = {**span, "through": through, "event_source_ids": list(state.linked)}
                self._derived.run("index_events_by_link", **arrived)
                self._derived.run("stage_refunds", **arrived, refund_types=list(rules.refund_types))
        return replace(following, events_through=through or max(newest, state.events_through))

    def _all_again(self, account_id: str, state: AccountState) -> AccountState:
        """So many events are restated that all of them are gone through in order."""
        kinds = self._rules_of(account_id, state.change).kinds
        return replace(state, changed=(), restated_through=state.exposures_through, backfill=_backfill((), added=kinds))

    def _begin(self, account_id: str, state: AccountState) -> int:
        """The number of the next run, whose tables are empty, with the account's rules beside them."""
        self._stage_rules(self._rules_of(account_id, state.change))
        return state.run_id + 1

    def _stage_rules(self, rules: AccountRules) -> None:
        if self._staged is not rules:
            self._staged = None
            stage_rules(self._derived, rules)
            self._staged = rules

    def _finish(self, account_id: str, following: AccountState) -> AccountState:
        """Note that a run is complete, and empty its tables, which are in memory."""
        kept = self._keep(account_id, following)
        self._derived.empty(*RUN_TABLES)
        return kept


def _changed_packages(rules: AccountRules, signatures: Mapping[str, str]) -> set[PackageKey]:
    """The packages whose goals are others than those with these signatures, or gone; not those with final numbers."""
    now = rules.signatures()
    changed = {tuple(name.split("\n")) for name in now.keys() | signatures if now.get(name) != signatures.get(name)}
    return {(media_buy_id, package_id) for media_buy_id, package_id in changed} - rules.frozen.keys()


def _backfill(
    waiting: Iterable[Backfill], *, added: Iterable[EventKind], removed: Iterable[EventKind] = ()
) -> tuple[Backfill, ...]:
    """What is to be gone through when goals have come to name event kinds, or name them no longer."""
    found = {(older.event_source_id, older.event_type): older for older in waiting}
    for kind, is_named in (*((kind, True) for kind in added), *((kind, False) for kind in removed)):
        pair = kind.event_source_id, kind.event_type
        unnamed = not is_named or (pair in found and found[pair].unnamed)
        found[pair] = Backfill(*pair, unnamed=unnamed)
    return tuple(found.values())
