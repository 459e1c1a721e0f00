"""The watch over the event sources: once a minute it looks at all of them, and notes what went wrong or well again."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import cast

from postback.clock import Clock
from postback.errors import StoreUnavailable
from postback.event_sources.event_source import EventSource
from postback.event_sources.health import Status, status_of
from postback.event_sources.rhythms import SourceKey, SourceRhythm, SourceRhythms
from postback.event_sources.shares import SHARES, ShareKind, share_of, share_of_day
from postback.event_sources.signals import (
    LONGEST_BREAK,
    Announce,
    SignalChange,
    SignalKind,
    SignalStore,
    SourceSignal,
    new_signal_id,
)
from postback.event_sources.store import SourceRegistry
from postback.event_sources.volume import volume_of
from postback.metrics import Metrics
from postback.store.event_store import EventStore
from postback.store.shards import Shards

__all__ = ["WATCH_SECONDS", "SourceWatch", "changes", "sentence"]

WATCH_SECONDS = 60.0
"""Between two looks."""

_ONE_DAY = timedelta(days=1)
_QUIET = timedelta(minutes=10)
"""Sources that had an event so recently aren't silent, so nothing has to be known about their usual hours."""

_NONE: Mapping[SourceKey, datetime] = MappingProxyType({})

_log = logging.getLogger(__name__)


class SourceWatch:
    """Looks at every source. Synchronous and thread-safe.

    Args:
        shards: Where events arrive.
        sources: The sources.
        signals: Where signals are kept.
        clock: The time.
        metrics: Counts the sources that aren't well.
        announce: Told of what changed, in the transaction of the change.
        hears: Whether the server accepts events at the moment.
        named: Whether a goal names this source; only asked about one with fewer attributed events than usual.
    """

    def __init__(
        self,
        shards: Shards,
        sources: SourceRegistry,
        signals: SignalStore,
        clock: Clock,
        metrics: Metrics,
        announce: Announce,
        hears: Callable[[], bool] = lambda: True,
        named: Callable[[SourceKey], bool] = lambda _: True,
    ) -> None:
        self._shards = shards
        self._sources = sources
        self._signals = signals
        self._clock = clock
        self._metrics = metrics
        self._announce = announce
        self._hears = hears
        self._named = named
        self._rhythms: dict[int, SourceRhythms] = {}
        self._statuses: dict[int, Mapping[SourceKey, Status]] = {}

    def look(self) -> None:
        """Look at every source once. A server that refuses or can't store events hears nothing, and judges nothing.

        Raises:
            StoreUnavailable: A store is unavailable; nothing is changed.
        """
        if not self._hears():
            return
        clock = self._clock.utc()
        current = [(events, now) for events in self._shards if clock - (now := self._now(events)) <= LONGEST_BREAK]
        if not current:
            return
        watched_since, sources = self._signals.watched(clock), self._sources.everyones()
        failures = []
        for events, now in current:
            here = [source for source in sources if self._shards.number(source.account_id) == events.number]
            try:
                self._look_at(events, here, now, watched_since)
            except StoreUnavailable as error:  # those of the other shards are looked at all the same
                failures.append(error)
        kinds = Counter(signal.kind for signal in self._signals.open())
        self._metrics.sources(len(sources), {kind: kinds[kind] for kind in _OPENED}, min(now for _, now in current))
        if failures:
            raise failures[0]

    def _look_at(
        self, events: EventStore, sources: Sequence[EventSource], now: datetime, watched_since: datetime
    ) -> None:
        """Look at the sources of one shard."""
        rhythms = self._rhythms_in(events)
        long_silent: Mapping[SourceKey, datetime] = {}
        if rhythms.sum_up(now) and now - watched_since >= _ONE_DAY:
            long_silent = rhythms.long_silent(now)
        known = self._open_in(events)
        found = rhythms.read(now, quiet=_QUIET, shown=[signal.source for signal in known])
        changed = changes(sources, found, known, now, watched_since, long_silent, self._named)
        for change in self._signals.change(changed, self._announce):
            level = logging.WARNING if change.what == "opened" else logging.INFO
            _log.log(level, "%s", sentence(change))
        self._statuses[events.number] = _statuses(found, self._open_in(events))

    def _open_in(self, events: EventStore) -> list[SourceSignal]:
        """The open signals of the sources of one shard."""
        return [each for each in self._signals.open() if self._shards.number(each.account_id) == events.number]

    def _rhythms_in(self, events: EventStore) -> SourceRhythms:
        return self._rhythms.setdefault(events.number, SourceRhythms(events))

    def read(self, account_id: str, last_minutes: Mapping[str, datetime | None]) -> Mapping[SourceKey, SourceRhythm]:
        """The rhythms of an account's sources now, as ``SourceRhythms.of_account`` has them.

        Raises:
            StoreUnavailable: The event store is unavailable.
        """
        events = self._shards.of(account_id)
        return self._rhythms_in(events).of_account(self._now(events), account_id, last_minutes)

    def statuses(self, account_id: str) -> dict[str, Status] | None:
        """The health status of the sources of an account that have sent events, by event_source_id, at the last look.

        None before the first one.
        """
        number = self._shards.known(account_id)
        found = self._statuses.get(number) if number else None
        if found is None:
            return None
        return {key.event_source_id: status for key, status in found.items() if key.account_id == account_id}

    def now(self, account_id: str) -> datetime:
        """The time through which all that was received for an account is stored: what is on its way isn't silence.

        Raises:
            StoreUnavailable: A store is unavailable.
        """
        return self._now(self._shards.of(account_id))

    def _now(self, events: EventStore) -> datetime:
        return min(self._clock.utc(), events.stored_through())


_OPENED: dict[SignalKind, str] = {
    "offline": "has gone offline",
    "failure_rate": "has more rejected events than usual",
    "match_rate": "has fewer attributed events than usual",
}
_CLOSED: dict[SignalKind, str] = {
    "offline": "is back",
    "failure_rate": "no longer has more rejected events than usual",
    "match_rate": "no longer has fewer attributed events than usual",
}


def sentence(change: SignalChange) -> str:
    """What has changed, for people."""
    signal = change.signal
    what = {"opened": _OPENED[signal.kind], "closed": _CLOSED[signal.kind], "deleted": "was deleted"}[change.what]
    named = f"Event source {_printable(signal.event_source_id)} of account {_printable(signal.account_id)} {what}"
    if change.what == "opened":
        return f"{named}. {signal.reason}"
    return f"{named}. What was noticed at {signal.observed_at:%Y-%m-%d %H:%M} UTC is over."


def _printable(name: str) -> str:
    """A name as logs and messages can have it: buyers choose what their sources are called."""
    return name if name.isprintable() else ascii(name)


def changes(
    sources: Iterable[EventSource],
    rhythms: Mapping[SourceKey, SourceRhythm],
    known: Iterable[SourceSignal],
    now: datetime,
    watched_since: datetime,
    long_silent: Mapping[SourceKey, datetime] = _NONE,
    named: Callable[[SourceKey], bool] = lambda _: True,
) -> list[SignalChange]:
    """The signals to open and to close.

    Args:
        sources: Every source that exists.
        rhythms: What is stored about those that had events.
        known: The open signals.
        now: The time through which all that was received is stored, UTC.
        watched_since: Since when a server has been there without a break.
        long_silent: The last minute with an event of those whose events are too long ago to be learnt from.
        named: Whether a goal names a source.
    """
    left: dict[SourceKey, dict[SignalKind, SourceSignal]] = defaultdict(dict)
    for signal in known:
        left[signal.source][signal.kind] = signal
    result: list[SignalChange] = []
    for source in sources:
        key = SourceKey(source.account_id, source.event_source_id)
        open_ones = left.pop(key, {})
        its_watch = source.watched_since(watched_since)
        if rhythm := rhythms.get(key):
            result += _changes(key, rhythm, open_ones, now, its_watch, named)
        elif key in long_silent and "offline" not in open_ones and now - its_watch >= _ONE_DAY:
            reason = f"No event since {long_silent[key]:%Y-%m-%d %H:%M} UTC, for more than six weeks."
            result.append(SignalChange(_signal(key, "offline", reason, now), "opened"))
    gone = (signal for signals in left.values() for signal in signals.values())
    return [*result, *(SignalChange(signal, "deleted") for signal in gone)]


def _changes(
    key: SourceKey,
    rhythm: SourceRhythm,
    open_ones: Mapping[SignalKind, SourceSignal],
    now: datetime,
    watched_since: datetime,
    named: Callable[[SourceKey], bool],
) -> Iterator[SignalChange]:
    for kind, found in _found(rhythm, now, watched_since, open_ones):
        reason = None if found and kind == "match_rate" and not named(key) else found
        if reason and kind not in open_ones:
            yield SignalChange(_signal(key, kind, reason, now, _status_before(rhythm)), "opened")
        elif not reason and kind in open_ones:
            yield SignalChange(open_ones[kind], "closed")


def _found(
    rhythm: SourceRhythm, now: datetime, watched_since: datetime, open_ones: Mapping[SignalKind, SourceSignal]
) -> Iterator[tuple[SignalKind, str | None]]:
    """What can be told of a source: each kind with what is wrong, or with None when it is well."""
    volume = volume_of(rhythm, now, watched_since, offline="offline" in open_ones)
    since = f"No event since {rhythm.last_minute:%Y-%m-%d %H:%M} UTC; {volume.usually}."
    yield "offline", since if volume.state == "offline" else None
    for kind in SHARES:
        yield kind, _worse(kind, rhythm, now, open_ones.get(kind))


def _worse(kind: ShareKind, rhythm: SourceRhythm, now: datetime, signal: SourceSignal | None) -> str | None:
    """What is wrong with a share, if anything; where nothing can be said, it is as it was, but not for ever."""
    share = share_of(kind, rhythm, changed=signal is not None)
    if share is None and signal:
        if now - signal.observed_at < _ONE_DAY:
            return signal.reason  # the last day has events of before, which were well
        share = share_of_day(kind, rhythm)
    return share.sentence if share and share.changed else None


def _status_before(rhythm: SourceRhythm) -> Status | None:
    """The status that a source had while its last events arrived; None if that is more than a day ago."""
    return _status(rhythm) if rhythm.accepted_day + rhythm.rejected_day else None


def _signal(
    key: SourceKey, kind: SignalKind, reason: str, now: datetime, status_before: str | None = None
) -> SourceSignal:
    return SourceSignal(*key, kind, new_signal_id(), now.replace(microsecond=0), reason, status_before)


def _statuses(rhythms: Mapping[SourceKey, SourceRhythm], signals: Iterable[SourceSignal]) -> dict[SourceKey, Status]:
    offline = {signal.source: "insufficient" for signal in signals if signal.kind == "offline"}
    return {key: _status(rhythm) for key, rhythm in rhythms.items()} | cast("dict[SourceKey, Status]", offline)


def _status(rhythm: SourceRhythm) -> Status:
    """The health status of a source by its last day; it isn't offline, or was not."""
    quality = rhythm.quality_day / rhythm.accepted_day if rhythm.accepted_day else None
    return status_of(rhythm.accepted_day + rhythm.rejected_day, rhythm.rejected_day, quality)
