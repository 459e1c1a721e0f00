"""A real server's metrics tell where the time of a request and of attribution goes."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from importlib import resources
from uuid import uuid4

from prometheus_client.parser import text_string_to_metric_families
from tests.conftest import Server, eventually

from postback.events.steps import STEPS
from postback.transports.shared_answer import SHARED_SECONDS

_REQUEST_STAGES = {"read", "parse", "validate", "queue", "append", "idempotency"}


def timed(server: Server, pipeline: str) -> dict[str, float]:
    """Stages that were timed, and how often."""
    time.sleep(SHARED_SECONDS)  # what was asked for before is told again within this time
    with server.client() as client:
        families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        sample.labels["stage"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "postback_stage_duration_seconds_count" and sample.labels["pipeline"] == pipeline
    }


def test_every_stage_of_a_request_is_timed_once(server: Server) -> None:
    before = timed(server, "request")
    event = {"event_id": uuid4().hex, "event_type": "purchase", "event_time": datetime.now(UTC).isoformat()}
    server.call("log_event", event_source_id="website", idempotency_key=uuid4().hex, events=[event]).raise_for_status()

    after = timed(server, "request")

    assert {stage: after[stage] - before.get(stage, 0) for stage in after} == dict.fromkeys(_REQUEST_STAGES, 1)


def test_every_step_of_validation_is_timed_once_a_batch(server: Server) -> None:
    before = timed(server, "events")
    events = [{"event_id": uuid4().hex, "event_type": "purchase"} for _ in range(100)]  # by a worker process
    server.call("log_event", event_source_id="website", events=events).raise_for_status()

    after = timed(server, "events")

    assert {step: after[step] - before.get(step, 0) for step in after} == {step: 1 for step, _ in STEPS}


def test_the_statements_of_attribution_are_timed_by_the_name_of_their_file(server: Server) -> None:
    files = {file.name.removesuffix(".sql") for file in (resources.files("postback.attribution") / "sql").iterdir()}

    stages = eventually(lambda: timed(server, "attribution"), "a run of attribution")

    assert "arrivals" in stages
    assert stages.keys() <= files
