"""The log of a real server: each line has the ids of the request that it is about, and JSON lines can be parsed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.conftest import Server, StartServer, eventually

_EVENT = {"event_id": "order-1", "event_type": "purchase"}


@pytest.fixture
def failing(start_own_server: StartServer) -> Server:
    """A server that logs JSON, and whose event store has lost a file of every part, as on a failing disk."""
    running = start_own_server(log_format="json")
    running.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    event = _EVENT | {"event_time": datetime.now(UTC).isoformat()}
    running.call("log_event", event_source_id="website", events=[event]).raise_for_status()
    assert look_up(running, "before") == 200  # and so it is in the event store
    for file in (running.data / "events").rglob("*.bin"):
        file.unlink()
    return running


def look_up(server: Server, request_id: str) -> int:
    """Look the event up under a request id; returns the status."""
    with server.client(**{"X-Request-Id": request_id}) as client:
        return client.get("/v1/events/website/purchase/order-1").status_code


def lines(server: Server) -> list[dict[str, Any]]:
    """The log's lines, without what the server prints for people before it starts to log."""
    printed = server.log.read_text().splitlines()
    first = next(number for number, line in enumerate(printed) if line.startswith("{"))
    return [json.loads(line) for line in printed[first:]]


def test_each_line_of_requests_at_once_is_json_with_the_ids_of_its_own(failing: Server) -> None:
    names = [f"look-up-{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(lambda name: look_up(failing, name), names)) == [503] * len(names)

    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines(failing))

    def logged() -> list[dict[str, Any]]:
        found = [line for line in lines(failing) if line.get("request_id") in names]
        return found if len(found) == 2 * len(names) else []  # the access log's line follows the response

    found = eventually(logged, "the logging of these requests")
    for name in names:
        failure, access = (line for line in found if line["request_id"] == name)
        assert failure["logger"] == "postback.store.event_engine"  # from a thread
        assert failure["level"] == "ERROR"
        assert failure["message"].startswith("The event store failed: ")
        assert (access["logger"], access["level"]) == ("postback.access", "INFO")
        assert (access["method"], access["status"], access["outcome"]) == ("GET", 503, "SERVICE_UNAVAILABLE")
        assert access["path"] == "/v1/events/{event_source_id}/{event_type}/{event_id:path}"
        assert failure["key_id"] == access["key_id"]
