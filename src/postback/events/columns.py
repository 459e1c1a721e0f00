"""From accepted and failed events to the columns that the event store takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from postback.event_sources.event_source import EventSource
from postback.events.identifiers import KEY_BYTES, KINDS
from postback.events.match_quality import event_quality
from postback.events.pending_event import PendingEvent
from postback.events.rejection import RejectedEvent
from postback.protocol.timestamps import micros
from postback.store.copies import NO_ORDER_FIELDS, event_fact, order_fields
from postback.store.rows import Column, Rows, plain_array

__all__ = ["AcceptedEvents", "PackedEvents", "rejected_rows"]


class PackedEvents(msgspec.Struct):
    """Accepted events on their way between processes; ``columns`` is an Arrow stream."""

    indexes: list[int]
    qualities: list[float]
    kinds: dict[bytes, int]
    columns: memoryview


class AcceptedEvents:
    """The accepted events of a batch, as columns.

    Attributes:
        indexes: Their places in the batch.
        qualities: Their match qualities.
        columns: What is stored of each, by the column's name, and ``facts`` (``store.copies.event_fact``).
        order_ids: The order of each, or None; not passed on to another process.
    """

    def __init__(self) -> None:
        self.indexes: list[int] = []
        self.qualities: list[float] = []
        self._kinds: dict[bytes, int] = {}
        self.columns: dict[str, Any] = {name: [] for name in _COLUMNS}
        self.order_ids: list[str | None] = []

    def __len__(self) -> int:
        return len(self.indexes)

    def extend(self, accepted: Sequence[PendingEvent]) -> None:
        """Add events that passed every step; afterwards their objects are not needed any more."""
        events = [pending.event for pending in accepted]
        times = [micros(event.event_time) for event in events]
        names = [event.custom_event_name or "" for event in events]
        columns = self.columns
        columns["event_type"] += [event.event_type for event in events]
        columns["event_id"] += [event.event_id for event in events]
        columns["event_time"] += times
        columns["action_source"] += [event.action_source or "" for event in events]
        columns["event_source_url"] += [event.event_source_url or "" for event in events]
        columns["custom_event_name"] += names
        columns["custom_data"] += [pending.custom_data_json for pending in accepted]
        columns["extra"] += [pending.extra_json for pending in accepted]
        columns["match_keys"] += [pending.match_keys for pending in accepted]
        columns["warnings"] += [pending.warnings for pending in accepted]
        columns["facts"] += map(event_fact, times, names, map(_order, accepted))
        self.indexes += [event.index for event in accepted]
        self.order_ids += [data.order_id if (data := event.custom_data) else None for event in accepted]
        kinds = [event.match_keys[::KEY_BYTES] for event in accepted]
        self.qualities += map(event_quality, kinds)
        for kind in kinds:
            self._kinds[kind] = self._kinds.get(kind, 0) + 1

    def packed(self) -> PackedEvents:
        """These events, ready for another process."""
        batch = pa.record_batch({name: plain_array("event", name, values) for name, values in self.columns.items()})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return PackedEvents(self.indexes, self.qualities, self._kinds, memoryview(sink.getvalue()))

    @classmethod
    def unpacked(cls, packed: PackedEvents) -> AcceptedEvents:
        """The events that another process packed. Complete: none can be added."""
        events = cls()
        events.indexes, events.qualities, events._kinds = packed.indexes, packed.qualities, packed.kinds
        if events.indexes:
            with pa.ipc.open_stream(packed.columns) as reader:
                batch = reader.read_next_batch()
            events.columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        return events

    def coverage(self) -> dict[str, int]:
        """Kind of identifier → number of events that have a usable one."""
        coverage: dict[str, int] = {}
        for numbers, events in self._kinds.items():
            for number in set(numbers):
                coverage[KINDS[number]] = coverage.get(KINDS[number], 0) + events
        return coverage

    def rows(self, source: EventSource, test_event_code: str, duplicates: Column | None = None) -> list[Rows]:
        """The rows to store; those of test events go to a table of their own.

        Args:
            source: The event source that the batch names.
            test_event_code: Empty for live events.
            duplicates: Of each live event whether it was known: 0, 1, or 2 if it differs from the first; None: none
                was.
        """
        count = len(self)
        if not count:
            return []
        columns: dict[str, Column] = {
            "account_id": [source.account_id] * count,
            "event_source_id": [source.event_source_id] * count,
            "place": self.indexes,
            "quality": self.qualities,
            **self.columns,
        }
        if test_event_code:
            return [Rows("test_event", {**columns, "test_event_code": [test_event_code] * count})]
        if duplicates is not None:
            columns["duplicate"] = duplicates
        return [Rows("event", columns)]


_COLUMNS = (
    *("event_type", "event_id", "event_time", "action_source", "event_source_url", "custom_event_name"),
    *("custom_data", "extra", "match_keys", "warnings", "facts"),
)


def _order(event: PendingEvent) -> Any:
    """What the event says of its order, without personal data."""
    if "REDACTED" in event.warnings:
        return order_fields(event.custom_data_json)
    return event.custom_data or NO_ORDER_FIELDS


def rejected_rows(failed: Sequence[RejectedEvent], source: EventSource, test_event_code: str) -> list[Rows]:
    """Why events failed, under their names as far as these may be stored; never what was in them."""
    if not failed:
        return []
    columns: dict[str, list[Any]] = {
        "account_id": [source.account_id] * len(failed),
        "event_source_id": [source.event_source_id] * len(failed),
        "event_type": [event.event_type or "" for event in failed],
        "event_id": [event.event_id or "" for event in failed],
        "place": [event.index for event in failed],
        "test_event_code": [test_event_code] * len(failed),
        "reason": [event.rejection.reason for event in failed],
        "field": [event.rejection.field for event in failed],
        "message": [event.rejection.message for event in failed],
    }
    return [Rows("rejected_event", columns)]
