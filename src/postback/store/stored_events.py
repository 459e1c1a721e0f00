"""What the event store returns of events and of the sources that they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

__all__ = [
    "SourceActivity",
    "SourceMatching",
    "StoredCopy",
    "StoredEvent",
    "StoredEventStatus",
    "StoredRejection",
]


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An accepted event.

    Attributes:
        test_event_code: Empty for a live event.
        received_at: When its first copy arrived, UTC.
        event_time: When it happened, UTC.
        quality: Its match quality, 0 to 1.
        warnings: Codes of what was odd about it.
        custom_event_name: Its name, for custom events; else empty.
        dropped: Whether its identifiers and payload were dropped at retention.
        kinds: First byte of each of its match keys, in order: the kinds of identifier (``ingest.identifiers.KINDS``).
        match_keys: Its match keys, of a test event only.
    """

    test_event_code: str
    received_at: datetime
    event_time: datetime
    quality: float
    warnings: tuple[str, ...]
    custom_event_name: str
    dropped: bool
    kinds: tuple[int, ...]
    match_keys: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class StoredRejection:
    """Why an event failed last; ``test_event_code`` is empty for a live event, ``field`` for the event itself."""

    test_event_code: str
    received_at: datetime
    reason: str
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class StoredCopy:
    """A copy of a live event: when it arrived, and what its sender may have changed.

    Attributes:
        received_at: When it first arrived, UTC.
        event_time: When the event happened, UTC.
        custom_event_name: Its name, for custom events; else empty.
        action_source: Where it happened.
        custom_data: JSON, or empty.
        match_keys: Its match keys, sorted.
    """

    received_at: datetime
    event_time: datetime
    custom_event_name: str
    action_source: str
    custom_data: str
    match_keys: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class StoredEventStatus:
    """All that is known of one (account, source, type, id).

    Attributes:
        event: The live event, or None.
        copies: It and its copies that are stored, the earliest first; at most 1,000.
        stored_copies: How many are stored.
        tests: Test events, newest first; at most ten.
        rejections: The latest rejection, live and for each test_event_code, newest first; at most ten.
    """

    event: StoredEvent | None
    copies: tuple[StoredCopy, ...]
    stored_copies: int
    tests: tuple[StoredEvent, ...]
    rejections: tuple[StoredRejection, ...]


@dataclass(frozen=True, slots=True)
class SourceActivity:
    """What arrived from one event source; test events don't count.

    Attributes:
        events_received_24h: Accepted (copies included) and rejected events of the last 24 hours.
        rejected_24h: Those of them that were rejected.
        last_event_at: When the last accepted event arrived, UTC; None when none ever did.
        mean_quality_24h: Mean match quality of the accepted ones; None when there are none.
        duplicates_24h: Accepted ones that were known when they arrived.
        different_24h: Those of them that differ from the first copy.
        repeated_orders_24h: How many order_ids came under several event_ids of one type; refunds aside.
        different_siblings_24h: How many of its events a linked source logged with another currency or order_id.
        from_browser_24h: Accepted ones that a browser tag sent.
        last_minute: The last minute in which an event arrived, a rejected one included, UTC.
    """

    events_received_24h: int
    rejected_24h: int
    last_event_at: datetime | None
    mean_quality_24h: float | None
    duplicates_24h: int = 0
    different_24h: int = 0
    repeated_orders_24h: int = 0
    different_siblings_24h: int = 0
    from_browser_24h: int = 0
    last_minute: datetime | None = None


@dataclass(frozen=True, slots=True)
class SourceMatching:
    """How the events of one source that a goal names were matched, over the last seven days.

    Attributes:
        events: How many there are.
        attributed: Those of them that were attributed to an exposure.
        median_delay_seconds: How long after they happened they arrived.
        value_reasons: Why events count no value, or not all of it → how many they are, the most first.
    """

    events: int
    attributed: int
    median_delay_seconds: float
    value_reasons: Mapping[str, int] = field(default_factory=dict)
