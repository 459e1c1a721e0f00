"""Schemathesis calls what /openapi.json describes in every way that it allows, and in many that it doesn't."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from tests.conftest import examples

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

_BUYING = (
    "list_accounts",
    "sync_accounts",
    "get_products",
    "create_media_buy",
    "update_media_buy",
    "get_media_buys",
    "get_media_buy_delivery",
    "comply_test_controller",
)


_FRAMING = ("Content-Length", "Transfer-Encoding", "Connection", "Upgrade")
"""Headers of HTTP and not of the API, which say where a request ends; test_hostile_connections breaks those."""


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    """A server of its own: made-up calls delete its event sources, too."""
    running = start_server()
    running.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    return running


@pytest.fixture(scope="module")
def sandbox(start_server: StartServer) -> Server:
    return start_server(sandbox="true")


@pytest.fixture(scope="module")
def described(server: Server) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize("operation", _OPERATIONS)
def test_every_answer_is_one_that_is_described(server: Server, described: Any, operation: str) -> None:
    # What the description forbids needn't fail a call: null is absent, and a bad event is a partial failure.
    _call_in_every_way(server, described, operation, [negative_data_rejection])


@pytest.mark.parametrize("task", _BUYING)
def test_every_answer_about_accounts_and_buys_is_one_that_is_described(sandbox: Server, task: str) -> None:
    described = schemathesis.openapi.from_url(f"{sandbox.url}/openapi.json")

    # A schema can't say which products and media buys there are.
    excluded = [negative_data_rejection, positive_data_acceptance]
    _call_in_every_way(sandbox, described, f"POST /v1/{task}", excluded)


def _call_in_every_way(server: Server, described: Any, operation: str, excluded: list[Any]) -> None:
    method, path = operation.split(" ")
    cases = st.one_of([described[path][method].as_strategy(generation_mode=mode) for mode in GenerationMode])

    @settings(examples(15), suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def every_answer_is_one_that_is_described(case: Any) -> None:
        for name in _FRAMING:
            (case.headers or {}).pop(name, None)
        case.call_and_validate(
            headers={"Authorization": f"Bearer {server.key}"},
            excluded_checks=excluded,
        )

    every_answer_is_one_that_is_described()
