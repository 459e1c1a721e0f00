"""A buyer's developer talks to the REST surface with nothing but an HTTP client."""

from __future__ import annotations

import gzip
import json
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from jsonschema import Draft202012Validator
from tests.conftest import HTTP, eventually
from tests.metrics import samples

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer


def _purchase(event_id: str, **members: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "event_type": "purchase",
        "event_time": _now(),
        "action_source": "in_store",
        "user_match": {"hashed_email": "a522b5489bfc961b75e6adefbb546c29b1d03a6e96588d7dae866c225ceb65da"},
        "custom_data": {"value": 20, "currency": "EUR"},
    } | members


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _failure(response: httpx2.Response) -> dict[str, Any]:
    """The error of a canonical failure, after checking that it is one."""
    body = response.json()
    assert body["status"] == "failed"
    assert body["errors"] == [body["adcp_error"]]
    assert body["ext"]["postback"]["request_id"] == response.headers["X-Request-Id"]
    error: dict[str, Any] = body["adcp_error"]
    assert error["suggestion"]
    return error


def test_a_batch_is_logged(server: Server) -> None:
    response = server.call("log_event", event_source_id="website", events=[_purchase("rest-1"), _purchase("rest-2")])

    assert response.status_code == 200
    assert response.json()["events_processed"] == 2


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_a_compressed_batch_is_logged(server: Server, coding: str, compress: Any) -> None:
    body = compress(json.dumps({"event_source_id": "website", "events": [_purchase(f"rest-{coding}")]}).encode())

    with server.client(**{"Content-Encoding": coding}) as client:
        response = client.post("/v1/log_event", content=body)

    assert response.json()["events_processed"] == 1


def test_ten_thousand_events_are_logged_in_one_call(server: Server) -> None:
    events = [_purchase(f"rest-many-{number}") for number in range(10_000)]

    response = server.call("log_event", event_source_id="website", events=events)

    assert response.json()["events_processed"] == 10_000


def test_a_call_without_arguments_may_have_an_empty_body(server: Server) -> None:
    with server.client() as client:
        response = client.post("/v1/get_adcp_capabilities")

    assert response.json()["status"] == "completed"


def test_a_call_without_a_key_is_told_how_to_send_one(server: Server) -> None:
    response = HTTP.post(f"{server.url}/v1/log_event", json={})

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="postback"'
    assert _failure(response)["code"] == "AUTH_MISSING"


def test_an_unknown_key_is_refused(server: Server) -> None:
    response = HTTP.post(f"{server.url}/v1/log_event", json={}, headers={"Authorization": "Bearer pb_unknown"})

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="postback", error="invalid_token"'
    assert _failure(response)["code"] == "AUTH_INVALID"


def test_the_header_of_the_official_client_carries_the_key_too(server: Server) -> None:
    response = HTTP.post(f"{server.url}/v1/get_adcp_capabilities", headers={"x-adcp-auth": server.key})

    assert response.status_code == 200


def test_an_unknown_task_is_answered_with_those_that_exist(server: Server) -> None:
    response = server.call("sync_audiences")

    assert response.status_code == 404
    assert "log_event" in _failure(response)["details"]["supported_tasks"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("POST", "/v1/log_event/", 404, "NOT_FOUND"),
        ("GET", "/v1/log_event", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/v1/events/website/purchase/1", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/mcp", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_what_the_router_refuses_has_the_same_body(
    server: Server, method: str, path: str, status: int, code: str
) -> None:
    with server.client() as client:
        response = client.request(method, path)

    assert response.status_code == status
    assert _failure(response)["code"] == code
    assert ("Allow" in response.headers) == (status == 405)


@pytest.mark.parametrize(
    "body", [b"not JSON", b"[]", b'{"a": NaN}', b'{"a": 1, "a": 2}', b'{"a": "\\ud800"}', b"\xff", b"[" * 100_000]
)
def test_a_body_that_is_not_one_json_object_is_refused(server: Server, body: bytes) -> None:
    with server.client() as client:
        response = client.post("/v1/log_event", content=body)

    assert response.status_code == 400
    assert _failure(response)["code"] == "INVALID_REQUEST"


def test_a_body_above_the_bound_is_refused(start_server: StartServer) -> None:
    small = start_server(max_body_bytes=10_000)

    response = small.call("log_event", event_source_id="website", events=[{"event_id": "x" * 10_000}])

    assert response.status_code == 413
    assert _failure(response)["message"] == "The body is larger than 10,000 bytes."


def test_a_key_that_used_up_its_minute_is_told_when_to_come_back(start_server: StartServer) -> None:
    limited = start_server(rate_limit=1)
    limited.call("get_adcp_capabilities")

    response = limited.call("get_adcp_capabilities", adcp_version="3.1")

    assert response.status_code == 429
    error = _failure(response)
    assert error["code"] == "RATE_LIMIT_EXCEEDED"  # the pin is in the body, which wasn't read
    assert 1 <= int(response.headers["Retry-After"]) == error["retry_after"] <= 60


def test_the_callers_request_id_comes_back(server: Server) -> None:
    with server.client(**{"X-Request-Id": "order-import-7"}) as client:
        response = client.post("/v1/log_event", content=b"not JSON")

    assert response.headers["X-Request-Id"] == "order-import-7"
    _failure(response)


def test_the_log_has_a_line_for_each_call_that_names_the_path_only_by_its_template(server: Server) -> None:
    with server.client(**{"X-Request-Id": "find-me-in-the-log"}) as client:
        client.get("/v1/events/website/purchase/secret-order?account_id=secret-account")

    # A call is logged when it has been answered.
    (line,) = eventually(lambda: [line for line in server.log.read_text().splitlines() if "find-me-in-the-log" in line])
    log = server.log.read_text()
    assert "GET /v1/events/{event_source_id}/{event_type}/{event_id:path}" in line
    assert "status=404" in line
    assert "secret" not in log
    assert server.key not in log


def test_an_operator_sees_that_it_lives_and_is_ready(server: Server) -> None:
    assert HTTP.get(f"{server.url}/healthz").json() == {"status": "ok"}
    assert HTTP.get(f"{server.url}/readyz").json() == {"status": "ok"}


def test_calls_are_counted_for_prometheus(server: Server) -> None:
    server.call("no_such_task")

    assert samples(server, "postback_requests_total", task="unknown", transport="rest", outcome="UNSUPPORTED_FEATURE")


def test_openapi_describes_the_answers_that_are_given(server: Server) -> None:
    document = HTTP.get(f"{server.url}/openapi.json").json()
    logged = server.call("log_event", event_source_id="website", events=[_purchase("rest-openapi"), {}]).json()
    failed = server.call("log_event").json()

    schemas = document["components"]["schemas"]
    Draft202012Validator(schemas["log_event_answer"]).validate(logged)
    Draft202012Validator(schemas["failure"]).validate(failed)


def test_every_response_that_openapi_refers_to_exists(server: Server) -> None:
    text = HTTP.get(f"{server.url}/openapi.json").text
    components = json.loads(text)["components"]

    references = set(re.findall(r'"#/components/(\w+)/(\w+)"', text))

    assert {(kind, name) for kind, name in references if name not in components[kind]} == set()


def test_a_developer_asks_what_became_of_an_event(server: Server) -> None:
    server.call("log_event", event_source_id="website", events=[_purchase("a/b c?d")])
    server.call("log_event", event_source_id="website", events=[_purchase("broken", event_time="yesterday")])

    with server.client() as client:
        accepted = client.get("/v1/events/website/purchase/a%2Fb%20c%3Fd").json()
        rejected = client.get("/v1/events/website/purchase/broken").json()

    assert accepted["event_id"] == "a/b c?d"
    assert accepted["statuses"][0]["status"] == "accepted"
    assert rejected["statuses"][0]["status"] == "rejected"
    assert rejected["statuses"][0]["field"].endswith("event_time")


@pytest.mark.parametrize("source", ["website", "no-such-source"])
def test_an_event_that_was_never_received_is_not_found(server: Server, source: str) -> None:
    with server.client() as client:
        response = client.get(f"/v1/events/{source}/purchase/never-sent")

    assert response.status_code == 404
    _failure(response)
