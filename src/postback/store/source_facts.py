"""What is stored about one event source: what came when and what became of it, its identifiers, how late it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from postback.store.event_store import EventStore
from postback.store.receipts import OUTCOMES

__all__ = ["IdentifierCoverage", "first_and_last_events", "identifier_coverage", "receipts_by_time"]


@dataclass(frozen=True, slots=True)
class IdentifierCoverage:
    """The identifiers of some live events, without repeats that say the same.

    Attributes:
        events: How many there are.
        without: How many have no usable one.
        kinds: First byte of a match key, one of KINDS → how many events have such an identifier.
        median_delay, long_delay: Within what time after they happened half of them came, and 95 of 100, rounded to two
            digits; None without events.
    """

    events: int
    without: int
    kinds: Mapping[int, int]
    median_delay: timedelta | None
    long_delay: timedelta | None


def receipts_by_time(
    events: EventStore, account_id: str, event_source_id: str, since: datetime, until: datetime, *, daily: bool = False
) -> dict[datetime, dict[str, int]]:
    """How much was received in each hour or day of a span of whole hours, by its outcome; without those of nothing.

    Raises:
        StoreUnavailable: The engine doesn't answer.
    """
    source = {"account_id": account_id, "event_source_id": event_source_id}
    rows = events.query("receipts_by_time", **source, since=since, until=until, daily=daily)
    return {
        begins_at: {outcome: count for outcome, count in zip(OUTCOMES, counts, strict=True) if count}
        for begins_at, *counts in rows
    }


def identifier_coverage(
    events: EventStore, account_id: str, event_source_id: str, since: datetime
) -> IdentifierCoverage:
    """The identifiers of what was received since an hour began.

    Raises:
        StoreUnavailable: The engine doesn't answer.
    """
    source = {"account_id": account_id, "event_source_id": event_source_id}
    kinds, delays, without = Counter[int](), Counter[int](), 0
    for together, delay, count in events.query("identifier_coverage", **source, since=since):
        kinds.update(dict.fromkeys(together.encode(), count))
        delays[delay] += count
        without += 0 if together else count
    return IdentifierCoverage(delays.total(), without, kinds, _within(delays, 0.5), _within(delays, 0.95))


def _within(delays: Counter[int], share: float) -> timedelta | None:
    """Within how long this share of events came, by how many came after how many µs."""
    left = share * delays.total()
    for delay, count in sorted(delays.items()):
        left -= count
        if left < 0:
            return timedelta(microseconds=delay)
    return None


def first_and_last_events(
    events: EventStore, account_id: str, event_source_id: str
) -> tuple[datetime | None, datetime | None]:
    """The minute of its first event, also of one that was rejected, and when its last accepted one came.

    Raises:
        StoreUnavailable: The engine doesn't answer.
    """
    rows = events.query("first_and_last_events", account_id=account_id, event_source_id=event_source_id)
    return (rows[0][0], rows[0][1]) if rows else (None, None)
