"""The runs that derive attribution from what is stored: a little at a time while a server runs, or everything anew.

A run counts a span of new exposures, or attributes a span of events. It makes everything ready in memory and notes that
it begins to write. Exposures are added to the sums in one insert that carries the run's number. Outcomes are written,
then what they change is added to the sums. Last it notes how far it came. Killed at any moment, it is completed or done
again: sums of conversions are then reconciled with the outcomes first.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from postback.attribution.event_run import attribute_staged
from postback.attribution.explain import Candidate
from postback.attribution.exposure_index import ExposureView
from postback.attribution.exposure_spans import ExposureSpans
from postback.attribution.matching import nearest
from postback.attribution.rules import RULES_VERSION, AccountRules, EventKind
from postback.attribution.staging import RUN_TABLES, replace_scratch, stage_rules
from postback.attribution.state import NEVER, AccountState, Backfill, StateStore
from postback.attribution.statements import DerivedStore
from postback.errors import StoreUnavailable
from postback.media_buys.store import MediaBuyStore
from postback.metrics import Metrics
from postback.protocol.timestamps import from_micros, micros
from postback.store.control_store import ControlStore
from postback.store.event_store import EventStore
from postback.store.leases import Lease

__all__ = ["Attribution", "Limits"]

_EXPOSURES, _CONVERSIONS = "exposures", "conversions"
_SHOWN = 100
"""Most exposures that are returned for one event."""


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


class Attribution:
    """Derives attribution for every account. Synchronous and thread-safe: one run at a time.

    Args:
        events: Where events and exposures are, and what is derived from them goes.
        control: Where it is noted how far attribution has come.
        media_buys: Whose goals count.
        folder: Where the indexes of exposures are; derived anew where they are missing.
        limits: What one run takes on.
        metrics: Where its statements are timed and what it finds is counted; None where they are not read.
        lease: Held by the one of several servers that attributes; None makes one.
    """

    def __init__(
        self,
        events: EventStore,
        control: ControlStore,
        media_buys: MediaBuyStore,
        folder: Path,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
        lease: Lease | None = None,
    ) -> None:
        metrics = metrics or Metrics()
        self._derived = DerivedStore(events.deriver, metrics.attribution_stages, events.deriving)
        self._stored_through = events.stored_through
        self._media_buys = media_buys
        self._lease = lease or Lease(control, "attribution")
        self._lease_number: int | None = None
        self._states = StateStore(control, self._lease)
        self._limits = limits or Limits()
        self._exposures = ExposureSpans(self._derived, folder, self._limits.exposures, metrics)
        self._work = threading.RLock()
        self._accounts: dict[str, AccountState] = {}
        self._staged: AccountRules | None = None
        self._recovered = False
        self._following = False
        self._newest: dict[str, tuple[int, int]] = {}
        self._rules: dict[str, tuple[int, AccountRules]] = {}
        self._complete: datetime | None = None
        self._settled_before = NEVER
        self._stopping = False

    def work(self) -> None:
        """Catch up, or follow the server that does.

        Raises:
            StoreUnavailable: A store doesn't answer; the next call goes on from there.
        """
        with self._work:
            if self.lead():
                self._catch_up()
            else:
                self._follow()

    def lead(self) -> bool:
        """Whether this server is the one of several that attributes; it becomes so where none is.

        Raises:
            StoreUnavailable: The control store doesn't answer.
        """
        with self._work:
            number, progress = self._lease.take()
            if number != self._lease_number:  # others have gone on from what this one knows
                self._recovered = False
                self._accounts.clear()
                self._newest.clear()
            self._lease_number = number
            if progress is not None:
                self._complete = from_micros(progress)
            return number is not None

    def catch_up(self) -> None:
        """Derive from everything that was stored before the call.

        Raises:
            StoreUnavailable: A store doesn't answer, or another server attributes; the next call goes on from there.
        """
        with self._work:
            self._require_lead()
            self._catch_up()

    def rebuild(self) -> None:
        """Derive everything anew, except the outcomes of settled events and of packages whose numbers are final.

        Raises:
            StoreUnavailable: A store doesn't answer. What was dropped is derived again by the next ``catch_up``.
        """
        with self._work:
            self._require_lead()
            self._states.note_rebuild()
            self._recovered = False
            self._catch_up()

    def finalize(self, account_id: str, media_buy_id: str, package_id: str) -> None:
        """Make the numbers of a package final: nothing that is received later changes them.

        The caller has seen to it that the package ended, and its windows with it.

        Raises:
            StoreUnavailable: A store doesn't answer.
        """
        with self._work:
            self.catch_up()
            self._media_buys.finalize(account_id, media_buy_id, package_id, datetime.now(UTC))

    def settle(self, settled_before: int, dropped_before: int) -> bool:
        """Let the outcomes of events from before a time stay as they are, whatever is received or changed later.

        Args:
            settled_before: The time, in µs since the epoch.
            dropped_before: From before this time match keys and payloads may be dropped afterwards. Exposures that
                later events may be attributed to are younger.

        Returns:
            Whether they are settled; not when attribution is being stopped.

        Raises:
            StoreUnavailable: A store doesn't answer.
        """
        with self._work:
            self.catch_up()
            if settled_before > self._settled_before and not self._stopping:
                self._derived.run("settle", settled_before=settled_before, dropped_before=dropped_before)
                self._settled_before = settled_before
            return settled_before <= self._settled_before

    def forget_exposures(self, before: int) -> bool:
        """Drop match keys of exposures that happened before a time, a file of them; whether there may be more.

        Raises:
            StoreUnavailable: The data folder can't be written.
        """
        with self._work:
            return self._exposures.forget(before)

    @property
    def complete_through(self) -> datetime | None:
        """The time through which whatever was received is in the results; None while the first pass is at work."""
        return self._complete

    def nearest_exposures(self, account_id: str, match_keys: Iterable[bytes], moment: datetime) -> list[Candidate]:
        """The exposures that share an identifier with an event; none before the first pass knows the account.

        Args:
            account_id: The account.
            match_keys: The event's.
            moment: When it happened.
        """
        exposures = self.exposures(account_id)
        return nearest(exposures, match_keys, moment, _SHOWN) if exposures else []

    def exposures(self, account_id: str) -> ExposureView | None:
        """The exposures of an account, by match key; None before the first pass knows the account."""
        index = self._exposures.indexes.get(account_id)
        return index.view if index else None

    def stop(self) -> None:
        """Let a run that is at work be the last of its call."""
        self._stopping = True

    def _recover(self) -> None:
        """Load the states; a run that was cut short is completed if its sums were added, and forgotten if not."""
        if self._recovered:
            return
        replace_scratch(self._derived)  # a server forgets the tables of a run, and first ends what it was at
        self._following = False
        self._settled_before = self._derived.value("settled_before")
        if self._states.rebuilding():
            self._drop()
        for account_id, (state, pending, sums) in self._states.load().items():
            self._keep(account_id, self._recovered_state(account_id, state, pending, sums) if pending else state)
        self._derived.empty(*RUN_TABLES)
        self._staged = None
        self._recovered = True

    def _recovered_state(self, account_id: str, state: AccountState, pending: AccountState, sums: str) -> AccountState:
        """Where to go on after a run that was cut short: exposures were added or not; outcomes are attributed again."""
        if sums == _EXPOSURES:
            added = self._derived.value("summed_exposures", account_id=account_id, run_id=pending.run_id)
            return pending if added else state
        self._derived.run("reconcile_conversions", account_id=account_id)
        return replace(state, run_id=pending.run_id)

    def _drop(self) -> None:
        """Drop what is derived. Cut short, it is done again from the beginning."""
        frozen = [
            (account_id, *key)
            for account_id, change in self._media_buys.changes().items()
            for key in self._goals(account_id, change).frozen
        ]
        self._derived.empty("event_hash_by_key", "event_by_link", "exposure_hour", "conversion_hour")
        if frozen or self._settled_before > NEVER:
            names = ("account_ids", "media_buy_ids", "package_ids")
            columns = {name: [key[place] for key in frozen] for place, name in enumerate(names)}
            self._derived.run("collapse_outcomes")
            self._derived.run("drop_outcomes", **columns, settled_before=self._settled_before)
        else:
            self._derived.empty("attribution")
        self._states.clear()
        self._accounts.clear()
        self._newest.clear()

    def _catch_up(self) -> None:
        stored_through = self._stored_through()
        self._recover()
        # Whatever breaks off a run, the next call looks first whether its sums were added.
        self._recovered = False
        changes = self._media_buys.changes()
        self._look_for_arrivals(micros(stored_through))
        for account_id in sorted(self._newest.keys() | changes.keys() | self._accounts.keys()):
            self._catch_up_account(account_id, changes.get(account_id, 0))
        self._recovered = True
        if not self._stopping:
            self._lease.note(micros(stored_through))
            self._complete = stored_through

    def _require_lead(self) -> None:
        if not self.lead():
            raise StoreUnavailable("Another server attributes at present.", retry_after=1)

    def _follow(self) -> None:
        """Keep the indexes of exposures as far as the server that attributes has come: to explain, and to take over.

        Raises:
            StoreUnavailable: A store doesn't answer.
        """
        if not self._following:
            replace_scratch(self._derived)
            self._staged = None
        self._following = False  # until this is done
        for account_id, (state, _, _) in self._states.load().items():
            if self._exposures.opened(account_id).through < state.exposures_through and not self._stopping:
                self._stage_rules(self._goals(account_id, state.change))
                self._exposures.catch_up(account_id, state.exposures_through)
        self._following = True

    def _look_for_arrivals(self, through: int) -> None:
        events = max((event for event, _ in self._newest.values()), default=0)
        exposures = max((exposure for _, exposure in self._newest.values()), default=0)
        arrivals = {"events": events, "exposures": exposures, "through": through}
        for account_id, event, exposure in self._derived.rows("arrivals", **arrivals):
            last_event, last_exposure = self._newest.get(account_id, (0, 0))
            self._newest[account_id] = max(event, last_event), max(exposure, last_exposure)

    def _catch_up_account(self, account_id: str, change: int) -> None:
        newest_event, newest_exposure = self._newest.get(account_id, (0, 0))
        state = self._accounts.get(account_id) or AccountState()
        if state.run_id == 0 and (self._goals(account_id, change).frozen or self._settled_before > NEVER):
            # A rebuild begins with the outcomes that it kept, and its own are newer.
            self._derived.run("reconcile_conversions", account_id=account_id)
            last = self._derived.value("last_outcome_run", account_id=account_id)
            state = self._keep(account_id, AccountState(run_id=last + 1))
        if self._exposures.opened(account_id).through != state.exposures_through:
            self._stage_rules(self._goals(account_id, change))
            self._exposures.catch_up(account_id, state.exposures_through)
        if (state.change, state.rules_version) != (change, RULES_VERSION):
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

    def _goals(self, account_id: str, change: int) -> AccountRules:
        if account_id not in self._rules or self._rules[account_id][0] != change:
            self._rules[account_id] = change, AccountRules.of(self._media_buys.goals(account_id))
        return self._rules[account_id][1]

    def _apply_goals(self, account_id: str, state: AccountState, change: int, newest_event: int) -> AccountState:
        rules = self._goals(account_id, change)
        signatures, kinds = rules.signatures(), rules.kind_signatures()
        known = set(state.kinds) if state.rules_version == RULES_VERSION else set()
        added = [kind for signature, kind in kinds.items() if signature not in known]
        changed = {key for key in rules.packages if signatures["\n".join(key)] != state.signatures.get("\n".join(key))}
        waiting = {(older.event_source_id, older.event_type): older for older in state.backfill}
        waiting.update(_backfill(added))
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
                changed=tuple(sorted(changed | set(state.changed))),
                events_through=through,
                linked=self._link(account_id, rules, state.linked, through),
                backfill=tuple(waiting.values()),
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
        if state.backfill == tuple(_backfill(self._goals(account_id, state.change).kinds).values()):
            # Every event is about to be attributed, with every exposure that is known.
            state = replace(state, changed=(), restated_through=state.exposures_through)
        run = self._begin(account_id, state)
        following = (
            self._stage_older(account_id, state) if state.backfill else self._stage_new(account_id, state, newest)
        )
        if following is None:
            self._derived.empty(*RUN_TABLES)
            return self._keep(account_id, self._all_again(account_id, state))
        rules = self._goals(account_id, state.change)
        exposures = self._exposures.opened(account_id).view
        attribute_staged(self._derived, account_id, rules, exposures, self._settled_before, run)
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
        end = found[0][0] if found else ""
        self._derived.run("older_events", account_id=account_id, **pair, end=end, through=state.events_through)
        left = (replace(older, after=end), *rest) if end else tuple(rest)
        return replace(state, backfill=left)

    def _stage_new(self, account_id: str, state: AccountState, newest: int) -> AccountState | None:
        """Stage what is new, and what it restates; None when that is too much to do one by one."""
        span = {"account_id": account_id, "after": state.events_through}
        through = self._derived.value("events_through", **span, newest=newest, most=self._limits.events)
        following = replace(state, changed=(), restated_through=state.exposures_through)
        restated = {
            "account_id": account_id,
            "through": state.exposures_through,
            "settled_before": self._settled_before,
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
            rules = self._goals(account_id, state.change)
            if rules.refund_types:
                arrived = {**span, "through": through, "event_source_ids": list(state.linked)}
                self._derived.run("index_events_by_link", **arrived)
                self._derived.run("stage_refunds", **arrived, refund_types=list(rules.refund_types))
        return replace(following, events_through=through or max(newest, state.events_through))

    def _all_again(self, account_id: str, state: AccountState) -> AccountState:
        """So many events are restated that all of them are gone through in order."""
        kinds = self._goals(account_id, state.change).kinds
        return replace(
            state, changed=(), restated_through=state.exposures_through, backfill=tuple(_backfill(kinds).values())
        )

    def _begin(self, account_id: str, state: AccountState) -> int:
        """The number of the next run, whose tables are empty, with the account's rules beside them."""
        self._stage_rules(self._goals(account_id, state.change))
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


def _backfill(kinds: list[EventKind] | tuple[EventKind, ...]) -> dict[tuple[str, str], Backfill]:
    return {(kind.event_source_id, kind.event_type): Backfill(kind.event_source_id, kind.event_type) for kind in kinds}
