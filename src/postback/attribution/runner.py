"""The runs that derive attribution from what is stored: a little at a time while a server runs, or everything anew."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from postback.attribution.account_runs import AccountRuns, Limits
from postback.attribution.explain import Candidate
from postback.attribution.exposure_index import ExposureView
from postback.attribution.exposure_spans import ExposureSpans
from postback.attribution.matching import nearest
from postback.attribution.rules import AccountRules
from postback.attribution.state import StateStore
from postback.attribution.statements import DerivedStore
from postback.errors import StoreUnavailable
from postback.media_buys.store import MediaBuyStore
from postback.metrics import Metrics
from postback.protocol.timestamps import from_micros, micros
from postback.store.control_store import ControlStore
from postback.store.event_store import EventStore
from postback.store.leases import Lease

__all__ = ["ATTRIBUTION", "Attribution"]

ATTRIBUTION = "attribution"
"""The lease of the server that attributes."""

_SHOWN = 100
"""Most exposures that are returned for one event."""


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
        mine: Whether an account is one of this event store.
        stands_still: Whether nothing may be derived at present, since the event store gets or loses an account.
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
        mine: Callable[[str], bool] = lambda _: True,
        stands_still: Callable[[], bool] = lambda: False,
    ) -> None:
        metrics, limits = metrics or Metrics(), limits or Limits()
        self._derived = DerivedStore(events.deriver, metrics.attribution_stages, events.deriving)
        self._events = events
        self._media_buys = media_buys
        self._lease = lease or Lease(control, ATTRIBUTION)
        self._lease_number: int | None = None
        self._mine = mine
        self._stands_still = stands_still
        self._states = StateStore(control, self._lease, mine, events.number)
        self._exposures = ExposureSpans(self._derived, folder, limits.exposures, metrics)
        self._runs = AccountRuns(self._derived, self._states, media_buys, self._exposures, self._lease, limits)
        self._work = threading.RLock()
        self._recovered = False
        self._following = False
        self._newest: dict[str, tuple[int, int]] = {}
        self._rules: dict[str, tuple[int, AccountRules]] = {}
        self._complete: datetime | None = None

    def work(self) -> None:
        """Catch up, or follow the server that does.

        Raises:
            StoreUnavailable: A store doesn't answer; the next call goes on from there.
        """
        with self._work:
            if self.lead():
                self._catch_up()
                self._finalize_requested()
            else:
                self._follow()

    def follow(self) -> None:
        """Follow the server that attributes, and never become it.

        Raises:
            StoreUnavailable: A store doesn't answer; the next call goes on from there.
        """
        with self._work:
            self._note_complete(self._lease.noted())
            self._follow()

    def lead(self) -> bool:
        """Whether this server is the one of several that attributes; it becomes so where none is.

        Raises:
            StoreUnavailable: The control store doesn't answer.
        """
        with self._work:
            if self._stands_still():
                self._lease.release()
                self._lease_number = None
                return False
            number, progress = self._lease.take()
            if number != self._lease_number:  # others have gone on from what this one knows
                self._recovered = False
                self._runs.accounts.clear()
                self._newest.clear()
            self._lease_number = number
            self._note_complete(progress)
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

        The caller has seen to it that the package ended, and its windows with it. They are final since the receipt time
        through which they are complete: what was received between it and now is not in them.

        Raises:
            StoreUnavailable: A store doesn't answer, or attribution is being stopped.
        """
        with self._work:
            self.catch_up()
            if self._complete is None or self._runs.stopping:
                raise StoreUnavailable("Postback is stopping. The numbers are not final yet.", retry_after=10)
            self._media_buys.finalize(account_id, media_buy_id, package_id, self._complete)

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
            if settled_before > self._runs.settled_before and not self._runs.stopping:
                self._derived.run("settle", settled_before=settled_before, dropped_before=dropped_before)
                self._runs.settled_before = settled_before
            return settled_before <= self._runs.settled_before

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

    def rules(self, account_id: str) -> AccountRules:
        """The rules that the goals of an account set now, for reports; a run has those with which it began.

        Raises:
            StoreUnavailable: The control store doesn't answer.
        """
        change = self._media_buys.change(account_id)
        known = self._rules.get(account_id)
        if known is None or known[0] != change:
            known = self._rules[account_id] = change, AccountRules.of(self._media_buys.goals(account_id))
        return known[1]

    def let_go(self) -> None:
        """Wait for the run that is at work, and let go what the event store may lose."""
        with self._work:
            if self._stands_still():
                self._lease.release()
            self._exposures.close_others(self._mine)

    def stop(self) -> None:
        """Let a run that is at work be the last of its call."""
        self._runs.stopping = True

    def _recover(self) -> None:
        if self._recovered:
            return
        self._runs.prepare()  # a server forgets the tables of a run, and first ends what it was at
        self._following = False
        if self._states.rebuilding():
            self._newest.clear()
        self._runs.recover()
        self._recovered = True

    def _catch_up(self) -> None:
        stored_through = self._events.stored_through()
        self._events.wait_for_inserts()
        self._recover()
        # Whatever breaks off a run, the next call looks first whether its sums were added.
        self._recovered = False
        changes = self._media_buys.changes()
        self._look_for_arrivals(micros(stored_through))
        for account_id in filter(self._mine, sorted({*self._newest, *changes, *self._runs.accounts})):
            newest_event, newest_exposure = self._newest.get(account_id, (0, 0))
            self._runs.catch_up(account_id, changes.get(account_id, 0), newest_event, newest_exposure)
        self._recovered = True
        if not self._runs.stopping:
            self._lease.note(micros(stored_through))
            self._complete = stored_through

    def _note_complete(self, progress: int | None) -> None:
        if progress is not None:
            self._complete = from_micros(progress)

    def _finalize_requested(self) -> None:
        """Make those numbers final which other servers were asked for, and which have come as far as they ask."""
        if self._runs.stopping or self._complete is None:
            return
        for package in self._media_buys.finality_requests(micros(self._complete)):
            if self._mine(package[0]):
                self._media_buys.finalize(*package, self._complete)

    def _require_lead(self) -> None:
        if not self.lead():
            raise StoreUnavailable("Another server attributes at present.", retry_after=1)

    def _follow(self) -> None:
        """Keep the indexes of exposures as far as the server that attributes has come: to explain, and to take over.

        Raises:
            StoreUnavailable: A store doesn't answer.
        """
        if not self._following:
            self._runs.prepare()
        self._following = False  # until this is done
        self._runs.follow(self._events.wait_for_inserts)
        self._following = True

    def _look_for_arrivals(self, through: int) -> None:
        events = max((event for event, _ in self._newest.values()), default=0)
        exposures = max((exposure for _, exposure in self._newest.values()), default=0)
        arrivals = {"events": events, "exposures": exposures, "through": through}
        for account_id, event, exposure in self._derived.rows("arrivals", **arrivals):
            last_event, last_exposure = self._newest.get(account_id, (0, 0))
            self._newest[account_id] = max(event, last_event), max(exposure, last_exposure)
