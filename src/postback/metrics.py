"""What Postback counts for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from postback.errors import StoreUnavailable

__all__ = ["METRICS_CONTENT_TYPE", "Backlog", "Metrics"]

METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BYTES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
_ROWS = (1, 10, 100, 1_000, 10_000, 100_000)
_CALLS = (1, 2, 4, 8, 16, 32, 64, 128)


class Backlog(NamedTuple):
    """What waits to be forwarded to a destination.

    Attributes:
        waiting: Events that wait.
        dead: Events that nothing is tried for any more.
        oldest: Seconds since the epoch of the oldest waiting one, or None.
    """

    waiting: int
    dead: int
    oldest: int | None


class Metrics:
    """The counters of one server, in a registry of its own.

    Labels come from closed sets (tasks, transports, reasons, warning codes): never from what a caller chooses.
    """

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "postback_requests", "Task calls by outcome.", ("task", "transport", "outcome"), registry=registry
        )
        self._request_seconds = Histogram(
            "postback_request_seconds", "Time to answer.", ("task", "transport"), registry=registry, buckets=_SECONDS
        )
        self._body_bytes = Histogram(
            "postback_body_bytes", "Size of inflated bodies.", ("transport",), registry=registry, buckets=_BYTES
        )
        self._accepted = Counter("postback_events_accepted", "Events accepted, duplicates included.", registry=registry)
        self._rejected = Counter(
            "postback_events_rejected", "Events rejected, by reason.", ("reason",), registry=registry
        )
        self._warnings = Counter(
            "postback_event_warnings", "Events accepted with a warning, by code.", ("code",), registry=registry
        )
        self._exposures = Counter(
            "postback_exposures_accepted", "Exposures accepted, copies included.", ("kind",), registry=registry
        )
        self._rejected_exposures = Counter(
            "postback_exposures_rejected", "Exposures rejected, by reason.", ("reason",), registry=registry
        )
        self._clicks = Counter(
            "postback_clicks", "Clicks on click links, by whether they were stored.", ("outcome",), registry=registry
        )
        self._insert_seconds = Histogram(
            "postback_insert_seconds", "Time of a durable insert.", registry=registry, buckets=_SECONDS
        )
        self._insert_rows = Histogram("postback_insert_rows", "Rows of an insert.", registry=registry, buckets=_ROWS)
        self._insert_calls = Histogram(
            "postback_insert_calls", "Calls that shared an insert.", registry=registry, buckets=_CALLS
        )
        self._attributed = Gauge(
            "postback_attributed_through_seconds",
            "Unix time through which everything received is attributed.",
            registry=registry,
        )
        self._forwarded = Counter(
            "postback_forwarded_events",
            "Events that were forwarded, by what came of the attempt.",
            ("destination", "outcome"),
            registry=registry,
        )
        self._queued = Gauge("postback_queued_events", "Events waiting for the event store.", registry=registry)

    def request(self, task: str, transport: str, outcome: str, seconds: float) -> None:
        """Count one task call; ``outcome`` is ``ok`` or the reason that it failed as a whole."""
        self._requests.labels(task, transport, outcome).inc()
        self._request_seconds.labels(task, transport).observe(seconds)

    def body(self, transport: str, size: int) -> None:
        """Note the inflated size of a request's body, in bytes."""
        self._body_bytes.labels(transport).observe(size)

    def events(self, accepted: int, rejected: Mapping[str, int]) -> None:
        """Count the events of one call: how many were accepted, and how many were rejected for each reason."""
        self._accepted.inc(accepted)
        for reason, count in rejected.items():
            self._rejected.labels(reason).inc(count)

    def exposures(self, accepted: Mapping[str, int], rejected: Mapping[str, int]) -> None:
        """Count the exposures of one call: by kind how many were accepted, by reason how many were rejected."""
        for kind, count in accepted.items():
            self._exposures.labels(kind).inc(count)
        for reason, count in rejected.items():
            self._rejected_exposures.labels(reason).inc(count)

    def click(self, outcome: str) -> None:
        """Count a click on a click link as ``recorded`` or ``lost``."""
        self._clicks.labels(outcome).inc()

    def warnings(self, codes: Mapping[str, int]) -> None:
        """Count events by the warnings that they were accepted with."""
        for code, count in codes.items():
            self._warnings.labels(code).inc(count)

    def insert(self, rows: int, seconds: float, calls: int) -> None:
        """Note one insert into the event store, and how many calls shared it."""
        self._insert_rows.observe(rows)
        self._insert_seconds.observe(seconds)
        self._insert_calls.observe(calls)

    def attributed(self, through: datetime) -> None:
        """Note the time through which everything received is attributed."""
        self._attributed.set(through.timestamp())

    def forwarded(self, destination: str, outcome: str, events: int) -> None:
        """Count events of an attempt: ``delivered``, ``failed`` and tried again, or ``dead``."""
        self._forwarded.labels(destination, outcome).inc(events)

    def backlog(self, read: Callable[[], Mapping[str, Backlog]]) -> None:
        """Show what waits to be forwarded, as it is when the metrics are read."""
        self._registry.register(_BacklogCollector(read))

    def queued(self, events: int) -> None:
        """Set how many events wait for the event store."""
        self._queued.set(events)

    def render(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)


class _BacklogCollector(Collector):
    """Reads the outbox for each scrape."""

    def __init__(self, read: Callable[[], Mapping[str, Backlog]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "postback_forwards_waiting_events", "Events that wait to be forwarded.", labels=["destination"]
        )
        dead = GaugeMetricFamily(
            "postback_forwards_dead_events", "Events that forwarding gave up.", labels=["destination"]
        )
        oldest = GaugeMetricFamily(
            "postback_forwards_oldest_seconds", "Unix time of the oldest event that waits.", labels=["destination"]
        )
        try:
            found = self._read()
        except StoreUnavailable:
            found = {}  # the other metrics are wanted then more than ever
        for name, backlog in found.items():
            waiting.add_metric([name], backlog.waiting)
            dead.add_metric([name], backlog.dead)
            if backlog.oldest is not None:
                oldest.add_metric([name], backlog.oldest)
        yield from (waiting, dead, oldest)
