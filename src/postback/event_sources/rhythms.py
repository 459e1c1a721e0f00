"""What is usual for each event source in each hour of the week, and what arrived from it lately."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, NamedTuple

from cachetools import LRUCache

from postback.store.event_store import EventStore

__all__ = [
    "BLOCK",
    "HOUR",
    "LEARNT_DAYS",
    "Counts",
    "SourceKey",
    "SourceRhythm",
    "SourceRhythms",
    "UsualHour",
    "start_of_hour",
]

LEARNT_DAYS = 42
"""How far back usual hours are learnt from: six weeks."""

HOUR = timedelta(hours=1)
BLOCK = timedelta(minutes=5)
"""In a block an event arrived, or none did: blocks are what silence is counted in."""

_KEPT_SOURCES = 500
"""Of so many sources what was read is kept: one that was heard in every hour takes 30 KB."""

_FAR = datetime(2100, 1, 1, tzinfo=UTC)


class SourceKey(NamedTuple):
    """Which source it is."""

    account_id: str
    event_source_id: str


class UsualHour(NamedTuple):
    """One hour of the week, summed over the weeks that are learnt from.

    Attributes:
        active: Blocks with an event.
        events: Events, rejected ones included.
        weeks: Weeks in which it had an event.
        least: The blocks with an event in the week of those that had fewest.
    """

    active: int
    events: int
    weeks: int
    least: int


class Counts(NamedTuple):
    """Events of a time: how many were rejected, and of those that a goal names, how many were attributed at once."""

    rejected: int = 0
    events: int = 0
    attributed: int = 0
    outcomes: int = 0

    def __add__(self, other: tuple[int, ...]) -> Counts:  # type: ignore[override]
        return Counts(*(mine + its for mine, its in zip(self, other, strict=True)))


NO_EVENTS = Counts()


@dataclass(frozen=True, slots=True)
class SourceRhythm:
    """What is stored about the events of one source, over the last six weeks.

    Attributes:
        begins: The first hour with an event.
        last_minute: The last minute with one.
        learnt_before: Usual hours are those before this one; later ones are judged by them.
        usual: By hour of the week, from Monday midnight UTC, what is usual; hours without an event are absent.
        active_blocks: When the blocks with an event in this hour and the one before began.
        accepted_day: Accepted events of the last 24 hours, whole hours.
        rejected_day: Rejected ones.
        quality_day: Sum of the accepted ones' match quality.
        attributed_day: Events of the last 24 hours that were attributed at once, of those that a goal names.
        outcomes_day: How many a goal names.
        this_hour: What this hour has had so far.
        hour_before: What the hour before had.
        usual_counts: What the same hour of the week had in earlier weeks.
        all_counts: What all hours before had.
    """

    begins: datetime
    last_minute: datetime
    learnt_before: datetime
    usual: Mapping[int, UsualHour] = field(default_factory=dict)
    active_blocks: tuple[datetime, ...] = ()
    accepted_day: int = 0
    rejected_day: int = 0
    quality_day: float = 0.0
    attributed_day: int = 0
    outcomes_day: int = 0
    this_hour: Counts = NO_EVENTS
    hour_before: Counts = NO_EVENTS
    usual_counts: Counts = NO_EVENTS
    all_counts: Counts = NO_EVENTS

    @property
    def day(self) -> Counts:
        """What the last 24 hours had, whole hours."""
        events = self.accepted_day + self.rejected_day
        return Counts(self.rejected_day, events, self.attributed_day, self.outcomes_day)


class _Kept(NamedTuple):
    hour: datetime
    last_minutes: Mapping[str, datetime | None]
    rhythms: Mapping[SourceKey, SourceRhythm]


class SourceRhythms:
    """Reads the rhythms of sources, and sums up each hour once it is over. Synchronous and thread-safe."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._summed: datetime | None = None
        self._kept: LRUCache[str, _Kept] = LRUCache(_KEPT_SOURCES, lambda kept: 1 + len(kept.rhythms))
        self._keeping = Lock()

    def sum_up(self, stored_through: datetime) -> bool:
        """Sum up the hours that are complete and have no sums yet; returns whether there were any.

        Args:
            stored_through: The time through which all that was received is stored.

        Raises:
            StoreUnavailable: The engine doesn't answer.
        """
        end = start_of_hour(stored_through)
        if self._summed is not None and self._summed >= end:
            return False
        # The newest hour is summed again: it may not have been complete when a server that was killed summed it.
        begin = max(self._newest_hour(), end - HOUR - timedelta(days=LEARNT_DAYS))
        if begin < end:
            self._events.execute("sum_source_hours", begin=begin, end=end)
        self._summed = end
        return True

    def long_silent(self, now: datetime) -> dict[SourceKey, datetime]:
        """The last minute with an event of the sources that had none in six weeks. Reads what every source has.

        Raises:
            StoreUnavailable: The engine doesn't answer.
        """
        rows = self._events.query("long_silent_sources", since=start_of_hour(now) - HOUR - timedelta(days=LEARNT_DAYS))
        return {SourceKey(account_id, source): last_minute for account_id, source, last_minute in rows}

    def of_account(
        self, now: datetime, account_id: str, last_minutes: Mapping[str, datetime | None]
    ) -> Mapping[SourceKey, SourceRhythm]:
        """The rhythms of an account's sources, which cost much to read, and are kept while silence is judged the same.

        That is until an hour is over, or an event comes in a later minute: blocks are longer. The counts of the last
        hours, which tell nothing of silence, may be older.

        Args:
            now: The time through which all that was received is stored.
            account_id: The account.
            last_minutes: The last minute with an event of each source that ever had one.

        Raises:
            StoreUnavailable: The engine doesn't answer.
        """
        hour = start_of_hour(now)
        with self._keeping:
            kept = self._kept.get(account_id)
        if kept is None or (kept.hour, kept.last_minutes) != (hour, last_minutes):
            kept = _Kept(hour, last_minutes, self.read(now, account_id))
            with self._keeping:
                self._kept.pop(account_id, None)
                if len(kept.rhythms) < _KEPT_SOURCES:
                    self._kept[account_id] = kept
        return kept.rhythms

    def read(
        self,
        now: datetime,
        account_id: str = "",
        *,
        quiet: timedelta | None = None,
        shown: Sequence[SourceKey] = (),
    ) -> dict[SourceKey, SourceRhythm]:
        """The rhythm of every source that had an event in the last six weeks, in one statement.

        Args:
            now: The time through which all that was received is stored.
            account_id: Only the sources of this account; empty for all.
            quiet: Usual hours are read only for sources that had no event for so long; for all by default.
            shown: And for these.

        Raises:
            StoreUnavailable: The engine doesn't answer.
        """
        this_hour = start_of_hour(now)
        rows = self._events.query(
            "source_rhythms",
            account_id=account_id,
            since=this_hour - HOUR - timedelta(days=LEARNT_DAYS),
            summed=self._summed or self._newest_hour(),
            this_hour=this_hour,
            learnt_before=this_hour - HOUR,
            quiet_since=_FAR if quiet is None else now - quiet,
            shown=["\n".join(key) for key in shown],
        )
        return {SourceKey(row[0], row[1]): _rhythm(row, this_hour) for row in rows}

    def _newest_hour(self) -> datetime:
        newest: datetime = self._events.query("summed_source_hours")[0][0]
        return newest


def start_of_hour(moment: datetime) -> datetime:
    """When the hour of a moment began."""
    return moment.replace(minute=0, second=0, microsecond=0)


def _rhythm(row: Sequence[Any], this_hour: datetime) -> SourceRhythm:
    begins, last_minute, _, hours, active, counts, weeks, least, blocks_now, blocks_before, day, *shares = row[2:]
    now, before, usual, everything = shares
    return SourceRhythm(
        begins=begins,
        last_minute=last_minute,
        learnt_before=this_hour - HOUR,
        usual={hour: UsualHour(*sums) for hour, *sums in zip(hours, active, counts, weeks, least, strict=True)},
        active_blocks=(*_blocks(this_hour - HOUR, blocks_before), *_blocks(this_hour, blocks_now)),
        accepted_day=day[0],
        rejected_day=day[1],
        quality_day=day[2],
        attributed_day=day[3],
        outcomes_day=day[4],
        this_hour=Counts(*now),
        hour_before=Counts(*before),
        usual_counts=Counts(*usual),
        all_counts=Counts(*everything),
    )


def _blocks(hour: datetime, blocks: Sequence[int]) -> tuple[datetime, ...]:
    return tuple(hour + block * BLOCK for block in blocks)
