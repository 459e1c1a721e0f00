"""A real server's metrics tell where the time of a request and of attribution goes."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources
from uuid import uuid4

from tests.conftest import Server, eventually
from tests.metrics import stages

from postback.events.steps import STEPS

_REQUEST_STAGES = {"read", "parse", "validate", "queue", "append", "idempotency"}


def test_every_stage_of_a_request_is_timed_once(server: Server) -> None:
    before = stages(server, "request")
    event = {"event_id": uuid4().hex, "event_type": "purchase", "event_time": datetime.now(UTC).isoformat()}
    server.call("log_event", event_source_id="website", idempotency_key=uuid4().hex, events=[event]).raise_for_status()

    after = stages(server, "request")

    assert {stage: after[stage] - before.get(stage, 0) for stage in after} == dict.fromkeys(_REQUEST_STAGES, 1)


def test_every_step_of_validation_is_timed_once_a_batch(server: Server) -> None:
    before = stages(server, "events")
    events = [{"event_id": uuid4().hex, "event_type": "purchase"} for _ in range(100)]  # by a worker process
    server.call("log_event", event_source_id="website", events=events).raise_for_status()

    after = stages(server, "events")

    assert {step: after[step] - before.get(step, 0) for step in after} == {step: 1 for step, _ in STEPS}


def test_the_statements_of_attribution_are_timed_by_the_name_of_their_file(server: Server) -> None:
    files = {file.name.removesuffix(".sql") for file in (resources.files("postback.attribution") / "sql").iterdir()}

    timed = eventually(lambda: stages(server, "attribution"), "a run of attribution")

    assert "arrivals" in timed
    assert timed.keys() <= files
