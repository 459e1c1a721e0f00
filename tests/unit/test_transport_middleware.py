"""Whatever breaks, the caller gets one kind of answer, and the operator a line that finds it."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router

from postback.auth.in_flight import InFlight
from postback.errors import StoreUnavailable
from postback.logs import JsonFormatter, current_request
from postback.metrics import Metrics
from postback.transports.middleware import Exchange, ExchangeMiddleware

_LARGE = 600_000


async def _broken(_: Request) -> Response:
    raise ValueError("cannot parse 'jane@example.com'")


async def _unavailable(request: Request) -> Response:
    Exchange.of(request.scope).calls("rest", "log_event")
    raise StoreUnavailable("The event store refuses to write.", retry_after=3)


async def _abandoned(_: Request) -> Response:
    raise ClientDisconnect


async def _shipped(request: Request) -> Response:
    """Logs a line from the task that answers, one from a thread, and one from a task that outlives neither."""
    log = logging.getLogger("postback.shipping")
    log.info("weighed")
    await asyncio.to_thread(log.info, "packed")
    await asyncio.create_task(asyncio.to_thread(log.info, "labelled"))
    return Response(await request.body())


class _Application:
    """An application whose routes break in known ways."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        routes = [
            Route("/broken", _broken),
            Route("/unavailable/{event_id}", _unavailable),
            Route("/abandoned", _abandoned),
            Route("/ship/{order}", _shipped),
        ]
        self.app = ExchangeMiddleware(Router(routes), self.metrics)

    async def get(self, path: str, request_id: str = "request-7") -> httpx2.Response:
        transport = httpx2.ASGITransport(self.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://postback") as client:
            return await client.get(path, headers={"X-Request-Id": request_id})


@pytest.mark.anyio
async def test_a_defect_is_answered_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    response = await _Application().get("/broken")

    assert response.status_code == 500
    assert response.json()["adcp_error"]["code"] == "INTERNAL_ERROR"
    assert response.json()["ext"]["postback"]["request_id"] == "request-7"
    assert "jane@example.com" not in response.text
    assert "request request-7 failed" in caplog.messages


@pytest.mark.anyio
async def test_a_failure_that_may_pass_says_when_to_try_again() -> None:
    response = await _Application().get("/unavailable/order-1")

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "3"


@pytest.mark.anyio
async def test_a_failure_is_counted_by_its_reason() -> None:
    application = _Application()
    await application.get("/unavailable/order-1")

    families = text_string_to_metric_families(application.metrics.render().decode())
    counted: list[dict[str, Any]] = [s.labels for f in families if f.name == "postback_requests" for s in f.samples]
    assert {"task": "log_event", "transport": "rest", "outcome": "SERVICE_UNAVAILABLE"} in counted


@pytest.mark.anyio
async def test_the_access_log_names_the_template_of_a_path(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "postback.access")

    await _Application().get("/unavailable/order-1?account_id=acme")

    assert "GET /unavailable/{event_id} task=log_event status=503 outcome=SERVICE_UNAVAILABLE" in caplog.text
    assert "order-1" not in caplog.text
    assert "acme" not in caplog.text


@pytest.mark.anyio
async def test_a_caller_that_went_away_is_noted_and_not_a_defect(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    with pytest.raises(AssertionError):  # the transport of the client misses an answer
        await _Application().get("/abandoned")

    assert "status=499" in caplog.text
    assert "failed" not in caplog.text


@pytest.mark.anyio
async def test_each_line_of_simultaneous_requests_has_its_own_id(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "postback")
    caplog.handler.setFormatter(JsonFormatter())
    application = _Application()

    await asyncio.gather(*(application.get(f"/ship/{n}", f"request-{n}") for n in range(10)))

    lines: dict[str, list[str]] = {}
    for line in map(json.loads, caplog.text.splitlines()):
        lines.setdefault(line["request_id"], []).append(line["message"])
    assert lines == {f"request-{n}": ["weighed", "packed", "labelled", "request"] for n in range(10)}
    assert current_request.get() is None


@pytest.mark.anyio
async def test_a_json_line_of_the_access_log_has_a_field_for_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "postback.access")
    caplog.handler.setFormatter(JsonFormatter())

    response = await _Application().get("/unavailable/order-1?account_id=acme")
    await _Application().get("/no/such/path")

    known, unknown = map(json.loads, caplog.text.splitlines())
    assert known.pop("duration_ms") >= 0
    del known["time"]
    assert known == {
        "level": "INFO",
        "logger": "postback.access",
        "message": "request",
        "method": "GET",
        "path": "/unavailable/{event_id}",
        "task": "log_event",
        "status": 503,
        "outcome": "SERVICE_UNAVAILABLE",
        "request_bytes": 0,
        "response_bytes": len(response.content),
        "request_id": "request-7",
    }
    assert (unknown["method"], unknown["path"], unknown["task"], unknown["status"]) == (None, None, None, 404)


@pytest.mark.anyio
async def test_a_large_response_is_refused_while_others_of_the_key_are_not_read() -> None:
    in_flight = InFlight(10, 3 * _LARGE)

    async def large(request: Request) -> Response:
        Exchange.of(request.scope).share = in_flight.begin("key")
        return Response(bytes(_LARGE))

    app = ExchangeMiddleware(Router([Route("/large", large)]), Metrics())
    scope = {"type": "http", "method": "GET", "path": "/large", "query_string": b"", "headers": []}
    sent, read = asyncio.Event(), asyncio.Event()

    async def never_mind() -> Any:
        raise AssertionError

    async def not_read(message: Any) -> None:
        if message["type"] == "http.response.body":
            sent.set()
            await read.wait()

    first = asyncio.create_task(app(dict(scope), never_mind, not_read))
    await sent.wait()
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://postback") as client:
        refused = await client.get("/large")
        read.set()
        await first
        served = await client.get("/large")

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert "not read yet" in refused.json()["message"]
    assert (served.status_code, len(served.content)) == (200, _LARGE)
    assert in_flight.bytes == 0
