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
        median_delay, long_delay: Within what time after they happened half of them came, and 95 of 100; None without
            events.
    """

    events: int
    without: int
    kinds: Mapping[int, int]
    median_delay: timedelta | None
    long_delay: timedelta | None


def receipts_by_time(
    events: EventStore, account_id: str, event_source_id: str, since: datetime, until: datetime, *, daily: bool = False
) -> dict[datetime, dict[str, int]]:
    """How much was received in each hour or day, by its outcome; those in which nothing was are absent.

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
    """The identifiers of what was received since then.

    Raises:
        StoreUnavailable: The engine doesn't answer.
    """
    source = {"account_id": account_id, "event_source_id": event_source_id}
    [(found, delays)] = events.query("identifier_coverage", **source, since=since)
    kinds = Counter[int]()
    for together, count in found:
        kinds.update(dict.fromkeys(together.encode(), count))
    without = sum(count for together, count in found if not together)
    median, long = (timedelta(microseconds=delay) if found else None for delay in delays)
    return IdentifierCoverage(sum(count for _, count in found), without, kinds, median, long)


def first_and_last_events(
    events: EventStore, account_id: str, event_source_id: str
) -> tuple[datetime | None, datetime | None]:
    """The minute of its first event, also of one that was rejected, and when its last accepted one came.

    Raises:
        StoreUnavailable: The engine doesn't answer.
    """
    rows = events.query("first_and_last_events", account_id=account_id, event_source_id=event_source_id)
    return (rows[0][0], rows[0][1]) if rows else (None, None)
