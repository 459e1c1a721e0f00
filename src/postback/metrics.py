"""What Postback counts and times for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.process_collector import ProcessCollector

from postback.collectors import Backlog, BacklogCollector, ClusterCollector
from postback.meters import Counter, Histogram, Stages

__all__ = ["METRICS_CONTENT_TYPE", "Metrics"]

METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WRITE_SECONDS = (0.0002, 0.0005, 0.001, *_SECONDS)
_STAGE_SECONDS = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
_BYTES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
_ROWS = (1, 10, 100, 1_000, 10_000, 100_000)
_CALLS = (1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536)


class Metrics:
    """The metrics of one server, in a registry of its own.

    Labels come from closed sets (tasks, transports, reasons, warning codes), never from what a caller chooses.

    Attributes:
        request_stages: Of a request: ``read``, ``parse``, ``validate``, ``queue``, ``append``, ``idempotency``.
        event_stages: Of the validation of a batch of events: ``events.steps.STEPS``.
        attribution_stages: Of an attribution run: its SQL statements, by the name of their file.
    """

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "postback_requests", "Task calls, by outcome.", ("task", "transport", "outcome"), registry=registry
        )
        self._request_duration = Histogram(
            "postback_request_duration_seconds",
            "Time from a task call's first byte to the end of its response.",
            ("task", "transport"),
            registry=registry,
            buckets=_SECONDS,
        )
        self._request_size = Histogram(
            "postback_request_size_bytes",
            "Size of the arguments of a task call, inflated.",
            ("transport",),
            registry=registry,
            buckets=_BYTES,
        )
        stages = Histogram(
            "postback_stage_duration_seconds",
            "Time of one stage of a request, of the validation of a batch of events, or of an attribution run.",
            ("pipeline", "stage"),
            registry=registry,
            buckets=_STAGE_SECONDS,
        )
        self.request_stages = Stages(stages, "request")
        self.event_stages = Stages(stages, "events")
        self.attribution_stages = Stages(stages, "attribution")
        self._accepted = Counter("postback_events_accepted", "Events accepted, duplicates included.", registry=registry)
        self._rejected = Counter(
            "postback_events_rejected", "Events rejected, by reason and step.", ("reason", "step"), registry=registry
        )
        self._warnings = Counter(
            "postback_event_warnings", "Warnings about accepted events, by code.", ("code",), registry=registry
        )
        self._exposures = Counter(
            "postback_exposures_accepted", "Exposures accepted, duplicates included.", ("kind",), registry=registry
        )
        self._rejected_exposures = Counter(
            "postback_exposures_rejected", "Exposures rejected, by reason.", ("reason",), registry=registry
        )
        self._reused_exposures = Counter(
            "postback_exposures_reused",
            "Exposure ids found to stand for several kinds, media buys or packages.",
            registry=registry,
        )
        self._clicks = Counter(
            "postback_clicks", "Clicks on click links, by what became of them.", ("outcome",), registry=registry
        )
        self._tag_dropped = Counter(
            "postback_tag_dropped",
            "Events of browser tags that were dropped without being validated, by reason.",
            ("reason",),
            registry=registry,
        )
        self._insert_duration = Histogram(
            "postback_insert_duration_seconds",
            "Time in which a segment of the ingest log is inserted into the event store.",
            registry=registry,
            buckets=_SECONDS,
        )
        self._insert_rows = Histogram(
            "postback_insert_rows", "Rows of one such segment.", registry=registry, buckets=_ROWS
        )
        self._insert_calls = Histogram(
            "postback_insert_calls", "Calls of one such segment.", registry=registry, buckets=_CALLS
        )
        self._queued = Gauge("postback_queued_events", "Events that wait for the event store.", registry=registry)
        self._log_calls = Counter("postback_log_calls", "Calls made durable in the ingest log.", registry=registry)
        self._backlogs = Gauge(
            "postback_shard_backlog_events",
            "Events that wait for a shard that could not take them.",
            ["shard"],
            registry=registry,
        )
        self._shard_attributed = Gauge(
            "postback_shard_attributed_through_timestamp_seconds",
            "Unix time through which every event that a shard received is attributed.",
            ["shard"],
            registry=registry,
        )
        self._log_bytes = Counter("postback_log_bytes", "Bytes made durable in the ingest log.", registry=registry)
        self._log_sync = Histogram(
            "postback_log_append_duration_seconds",
            "Time of one durable write to the ingest log, which calls share.",
            registry=registry,
            buckets=_WRITE_SECONDS,
        )
        self._log_waiting = Gauge(
            "postback_log_waiting_bytes", "Bytes in the ingest log that wait for the event store.", registry=registry
        )
        self._log_held_up = Gauge(
            "postback_log_held_up", "1 while a store takes nothing of the ingest log.", registry=registry
        )
        self._quarantined = Counter(
            "postback_quarantined_rows",
            "Accepted rows that the event store refused and that were set aside.",
            ("table",),
            registry=registry,
        )
        self._attributed = Gauge(
            "postback_attributed_through_timestamp_seconds",
            "Unix time through which every received event is attributed.",
            registry=registry,
        )
        self._forwarding = Counter(
            "postback_forwarding_events",
            "Events in attempts to forward them, by the outcome of the attempt.",
            ("destination", "outcome"),
            registry=registry,
        )
        self._refused = Counter(
            "postback_refused_requests",
            "Requests that were refused because of a limit, by the limit.",
            ("limit",),
            registry=registry,
        )
        self._console = Counter(
            "postback_console_requests", "Requests to the console, by outcome.", ("path", "outcome"), registry=registry
        )
        self._console_duration = Histogram(
            "postback_console_duration_seconds",
            "Time until the response to a request to the console begins.",
            ("path",),
            registry=registry,
            buckets=_SECONDS,
        )
        self._body_bytes = Gauge(
            "postback_body_memory_bytes", "Memory that is set apart for request bodies.", registry=registry
        )
        self._disk_free = Gauge("postback_disk_free_bytes", "Free bytes of the data folder's disk.", registry=registry)
        self._broken_merges = Counter(
            "postback_broken_merges",
            "Parts of the event store that a merge left unreadable, by whether those that it replaced came back.",
            ("outcome",),
            registry=registry,
        )
        self._clock_jump = Gauge(
            "postback_clock_jump_seconds",
            "By how much the wall clock is ahead of the time that the server follows, after a jump.",
            registry=registry,
        )
        self._dropped = Counter(
            "postback_retention_dropped_rows",
            "Rows of events and exposures whose identifiers and payload were dropped at retention.",
            ("table",),
            registry=registry,
        )
        self._dropped_before = Gauge(
            "postback_retention_dropped_before_timestamp_seconds",
            "Unix time from before which identifiers and payloads are dropped.",
            registry=registry,
        )
        self._sources = Gauge("postback_event_sources", "Event sources of all accounts.", registry=registry)
        self._source_signals = Gauge(
            "postback_event_source_signals",
            "Event sources with which something is wrong, by what it is.",
            ("kind",),
            registry=registry,
        )
        self._sources_looked_at = Gauge(
            "postback_event_sources_looked_at_timestamp_seconds",
            "Unix time through which the event sources were looked at.",
            registry=registry,
        )
        self._background_failures = Counter(
            "postback_background_failures",
            "Failures of background loops, each of which starts again.",
            ("loop",),
            registry=registry,
        )

    def request(self, task: str, transport: str, outcome: str, seconds: float) -> None:
        """Count one task call; ``outcome`` is ``ok`` or the reason that it failed as a whole."""
        self._requests.add(1, task, transport, outcome)
        self._request_duration.observe(seconds, task, transport)

    def request_size(self, transport: str, size: int) -> None:
        """Record the size of a task call's arguments, inflated, in bytes."""
        self._request_size.observe(size, transport)

    def events(self, accepted: int, rejected: Mapping[tuple[str, str], int]) -> None:
        """Count the events of one call: the number of accepted ones, and of rejected ones by reason and step."""
        self._accepted.add(accepted)
        for labels, count in rejected.items():
            self._rejected.add(count, *labels)

    def exposures(self, accepted: Mapping[str, int], rejected: Mapping[str, int]) -> None:
        """Count the exposures of one call: accepted ones by kind, rejected ones by reason."""
        for kind, count in accepted.items():
            self._exposures.add(count, kind)
        for reason, count in rejected.items():
            self._rejected_exposures.add(count, reason)

    def reused_exposures(self, count: int) -> None:
        """Count exposure ids that attribution found to stand for several kinds, media buys or packages."""
        self._reused_exposures.add(count)

    def click(self, outcome: str) -> None:
        """Count a click on a click link as ``recorded``, ``invalid`` or ``lost``."""
        self._clicks.add(1, outcome)

    def tag_dropped(self, reason: str, events: int) -> None:
        """Count events of a browser tag that were dropped, for one of ``tag.visits.DROPPED``."""
        self._tag_dropped.add(events, reason)

    def warnings(self, codes: Mapping[str, int]) -> None:
        """Count the warnings about the events of one call, by code."""
        for code, count in codes.items():
            self._warnings.add(count, code)

    def insert(self, rows: int, seconds: float, calls: int) -> None:
        """Record that a segment of the ingest log was inserted into the event store, and of how many calls it was."""
        self._insert_rows.observe(rows)
        self._insert_duration.observe(seconds)
        self._insert_calls.observe(calls)

    def append(self, calls: int, size: int, seconds: float) -> None:
        """Record one durable write to the ingest log: the calls that shared it, and its bytes."""
        self._log_calls.add(calls)
        self._log_bytes.add(size)
        self._log_sync.observe(seconds)

    def log_waiting(self, rows: Callable[[], int], size: Callable[[], int]) -> None:
        """Show the events and the bytes in the ingest log that wait for the event store, read anew for each scrape."""
        self._queued.set_function(rows)
        self._log_waiting.set_function(size)

    def quarantined(self, table: str, rows: int) -> None:
        """Count rows that the event store refused for what they are."""
        self._quarantined.add(rows, table)

    def console(self, path: str, outcome: str, seconds: float) -> None:
        """Count a request to the console by the template of its path; ``outcome`` is ``ok`` or why it failed."""
        self._console.add(1, path, outcome)
        self._console_duration.observe(seconds, path)

    def attributed(self, through: datetime) -> None:
        """Set the time through which every received event is attributed."""
        self._attributed.set(through.timestamp())

    def shard_attributed(self, shard: int, through: datetime) -> None:
        """Set the same for one of several shards."""
        self._shard_attributed.labels(str(shard)).set(through.timestamp())

    def forwarded(self, destination: str, outcome: str, events: int) -> None:
        """Count the events of one attempt: ``delivered``, ``failed`` (and tried again) or ``dead_lettered``."""
        self._forwarding.add(events, destination, outcome)

    def backlog(self, read: Callable[[], Mapping[str, Backlog]]) -> None:
        """Show the backlog of each destination, read anew for each scrape."""
        self._registry.register(BacklogCollector(read))

    def refused(self, limit: str) -> None:
        """Count a request that was refused: ``requests``, ``events``, ``visitors``, ``concurrency``, ``memory`` or
        ``address``."""
        self._refused.add(1, limit)

    def bodies(self, read: Callable[[], int]) -> None:
        """Show the memory that is set apart for bodies, read anew for each scrape."""
        self._body_bytes.set_function(read)

    def disk_free(self, size: int) -> None:
        """Set the free bytes of the data folder's disk."""
        self._disk_free.set(size)

    def broken_merge(self, outcome: str) -> None:
        """Count a part that a merge left unreadable: what it replaced was ``restored``, or is ``lost``."""
        self._broken_merges.add(1, outcome)

    def clock_jump(self, read: Callable[[], float]) -> None:
        """Show by how many seconds the wall clock is ahead of the time that is followed."""
        self._clock_jump.set_function(read)

    def dropped(self, before: datetime, rows: Mapping[str, int]) -> None:
        """Count the rows, by table, of which retention dropped identifiers and payload, all from before a time."""
        self._dropped_before.set(before.timestamp())
        for table, count in rows.items():
            self._dropped.add(count, table)

    def sources(self, count: int, signals: Mapping[str, int], through: datetime) -> None:
        """Set how many event sources there are and, by kind, with how many something is wrong, as of a time."""
        self._sources.set(count)
        for kind, sources in signals.items():
            self._source_signals.labels(kind).set(sources)
        self._sources_looked_at.set(through.timestamp())

    def background_loop(self, name: str) -> None:
        """Show a background loop, which has not failed yet."""
        self._background_failures.add(0, name)

    def background_failure(self, name: str) -> None:
        """Count a failure of a background loop."""
        self._background_failures.add(1, name)

    def backlogs(self, waiting: Mapping[int, int]) -> None:
        """Set the number of rows that wait for each shard that could not take them, by its number."""
        for shard, rows in waiting.items():
            self._backlogs.labels(str(shard)).set(rows)

    def cluster(self, read: Callable[[], tuple[int, bool]]) -> None:
        """Show how many other servers are silent and whether one attributes, read anew for each scrape."""
        self._registry.register(ClusterCollector(read))

    def held_up(self, read: Callable[[], bool]) -> None:
        """Show whether the ingest log can't be moved into the stores."""
        self._log_held_up.set_function(lambda: float(read()))

    def collect(self) -> Iterable[Metric]:
        """All metrics, with their series."""
        return self._registry.collect()

    def render(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        return generate_latest(self._registry)
