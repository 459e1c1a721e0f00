"""Schemathesis calls what /openapi.json describes in every way that it allows, and in many that it doesn't."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

_OPERATIONS = (
    "POST /v1/get_adcp_capabilities",
    "POST /v1/sync_event_sources",
    "POST /v1/log_event",
    "GET /v1/events/{event_source_id}/{event_type}/{event_id}",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
)


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    """A server of its own: made-up calls delete its event sources, too."""
    running = start_server()
    running.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    return running


@pytest.fixture(scope="module")
def described(server: Server) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize("operation", _OPERATIONS)
def test_every_answer_is_one_that_is_described(server: Server, described: Any, operation: str) -> None:
    method, path = operation.split(" ")
    cases = st.one_of([described[path][method].as_strategy(generation_mode=mode) for mode in GenerationMode])

    @settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
    @given(case=cases)
    def every_answer_is_one_that_is_described(case: Any) -> None:
        case.call_and_validate(
            headers={"Authorization": f"Bearer {server.key}"},
            # What the description forbids needn't fail a call: null is absent, and a bad event is a partial failure.
            excluded_checks=[negative_data_rejection],
        )

    every_answer_is_one_that_is_described()
