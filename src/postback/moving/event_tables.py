"""The tables of events that move: each is compared in slices, the minutes of one of its times."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["EVENT_TABLES", "NOT_MOVED", "EventTable"]


class EventTable(NamedTuple):
    """A table of the event store.

    Attributes:
        name: Its name.
        moment: The time of a row, as SQL; a constant where rows have none that new ones share.
        days: For how many days the engine keeps a row after that, as SQL; empty if for good.
    """

    name: str
    moment: str
    days: str = ""

    @property
    def slice(self) -> str:
        """The minute of a row, as SQL."""
        return f"intDiv(toInt64({self._seconds}), 60)"

    @property
    def _seconds(self) -> str:
        return f"toUnixTimestamp({self.moment})"

    def kept(self, at: int) -> str:
        """As SQL, whether the engine still keeps a row at a time, in seconds since the epoch."""
        return f"toInt64({self._seconds}) + 86400 * ({self.days}) > {at}" if self.days else "true"


EVENT_TABLES = (
    EventTable("event", "received_at"),
    EventTable("test_event", "received_at", days="7"),
    EventTable("rejected_event", "received_at", days="30"),
    EventTable("receipt", "received_at", days="if(test_event_code = '', 30, 7)"),
    EventTable("receipt_hour", "hour", days="if(is_test, 7, 30)"),
    EventTable("exposure", "received_at"),
    EventTable("delivery_total", "received_at"),
    EventTable("invalid_click", "hour"),
    EventTable("source_activity", "minute"),
    EventTable("source_hour", "hour", days="60"),
    EventTable("attribution", "event_time"),
    EventTable("attributed_event", "event_time"),
    EventTable("exposure_hour", "hour"),
    EventTable("conversion_hour", "hour"),
    EventTable("event_hash_by_key", "toDateTime(event_day, 'UTC')"),
    EventTable("event_by_link", "toDateTime(0, 'UTC')"),
    EventTable("retention", "noted_at"),
)
"""Facts first, then sums, then what attribution derives: settled and final results can't be derived again."""

NOT_MOVED = frozenset(("installation", "schema_version"))
"""What a new event store has of its own."""
