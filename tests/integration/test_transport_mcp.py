"""A buyer's agent talks MCP: through the official client, and through whatever else speaks the protocol."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from jsonschema import Draft202012Validator
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent
from tests.conftest import HTTP

from postback.tasks.registry import offered

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

_EVENT = {
    "event_id": "mcp-1",
    "event_type": "lead",
    "event_time": datetime.now(UTC).isoformat(),
    "action_source": "chat",
    "user_match": {"uids": [{"type": "uid2", "value": "AgAAAQFt3aNLXKXEyWS8Tpezcymk1Acv3n"}]},
}


@asynccontextmanager
async def _session(server: Server) -> AsyncIterator[ClientSession]:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {server.key}"}, timeout=60) as http,
        streamable_http_client(f"{server.url}/mcp", http_client=http) as streams,
        ClientSession(streams[0], streams[1]) as session,
    ):
        await session.initialize()
        yield session


def _text(result: CallToolResult) -> Any:
    assert isinstance(result.content[0], TextContent)
    return json.loads(result.content[0].text)


def _post(server: Server, body: bytes, *, key: str | None, **headers: str) -> httpx2.Response:
    auth = {"Authorization": f"Bearer {key}"} if key else {}
    standard = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    return HTTP.post(f"{server.url}/mcp", content=body, headers=standard | auth | headers)


def _message(method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).encode()


@pytest.mark.anyio
async def test_an_agent_finds_the_tools_with_schemas_that_it_can_use(server: Server) -> None:
    async with _session(server) as session:
        tools = (await session.list_tools()).tools

    assert {tool.name for tool in tools} == set(offered(sandbox=False))
    for tool in tools:
        Draft202012Validator.check_schema(tool.input_schema)


@pytest.mark.anyio
async def test_an_agent_reads_the_answer_as_structure_and_as_text(server: Server) -> None:
    async with _session(server) as session:
        result = await session.call_tool("get_adcp_capabilities", {})

    assert not result.is_error
    assert result.structured_content["status"] == "completed"
    assert _text(result) == result.structured_content


@pytest.mark.anyio
async def test_an_agent_reads_what_was_wrong_from_a_failed_call(server: Server) -> None:
    async with _session(server) as session:
        result = await session.call_tool("log_event", {"event_source_id": "no-such-source", "events": [_EVENT]})

    assert result.is_error
    assert result.structured_content["adcp_error"]["code"] == "EVENT_SOURCE_NOT_FOUND"
    assert _text(result) == result.structured_content


@pytest.mark.anyio
async def test_ten_thousand_events_fit_into_one_call(server: Server) -> None:
    events = [_EVENT | {"event_id": f"mcp-many-{number}"} for number in range(10_000)]

    async with _session(server) as session:
        result = await session.call_tool("log_event", {"event_source_id": "website", "events": events})

    assert result.structured_content["events_processed"] == 10_000


def test_a_client_of_the_newest_protocol_needs_no_handshake(server: Server) -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = _message("tools/call", name="get_adcp_capabilities", arguments={"context": {"a": 1}}, _meta=meta)
    headers = {
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "get_adcp_capabilities",
    }

    response = _post(server, body, key=server.key, **headers)

    assert response.json()["result"]["structuredContent"]["context"] == {"a": 1}


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
def test_the_endpoint_answers_where_it_is_asked_without_a_redirect(server: Server, path: str) -> None:
    response = HTTP.post(f"{server.url}{path}", content=_message("ping"), headers={"Content-Type": "application/json"})

    assert response.json() == {"jsonrpc": "2.0", "id": 7, "result": {}}


@pytest.mark.parametrize("method", ["ping", "tools/list"])
def test_looking_around_needs_no_key(server: Server, method: str) -> None:
    assert _post(server, _message(method), key=None).status_code == 200


@pytest.mark.parametrize("arguments", [{}, {"events": ["x" * 100_000]}])
def test_calling_a_tool_needs_a_key(server: Server, arguments: dict[str, Any]) -> None:
    response = _post(server, _message("tools/call", name="log_event", arguments=arguments), key=None)

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="postback"'


def test_an_unknown_key_is_refused_even_for_looking_around(server: Server) -> None:
    response = _post(server, _message("tools/list"), key="pb_unknown")

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="postback", error="invalid_token"'


def test_a_compressed_message_is_read(server: Server) -> None:
    body = gzip.compress(_message("tools/call", name="get_adcp_capabilities", arguments=None))

    response = _post(server, body, key=server.key, **{"Content-Encoding": "gzip"})

    assert response.json()["result"]["isError"] is False


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"not JSON", -32700),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"arguments": {"a": NaN}}}', -32700),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"a": ' + b"[" * 100_000, -32700),
        (b'[{"jsonrpc": "2.0", "id": 7, "method": "ping"}]', -32600),
        (b'{"jsonrpc": "2.0", "id": 7, "result": {}}', -32600),
        (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', -32600),
    ],
)
def test_a_body_that_is_not_one_message_is_refused(server: Server, body: bytes, code: int) -> None:
    response = _post(server, body, key=server.key)

    assert response.status_code == 400
    assert response.json()["error"]["code"] == code


def test_arguments_are_judged_as_they_were_sent(server: Server) -> None:
    body = (
        b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params":'
        b' {"name": "log_event", "arguments": {"event_source_id": "a", "event_source_id": "website"}}}'
    )

    response = _post(server, body, key=server.key)

    assert response.json()["result"]["structuredContent"]["adcp_error"]["code"] == "INVALID_REQUEST"


def test_a_large_message_is_read_only_for_its_arguments(server: Server) -> None:
    response = _post(server, _message("ping", padding="x" * 100_000), key=server.key)

    assert response.status_code == 413


def test_an_unknown_tool_is_answered_with_those_that_exist(server: Server) -> None:
    response = _post(server, _message("tools/call", name="sync_audiences", arguments={}), key=server.key)

    result = response.json()["result"]
    assert result["isError"] is True
    assert "log_event" in result["structuredContent"]["adcp_error"]["details"]["supported_tasks"]


@pytest.mark.parametrize("method", ["initialize", "ping", "tools/list", "tools/call"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://evil.example:8787"])
def test_a_script_of_another_web_page_is_refused_whatever_it_calls(server: Server, method: str, origin: str) -> None:
    body = _message(method, name="get_adcp_capabilities", arguments={})

    for key in (None, server.key, "pb_unknown"):
        response = _post(server, body, key=key, Origin=origin, Host=origin.removeprefix("http://"))

        assert response.status_code == 403
        assert response.json()["adcp_error"]["code"] == "ORIGIN_NOT_ALLOWED"
        assert "evil" not in response.text


def test_a_script_of_the_servers_own_page_may_call(server: Server) -> None:
    body = _message("tools/call", name="get_adcp_capabilities", arguments={})

    for origin in (server.url, server.url.replace("127.0.0.1", "localhost")):
        assert _post(server, body, key=server.key, Origin=origin).json()["result"]["isError"] is False


def test_a_page_that_the_operator_lists_may_call(start_own_server: StartServer) -> None:
    listing = start_own_server(public_url="https://ads.seller.example", allowed_origins="https://tools.example")

    answers = {
        origin: _post(listing, _message("ping"), key=None, Origin=origin).status_code
        for origin in ("https://tools.example", "https://ads.seller.example", "https://other.example")
    }

    assert list(answers.values()) == [200, 200, 403]
