"""An operator names a receiver of OTLP: a call is followed from its head to the run that attributes it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import eventually
from tests.otlp_receiver import otlp_receiver

from postback.errors import StartupError
from postback.telemetry import Telemetry

if TYPE_CHECKING:
    from tests.conftest import StartServer

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACE = "0af7651916cd43dd8448eb211c80319c"


def lead(event_id: str) -> dict[str, Any]:
    return {"event_id": event_id, "event_type": "lead", "event_time": datetime.now(UTC).isoformat()}


def test_a_call_is_followed_through_the_log_and_the_flush_to_attribution(
    start_own_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with otlp_receiver() as receiver:
        monkeypatch.setenv(_ENDPOINT, receiver.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        server = start_own_server()
        server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
        sent = {"event_source_id": "website", "events": [lead("first"), lead("second")]}
        with server.client() as client:
            client.headers["traceparent"] = f"00-{_TRACE}-b7ad6b7169203331-01"
            client.post("/v1/log_event", json=sent).raise_for_status()

        eventually(lambda: receiver.spans("attribute"), "the run of attribution")
        eventually(lambda: _total(receiver.latest("postback_events_accepted_total")) == 2, "the metrics")
        eventually(lambda: receiver.latest("postback_insert_rows").histogram.data_points[0].sum, "that of the insert")

    (call,) = receiver.spans("log_event")
    assert call.trace_id.hex() == _TRACE
    assert call.parent_span_id.hex() == "b7ad6b7169203331"
    attributes = {attribute.key: attribute.value for attribute in call.attributes}
    assert attributes["http.response.status_code"].int_value == 200
    assert attributes["postback.transport"].string_value == "rest"
    (append,) = [span for span in receiver.spans("append to the ingest log") if span.parent_span_id == call.span_id]
    (flush,) = [span for span in receiver.spans("flush the ingest log") if _links(span, append)]
    assert any(_links(span, flush) for span in receiver.spans("attribute"))
    resource = {a.key: a.value.string_value for a in receiver.traces[0].resource_spans[0].resource.attributes}
    assert resource["service.name"] == "postback"
    assert resource["deployment.environment.name"] == "test"
    (point,) = receiver.latest("postback_insert_rows").histogram.data_points
    assert (point.count, point.sum, sum(point.bucket_counts)) == (1, 2, 1)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc', but Postback speaks http"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin', but must be otlp or none"),
    ],
)
def test_what_can_not_be_sent_stops_the_start(environ: dict[str, str], message: str) -> None:
    with pytest.raises(StartupError, match=message):
        Telemetry.of({_ENDPOINT: "http://127.0.0.1:4318", **environ})


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {_ENDPOINT: "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"},
        {_ENDPOINT: "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"},
    ],
)
def test_it_is_off_unless_a_receiver_is_named(environ: dict[str, str]) -> None:
    assert Telemetry.of(environ) is None


def _links(span: Any, other: Any) -> bool:
    return any(link.span_id == other.span_id for link in span.links)


def _total(metric: Any) -> float:
    return sum(point.as_double for point in metric.sum.data_points) if metric else 0
