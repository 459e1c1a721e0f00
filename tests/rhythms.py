"""The rhythms of event sources as tests imagine them: what is stored of a source that sends in a certain way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from postback.event_sources.rhythms import BLOCK, HOUR, SourceRhythm, UsualHour, start_of_hour

__all__ = ["NOW", "always", "office_hours", "rhythm_of"]

NOW = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)
"""A Wednesday."""


def rhythm_of(
    sends: Callable[[datetime], int], now: datetime, *, weeks: float = 6.1, silent: timedelta = timedelta()
) -> SourceRhythm:
    """What is stored of a source.

    Args:
        sends: How many events it sends in the block that begins then.
        now: The time.
        weeks: Since when it sends.
        silent: For how long it has sent nothing.
    """
    begins = start_of_hour(now - timedelta(weeks=weeks))
    learnt_before = start_of_hour(now) - HOUR
    heard = list(_heard(sends, begins, now - silent))
    hours: dict[datetime, list[int]] = defaultdict(list)
    for block, events in heard:
        if block < learnt_before:
            hours[start_of_hour(block)].append(events)
    usual: dict[int, list[list[int]]] = defaultdict(list)
    for hour, blocks in hours.items():
        usual[hour.weekday() * 24 + hour.hour].append(blocks)
    last = heard[-1][0]
    return SourceRhythm(
        begins=start_of_hour(heard[0][0]),
        last_minute=min(last + BLOCK, now - silent) - timedelta(minutes=1) if now - silent > last else last,
        learnt_before=learnt_before,
        usual={
            hour: UsualHour(
                active=sum(map(len, each)), events=sum(map(sum, each)), weeks=len(each), least=min(map(len, each))
            )
            for hour, each in usual.items()
        },
        active_blocks=tuple(block for block, _ in heard[-40:] if block >= learnt_before),
        accepted_day=sum(events for block, events in heard if block > now - timedelta(days=1)),
    )


def always(events: int = 26) -> Callable[[datetime], int]:
    """Sends as much in every block."""
    return lambda _: events


def office_hours(block: datetime) -> int:
    """Sends from Monday to Friday, from 8 to 18."""
    return 10 if block.weekday() < 5 and 8 <= block.hour < 18 else 0


def _heard(sends: Callable[[datetime], int], begin: datetime, end: datetime) -> Iterable[tuple[datetime, int]]:
    block = begin
    while block < end:
        if events := sends(block):
            yield block, events
        block += BLOCK
