"""Retention: after a number of days, identifiers and payloads are dropped and everything that counts stays.

An event that arrives is attributed to exposures of up to the longest window before it. So the results of events are
settled that long before their payload is dropped: what is not settled still finds every exposure that it may be
attributed to, and can be derived again; what is settled needs none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from postback.attribution.runner import Attribution
from postback.attribution.state import NEVER
from postback.attribution.statements import DerivedStore
from postback.errors import StartupError
from postback.event_sources.store import SourceRegistry
from postback.media_buys.attribution_windows import CLICK_WINDOWS, VIEW_WINDOWS
from postback.metrics import Metrics
from postback.protocol.timestamps import micros
from postback.store.event_store import EventStore
from postback.threads import Threads

__all__ = ["Retention", "settled_before"]

_LONGEST_WINDOW = timedelta(seconds=max(window.seconds or 0 for window in (*CLICK_WINDOWS, *VIEW_WINDOWS)))
_POLL_SECONDS = 1.0
_DAY_SECONDS = 86_400

_log = logging.getLogger(__name__)


def settled_before(events: EventStore) -> datetime | None:
    """Results of events from before this time stay; None if retention has settled none.

    Raises:
        StoreUnavailable: The event store doesn't answer.
    """
    noted = DerivedStore(events.deriver, Metrics().attribution_stages, events.deriving).value("settled_before")
    return datetime.fromtimestamp(noted // 1_000_000, UTC) if noted > NEVER else None


class _Bounds(NamedTuple):
    """Times at midnight UTC, in µs since the epoch."""

    settled_before: int
    dropped_before: int


class Retention:
    """Drops what is older than the operator keeps, a day's worth at a time.

    Each step can be repeated, so what a kill interrupts is completed by the next sweep.

    Args:
        events: Where events and exposures are.
        attribution: Whose results are settled, and whose indexes have match keys too.
        sources: The event sources, each of which may take older events than the server does by default.
        max_event_age_days: What the server takes by default.
        days: Days after which identifiers and payloads are dropped.
        metrics: Where what was dropped is counted.
        now: The time, in seconds since the epoch. What is dropped can't be brought back, so it is never ahead.

    Raises:
        StartupError: The number of days is too small: events that arrive could lack exposures.
    """

    def __init__(
        self,
        events: EventStore,
        attribution: Attribution,
        sources: SourceRegistry,
        max_event_age_days: int,
        days: int,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._attribution = attribution
        self._sources = sources
        self._max_event_age_days = max_event_age_days
        self._days = days
        self._metrics = metrics
        self._now = now
        self._done: _Bounds | None = None
        if problem := self._too_few_days():
            raise StartupError(problem)
        self._shard = events.number
        self._client = events.engine.client()
        self._derived = DerivedStore(self._client, metrics.attribution_stages, events.deriving)

    def close(self) -> None:
        """Close the client of the event store."""
        self._client.close()

    async def sweep(self, threads: Threads) -> None:
        """Drop what has become too old since the last sweep. While the engine rewrites files, nothing waits for it.

        Raises:
            StoreUnavailable: A store doesn't answer. The next sweep goes on from there.
        """
        bounds, runs = self._bounds(), threads.attribution.of(self._shard)
        if bounds == self._done or not await runs.run(self._attribution.lead):
            return
        if problem := await threads.background.run(self._too_few_days):
            _log.error("Nothing is dropped: %s", problem)
            return
        if not await runs.run(self._attribution.settle, *bounds):
            return
        await self._dropped(threads)  # what a sweep began that was interrupted
        events, exposures = await threads.background.run(self._drop, bounds)
        await self._dropped(threads)
        while await runs.run(self._attribution.forget_exposures, bounds.dropped_before):
            pass
        self._done = bounds
        before = datetime.fromtimestamp(bounds.dropped_before // 1_000_000, UTC)
        self._metrics.dropped(before, {"event": events, "exposure": exposures})
        _log.info(
            "Identifiers and payloads from before %s are dropped: %d events and %d exposures lost theirs.",
            f"{before:%Y-%m-%d}",
            events,
            exposures,
        )

    async def _dropped(self, threads: Threads) -> None:
        """Wait until the engine has rewritten what was begun to be dropped."""
        told = False
        while True:
            ((unfinished, failing),) = await threads.background.run(self._derived.rows, "unfinished_drops")
            if not unfinished:
                return
            if failing and not told:
                told = True
                _log.error(
                    "Old identifiers are not dropped yet: the event store fails to rewrite its files and tries on."
                )
            await asyncio.sleep(_POLL_SECONDS)

    def _drop(self, bounds: _Bounds) -> tuple[int, int]:
        """Begin to drop what is there; returns how many events and exposures have it."""
        ((events, exposures, keys),) = self._derived.rows("count_old_rows", **bounds._asdict())
        for count, statement in (
            (exposures, "drop_exposure_keys"),
            (events, "drop_event_payloads"),
            (keys, "drop_event_keys"),
        ):
            if count:
                self._derived.run(statement, **bounds._asdict())
        return events, exposures

    def _bounds(self) -> _Bounds:
        today = datetime.fromtimestamp(self._now() // _DAY_SECONDS * _DAY_SECONDS, UTC)
        dropped_before = today - timedelta(days=self._days)
        return _Bounds(micros(dropped_before + _LONGEST_WINDOW), micros(dropped_before))

    def _too_few_days(self) -> str | None:
        """What is wrong with the number of days; None if it leaves every event that arrives its exposures."""
        age = max(self._max_event_age_days, self._sources.longest_max_event_age_days() or 0)
        least = _LONGEST_WINDOW.days + age + 1
        if self._days >= least:
            return None
        return (
            f"POSTBACK_RETENTION_DAYS is {self._days}, but must be at least {least}: event sources take events that "
            f"are up to {age} days old, and goals may attribute them to exposures of {_LONGEST_WINDOW.days} days "
            "before. Raise it, have every source take younger events only, or leave it unset to keep everything."
        )
