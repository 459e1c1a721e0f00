"""From accepted and failed events to the columns that the event store takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from postback.ingest.decode import Decoded
from postback.ingest.identifiers import KEY_BYTES, KINDS, Matchable
from postback.sources.model import EventSource
from postback.store.rows import Column, Rows, plain_array

if TYPE_CHECKING:
    from postback.ingest.judge import FailedEvent

__all__ = ["AcceptedEvent", "AcceptedEvents", "PackedEvents", "rejected_rows"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class AcceptedEvent(msgspec.Struct, gc=False, frozen=True):
    """An event that passed every check.

    Attributes:
        index: Its place in the batch.
        decoded: The event; its ``custom_data`` may hold personal data.
        custom_data: custom_data as stored: JSON, or empty.
        extra: Members that AdCP doesn't know, as stored: a JSON object, or empty.
        matchable: What it can be matched by.
    """

    index: int
    decoded: Decoded
    custom_data: bytes
    extra: bytes
    matchable: Matchable


class PackedEvents(msgspec.Struct):
    """Accepted events on their way between processes; ``columns`` is an Arrow stream."""

    indexes: list[int]
    qualities: list[float]
    kinds: dict[bytes, int]
    columns: bytes


class AcceptedEvents:
    """The accepted events of a batch, as columns.

    Attributes:
        indexes: Their places in the batch.
        qualities: Their match qualities.
        columns: What is stored of each, by the column's name.
    """

    def __init__(self) -> None:
        self.indexes: list[int] = []
        self.qualities: list[float] = []
        self._kinds: Counter[bytes] = Counter()
        self.columns: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.indexes)

    def extend(self, accepted: Sequence[AcceptedEvent]) -> None:
        """Add events; afterwards their objects are not needed any more."""
        events = [a.decoded.event for a in accepted]
        self.indexes += [a.index for a in accepted]
        self.qualities += [a.matchable.quality for a in accepted]
        self._kinds.update([a.matchable.keys[::KEY_BYTES] for a in accepted])
        chunk: dict[str, list[Any]] = {
            "event_type": [e.event_type for e in events],
            "event_id": [e.event_id for e in events],
            "event_time": [(e.event_time - _EPOCH) // _MICROSECOND for e in events],
            "action_source": [e.action_source or "" for e in events],
            "event_source_url": [e.event_source_url or "" for e in events],
            "custom_event_name": [e.custom_event_name or "" for e in events],
            "custom_data": [a.custom_data for a in accepted],
            "extra": [a.extra for a in accepted],
            "match_keys": [a.matchable.keys for a in accepted],
            "warnings": [a.decoded.notes for a in accepted],
        }
        for name, values in chunk.items():
            self.columns.setdefault(name, []).extend(values)

    def packed(self) -> PackedEvents:
        """These events, ready for another process."""
        batch = pa.record_batch({name: plain_array("event", name, values) for name, values in self.columns.items()})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return PackedEvents(self.indexes, self.qualities, dict(self._kinds), sink.getvalue().to_pybytes())

    @classmethod
    def unpacked(cls, packed: PackedEvents) -> AcceptedEvents:
        """The events that another process packed. Complete: none can be added."""
        events = cls()
        events.indexes, events.qualities, events._kinds = packed.indexes, packed.qualities, Counter(packed.kinds)
        if events.indexes:
            with pa.ipc.open_stream(packed.columns) as reader:
                batch = reader.read_next_batch()
            events.columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        return events

    def coverage(self) -> Counter[str]:
        """Kind of identifier → number of events that have a usable one."""
        coverage: Counter[str] = Counter()
        for numbers, events in self._kinds.items():
            for number in set(numbers):
                coverage[KINDS[number]] += events
        return coverage

    def rows(self, source: EventSource, test_event_code: str, first_stamp: int) -> list[Rows]:
        """The rows to store; those of test events go to a table of their own.

        Args:
            source: The event source that the batch names.
            test_event_code: Empty for live events.
            first_stamp: The received_at of the batch's first event, in µs since the epoch; one more for each further.
        """
        count = len(self)
        if not count:
            return []
        columns: dict[str, Column] = {
            "account_id": [source.account_id] * count,
            "event_source_id": [source.event_source_id] * count,
            "received_at": [first_stamp + index for index in self.indexes],
            "quality": self.qualities,
            **self.columns,
        }
        if not test_event_code:
            return [Rows("event", columns)]
        return [Rows("test_event", {**columns, "test_event_code": [test_event_code] * count})]


def rejected_rows(
    failed: Sequence[FailedEvent], source: EventSource, test_event_code: str, first_stamp: int
) -> list[Rows]:
    """Why events failed, for those that can be named; never what was in them."""
    named = [event for event in failed if event.event_id is not None]
    if not named:
        return []
    columns: dict[str, list[Any]] = {
        "account_id": [source.account_id] * len(named),
        "event_source_id": [source.event_source_id] * len(named),
        "event_type": [event.event_type or "" for event in named],
        "event_id": [event.event_id for event in named],
        "received_at": [first_stamp + event.index for event in named],
        "test_event_code": [test_event_code] * len(named),
        "reason": [event.rejection.reason for event in named],
        "field": [event.rejection.field for event in named],
        "message": [event.rejection.message for event in named],
    }
    return [Rows("rejected_event", columns)]
