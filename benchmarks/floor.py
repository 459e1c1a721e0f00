"""The least that a durable ingest must do: decode the bytes into typed structs, insert the ready table.

One thread does one after the other, in a process without a server.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.events import BATCH, SOURCE, Batches
from postback.event_sources.event_source import EventSource
from postback.events.event import Event, StrictCustomData
from postback.events.identifiers import IdentifierHasher
from postback.events.request import LogEventRequest, events_of
from postback.events.rules import EventRules
from postback.events.validate import validate_events
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore
from postback.store.rows import Rows, arrow_stream

__all__ = ["Floor", "measure_floor", "ready_rows"]

_decode_request = msgspec.json.Decoder(LogEventRequest).decode
_decode_event = msgspec.json.Decoder(Event).decode
_decode_custom_data = msgspec.json.Decoder(StrictCustomData).decode


@dataclass(frozen=True, slots=True)
class Floor:
    """Seconds of each batch, for its two halves.

    Attributes:
        events: Events in a batch.
        decode_s: Seconds of decoding.
        insert_s: Seconds of inserting.
    """

    events: int
    decode_s: list[float]
    insert_s: list[float]

    @property
    def rate(self) -> float:
        """Events a second, from the medians of both halves."""
        return self.events / (median(self.decode_s) + median(self.insert_s))

    def __add__(self, other: Floor) -> Floor:
        return Floor(self.events, self.decode_s + other.decode_s, self.insert_s + other.insert_s)


def measure_floor(batches: Batches, folder: Path, count: int) -> Floor:
    """Decode and insert so many batches, in a process that ends with it: its engine's threads must not go on."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_measure, batches, folder, count).result()


def _measure(batches: Batches, folder: Path, count: int) -> Floor:
    data = DataDir.open(folder)
    store = EventStore.open(data.events_dsn, data.scratch)
    names, ready = arrow_stream("event", [ready_rows(batches, data.secret)])
    floor = Floor(batches.events, [], [])
    for number in range(count):
        body, stream = batches.body(number), ready.to_pybytes().replace(BATCH, b"%08x" % number)
        started = time.perf_counter()
        decoded = _decoded(body)
        between = time.perf_counter()
        # EventStore.insert without the building of the stream.
        store.deriver.raw_insert("event", names, stream, fmt="ArrowStream")
        floor.insert_s.append(time.perf_counter() - between)
        floor.decode_s.append(between - started)
        assert len(decoded) == batches.events
    assert store.count("event") == count * batches.events
    store.close()
    data.close()
    return floor


def _decoded(body: bytes) -> list[tuple[Event, StrictCustomData]]:
    events = map(_decode_event, events_of(_decode_request(body)))
    return [(event, _decode_custom_data(event.custom_data)) for event in events]


def ready_rows(batches: Batches, secret: bytes) -> Rows:
    """A batch as the rows that the server would store."""
    source = EventSource(
        account_id="default", event_source_id=str(SOURCE["event_source_id"]), seller_id="src_benchmark"
    )
    now = datetime.now(UTC)
    rules = EventRules.of(source, now=now, sandbox=False, max_age_days=90, require_user_match=False)
    verdicts = validate_events(events_of(_decode_request(batches.template)), rules, IdentifierHasher(secret))
    [rows] = verdicts.accepted.rows(source, "")
    return rows.received(int(now.timestamp() * 1e6))
