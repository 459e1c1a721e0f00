"""OpenTelemetry: traces and metrics over OTLP, for those who name where to send them.

Off unless an ``OTEL_EXPORTER_OTLP_…ENDPOINT`` is set; then the packages of the extra ``otel`` are needed. While it is
off, nothing of it is loaded or on the path of a call. The metrics are those that Prometheus reads.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Self

from opentelemetry.trace import Link, SpanContext, Tracer
from prometheus_client import Metric

from postback.errors import StartupError

__all__ = ["Telemetry"]

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_MOST_LINKS = 10_000
"""Calls and flushes whose spans are remembered until the next step links to them."""


class Telemetry:
    """What sends traces and metrics. What is to be sent is read from the standard variables, by the SDK itself.

    Attributes:
        tracer: Makes spans.
        export_seconds: How often metrics are sent; None if they are not.
    """

    def __init__(self, environ: Mapping[str, str], *, traces: bool, metrics: bool) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        own = Resource({SERVICE_NAME: "postback", SERVICE_VERSION: version("postback")})
        self._resource = Resource.create().merge(own).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=self._resource, shutdown_on_exit=False)
        if traces:
            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self.tracer: Tracer = self._provider.get_tracer("postback", version("postback"))
        self._metrics = OTLPMetricExporter() if metrics else None
        self.export_seconds = int(environ.get("OTEL_METRIC_EXPORT_INTERVAL", 60_000)) / 1000 if metrics else None
        self._started = time.time_ns()
        self._calls: deque[tuple[int, Link]] = deque(maxlen=_MOST_LINKS)
        self._flushes: deque[Link] = deque(maxlen=_MOST_LINKS)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self | None:
        """What the environment asks for; None if that is nothing.

        Raises:
            StartupError: It asks for what can't be done.
        """
        if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return None
        traces, metrics = (_wanted(environ, signal) for signal in ("TRACES", "METRICS"))
        if not (traces or metrics):
            return None
        try:
            return cls(environ, traces=traces, metrics=metrics)
        except ImportError as error:
            raise StartupError(
                f"{_ENDPOINT} is set, but the packages of OpenTelemetry are missing. Run pip install 'postback[otel]', "
                "or unset it."
            ) from error

    def note_call(self, sequence: int, span: SpanContext) -> None:
        """Remember the span that made a call durable in the frame of this number, for the flush that will have it."""
        self._calls.append((sequence, Link(span)))

    def calls_through(self, sequence: int) -> list[Link]:
        """Links to the calls whose frames have at most this number."""
        return [link for number, link in tuple(self._calls) if number <= sequence]

    def note_flush(self, through: int, span: SpanContext) -> None:
        """Remember the span that stored all calls through a number, for the next run of attribution."""
        while self._calls and self._calls[0][0] <= through:
            self._calls.popleft()
        self._flushes.append(Link(span))

    def take_flushes(self) -> list[Link]:
        """Links to the flushes since the last call."""
        return [self._flushes.popleft() for _ in range(len(self._flushes))]

    def attribute(self, work: Callable[[], None], flushes: Sequence[Link], shard: int) -> None:
        """Do the work of attribution on a shard, in a span that links to the flushes before it."""
        with self.tracer.start_as_current_span("attribute", links=flushes, attributes={"postback.shard": shard}):
            work()

    def export(self, metrics: Iterable[Metric]) -> None:
        """Send metrics. A receiver that is away is logged by the exporter."""
        if self._metrics:
            from postback.otlp_metrics import metrics_data

            self._metrics.export(metrics_data(metrics, self._resource, self._started, time.time_ns()))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()
        if self._metrics:
            self._metrics.shutdown()


def _wanted(environ: Mapping[str, str], signal: str) -> bool:
    """Whether traces or metrics are to be sent."""
    exporter = environ.get(name := f"OTEL_{signal}_EXPORTER", "") or "otlp"
    if exporter == "none" or not (environ.get(_ENDPOINT) or environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")):
        return False
    if exporter != "otlp":
        raise StartupError(f"{name} is {exporter[:80]!r}, but must be otlp or none; correct it or leave it unset.")
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if protocol := environ.get(name):
            if protocol != "http/protobuf":
                raise StartupError(
                    f"{name} is {protocol[:80]!r}, but Postback speaks http/protobuf only; set it to that and name the "
                    f"receiver's HTTP port in {_ENDPOINT}, which is 4318 as a rule."
                )
            break
    return True
