"""The ingest log with spans: one for each call that it makes durable, one for each flush, which links to its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.trace import SpanContext

from postback.logs import current_request
from postback.store.flusher import Flushed, Flusher
from postback.store.idempotency import LoggedAnswer
from postback.store.ingest_log import Append, IngestLog
from postback.store.log_segments import Segment
from postback.store.rows import Rows
from postback.telemetry import Telemetry

__all__ = ["TracedFlusher", "TracedIngestLog"]


class TracedIngestLog(IngestLog):
    """An ingest log; ``telemetry`` has the spans."""

    def __init__(self, *args: Any, telemetry: Telemetry) -> None:
        super().__init__(*args)
        self._telemetry = telemetry
        self._spans: dict[int, SpanContext] = {}

    async def append(
        self, rows: Sequence[Rows], answer: LoggedAnswer | None = None, deliveries: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """``IngestLog.append``."""
        request = id(current_request.get())
        with self._telemetry.tracer.start_as_current_span("append to the ingest log") as span:
            span.set_attribute("postback.rows", sum(map(len, rows)))
            if span.is_recording():
                self._spans[request] = span.get_span_context()
            try:
                await super().append(rows, answer, deliveries)
            finally:
                self._spans.pop(request, None)

    def _settle(self, group: Sequence[Append], started: float, error: Exception | None = None) -> None:
        if error is None:
            for append in group:
                if span := self._spans.get(id(append.request)):
                    self._telemetry.note_call(self._durable, span)
        super()._settle(group, started, error)


class TracedFlusher(Flusher):
    """A flusher; ``telemetry`` has the spans."""

    def __init__(self, *args: Any, telemetry: Telemetry) -> None:
        super().__init__(*args)
        self._telemetry = telemetry

    def _move(self, segment: Segment) -> Flushed:
        links = self._telemetry.calls_through(segment.last)
        with self._telemetry.tracer.start_as_current_span("flush the ingest log", links=links) as span:
            span.set_attribute("postback.rows", segment.rows)
            flushed = super()._move(segment)
        self._telemetry.note_flush(segment.last, span.get_span_context())
        return flushed
