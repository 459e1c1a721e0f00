"""Whether an event source has fallen silent, judged against its own hours of the week, and how sure that is.

Time is cut into blocks of five minutes: in a block an event arrives, or none does. Of each hour of the week it is known
in how many blocks of the last six weeks one arrived, hence how unlikely a block without one is. The longer a silence,
the less likely it is by chance; when it is next to impossible, the source is offline. docs/explanation/source-health.md
has the reasons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Literal, NamedTuple

from postback.event_sources.rhythms import BLOCK, HOUR, SourceRhythm, UsualHour, start_of_hour

__all__ = ["Basis", "Certainty", "Volume", "VolumeState", "volume_of"]

VolumeState = Literal["unknown", "flowing", "quiet", "offline"]
Basis = Literal["hour_of_week", "hour_of_day", "all_hours"]
Certainty = Literal["high", "medium", "low"]

_OFFLINE_CHANCE = 1e-6
"""A silence that is this unlikely by chance has another cause."""

_QUIET_CHANCE = 1e-3


@dataclass(frozen=True, slots=True)
class _Rule:
    """What it takes to compare a silence by one basis.

    Attributes:
        known: How long the source must have been known.
        least: The shortest silence that can be an outage: the less is known of the week, the more may be usual.
        every: Hours between two that are alike.
        words: What they are called.
        certainty: How sure the result is.
    """

    known: timedelta
    least: timedelta
    every: int
    words: str
    certainty: Certainty


_RULES: dict[Basis, _Rule] = {
    "hour_of_week": _Rule(timedelta(weeks=2), 3 * BLOCK, 168, "this hour of the week", "high"),
    "hour_of_day": _Rule(timedelta(days=2), timedelta(hours=6), 24, "this hour of the day", "medium"),
    "all_hours": _Rule(timedelta(0), timedelta(hours=24), 1, "an hour", "low"),
}

_HOURS_OF_A_WEEK = 168
_LEAVES_ONE_OUT = 3
_SILENT = UsualHour(0, 0, 0, 0)
_BLOCKS_OF_AN_HOUR = HOUR // BLOCK
_RECENT = 4 * BLOCK
"""A source is back when two blocks that began in this time had events, or one if it is a slow source. Of those that
began so recently none had one when it went offline: that takes three silent blocks, as likely as each may be."""


@dataclass(frozen=True, slots=True)
class Volume:
    """How much arrives from a source, beside what is usual.

    Attributes:
        state: "flowing"; "quiet" when the silence is unusual, but may be chance; "offline"; "unknown" while too little
            is known to tell.
        silence: How long no event has arrived while one could.
        interrupted: Whether no event could arrive for a part of the time since the last one.
        usual: Events that usually arrive in this hour.
        weeks: Whole weeks that are known, at most six.
        basis: What the silence was compared with: the same hour of the week, of the day, or all hours.
        chance: How likely such a silence is while the source works, 0 to 1.
    """

    state: VolumeState
    silence: timedelta
    interrupted: bool
    usual: float
    weeks: int
    basis: Basis
    chance: float

    @property
    def certainty(self) -> Certainty:
        """How sure it is."""
        return _RULES[self.basis].certainty

    @property
    def usually(self) -> str:
        """What is usual, for people; a part of a sentence."""
        return f"in {_RULES[self.basis].words} there are {_number(self.usual)} on average ({_weeks(self.weeks)})"

    @property
    def sentence(self) -> str:
        """All of it for people."""
        silent = f"No event for {_duration(self.silence)}"
        if self.interrupted and self.state != "offline":
            silent = f"No event in the {_duration(self.silence)} since events could arrive again"
        elif self.silence < timedelta(minutes=1):
            silent = "An event came within the last minute"
        if self.state == "unknown":
            return f"{silent}; too little is known to tell whether that is usual."
        verdict = {
            "flowing": "as usual",
            "quiet": "unusual, but it may be chance",
            "offline": f"offline, with {self.certainty} certainty",
        }
        return f"{silent}; {self.usually}: {verdict[self.state]}."


def volume_of(rhythm: SourceRhythm, now: datetime, watched_since: datetime, *, offline: bool = False) -> Volume:
    """How much arrives from a source, beside what is usual.

    Args:
        rhythm: What is stored about it, usual hours included.
        now: The time through which all that was received is stored, UTC.
        watched_since: Since when the source is watched: a server has been there to receive its events, and neither it
            was deleted nor its account closed. Silence before says nothing about it.
        offline: Whether the source was offline when it was last looked at. It stays so until it is really back.
    """
    heard = rhythm.last_minute + timedelta(minutes=1)
    silent_since = max(heard, watched_since)
    silence, interrupted = max(now - silent_since, timedelta()), watched_since > heard
    basis = next(basis for basis, rule in _RULES.items() if silent_since - rhythm.begins >= rule.known)
    known = _Known(rhythm, heard, basis)
    chance = math.exp(-known.evidence(silent_since, now))
    state: VolumeState
    if offline:
        state = "flowing" if _is_back(rhythm, now, known.share(now)) else "offline"
    elif chance < _OFFLINE_CHANCE and silence >= _RULES[basis].least:
        state = "offline"
    elif basis == "all_hours":
        state = "unknown"
    else:
        state = "quiet" if chance < _QUIET_CHANCE else "flowing"
    return Volume(state, silence, interrupted, known.events(now), known.weeks, basis, chance)


class _Hours(NamedTuple):
    """Hours that are alike, from the first event to the last.

    Attributes:
        active: Blocks with an event.
        blocks: Of how many; both without the quietest week, where there are three: an outage then must not hide one
            now.
        events: Events of all weeks.
        hours: How many hours that is.
    """

    active: int
    blocks: int
    events: int
    hours: float

    def weight(self) -> float:
        """The evidence of one block without an event. No block is taken for certain."""
        if not self.active or self.blocks <= 0:
            return 0.0
        return -math.log(1 - (min(self.active, self.blocks) + 0.5) / (self.blocks + 1))


class _Known:
    """What the stored hours say of one source, by one basis."""

    def __init__(self, rhythm: SourceRhythm, heard: datetime, basis: Basis) -> None:
        self._usual = rhythm.usual
        self._every = _RULES[basis].every
        last = min(start_of_hour(heard), rhythm.learnt_before - HOUR)
        self._last = _hour_of_week(last)
        self._blocks_of_last = min((_next_block(heard) - last) // BLOCK, _BLOCKS_OF_AN_HOUR)
        self._hours = max(0, (last - start_of_hour(rhythm.begins)) // HOUR + 1)
        self._alike = cache(self._sum)
        self.weeks = self._hours // _HOURS_OF_A_WEEK

    def evidence(self, begin: datetime, end: datetime) -> float:
        """How strongly silence from begin to end speaks for an outage: minus the logarithm of its chance."""
        whole_weeks = max(0, (end - begin) // timedelta(weeks=1))
        total = 0.0
        if whole_weeks:
            total = whole_weeks * _BLOCKS_OF_AN_HOUR * self._week_weight()
            begin += timedelta(weeks=whole_weeks)
        hour = start_of_hour(begin)
        while hour < end:
            blocks = (min(end, hour + HOUR) - _next_block(max(begin, hour))) // BLOCK
            if blocks > 0:
                total += blocks * self._least_weight(_hour_of_week(hour))
            hour += HOUR
        return total

    def events(self, now: datetime) -> float:
        """Events that usually arrive in the hour of a time."""
        alike = self._alike(_hour_of_week(now) % self._every)
        return alike.events / alike.hours if alike.hours > 0 else 0.0

    def share(self, now: datetime) -> float:
        """The share of blocks in the hour of a time that usually have an event."""
        alike = self._alike(_hour_of_week(now) % self._every)
        return alike.active / alike.blocks if alike.blocks > 0 else 0.0

    def _week_weight(self) -> float:
        """The evidence of a whole week without an event, for one block in each hour.

        Of a slow source single hours say nothing, but a week does: it has all hours, so they need not be told apart.
        """
        by_hour = sum(map(self._least_weight, range(_HOURS_OF_A_WEEK)))
        active = sum(hour.active for hour in self._usual.values())
        whole = _Hours(active, self._hours * _BLOCKS_OF_AN_HOUR, 0, self._hours)
        return max(by_hour, _HOURS_OF_A_WEEK * whole.weight())

    def _least_weight(self, hour: int) -> float:
        """Of an hour and its neighbours, the one that says least: clocks change, and shops open a little later."""
        return min(self._alike((hour + offset) % self._every).weight() for offset in (-1, 0, 1))

    def _sum(self, hour: int) -> _Hours:
        alike = [self._hour(each) for each in range(hour, _HOURS_OF_A_WEEK, self._every)]
        return _Hours(
            sum(each.active for each in alike),
            sum(each.blocks for each in alike),
            sum(each.events for each in alike),
            sum(each.hours for each in alike),
        )

    def _hour(self, hour: int) -> _Hours:
        ago = (self._last - hour) % _HOURS_OF_A_WEEK
        weeks = (self._hours + _HOURS_OF_A_WEEK - 1 - ago) // _HOURS_OF_A_WEEK
        blocks = weeks * _BLOCKS_OF_AN_HOUR - (0 if ago else _BLOCKS_OF_AN_HOUR - self._blocks_of_last)
        usual = self._usual.get(hour, _SILENT)
        quietest = usual.least if usual.weeks >= weeks else 0
        left_out = (quietest, _BLOCKS_OF_AN_HOUR) if weeks >= _LEAVES_ONE_OUT else (0, 0)
        return _Hours(usual.active - left_out[0], blocks - left_out[1], usual.events, blocks / _BLOCKS_OF_AN_HOUR)


def _is_back(rhythm: SourceRhythm, now: datetime, usual_share: float) -> bool:
    recent = [block for block in rhythm.active_blocks if block > now - _RECENT]
    return len(recent) >= (2 if usual_share >= 0.5 else 1)


def _hour_of_week(moment: datetime) -> int:
    return moment.weekday() * 24 + moment.hour


def _next_block(moment: datetime) -> datetime:
    """When the first block that begins no earlier than this begins."""
    hour = start_of_hour(moment)
    return hour - (hour - moment) // BLOCK * BLOCK


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}"


def _weeks(weeks: int) -> str:
    return "less than a week" if not weeks else "1 week" if weeks == 1 else f"{weeks} weeks"


def _duration(silence: timedelta) -> str:
    minutes = silence // timedelta(minutes=1)
    if minutes < 120:
        return "1 minute" if minutes == 1 else f"{minutes} minutes"
    hours = minutes // 60
    return f"{hours} hours" if hours < 48 else f"{hours // 24} days"
