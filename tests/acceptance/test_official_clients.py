"""A buyer's agent works with the official clients as they are, and with curl."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from adcp import ADCPClient, LogEventRequest, SyncEventSourcesRequest
from adcp.__main__ import main as sdk_command_line
from adcp.types import AgentConfig, GetAdcpCapabilitiesRequest, Protocol
from adcp.validation.client_hooks import ValidationHookConfig
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from tests.acceptance.conversions import ago, call, fresh_source, order, shop_orders
from tests.acceptance.official import refuse_unless_valid, unique_key

if TYPE_CHECKING:
    from tests.conftest import Server

STRICT = {"validation": ValidationHookConfig(requests="strict", responses="strict"), "strict_idempotency": True}


@pytest.mark.anyio
@pytest.mark.parametrize("options", [{}, STRICT], ids=["defaults", "strict"])
async def test_the_python_client_logs_conversions(server: Server, options: dict[str, Any]) -> None:
    agent = AgentConfig(id="seller", agent_uri=f"{server.url}/mcp", protocol=Protocol.MCP, auth_token=server.key)
    source = unique_key()
    wanted = {"account": {"account_id": "default"}, "event_sources": [{"event_source_id": source}]}
    batch = {"event_source_id": source, "events": [order("py_1"), order("py_2", event_time=ago(days=400))]}

    async with ADCPClient(agent, **options) as client:
        capabilities = await client.get_adcp_capabilities(GetAdcpCapabilitiesRequest())
        synced = await client.sync_event_sources(
            SyncEventSourcesRequest.model_validate(wanted | {"idempotency_key": unique_key()})
        )
        logged = await client.log_event(LogEventRequest.model_validate(batch | {"idempotency_key": unique_key()}))
        refused = await client.log_event(
            LogEventRequest.model_validate(batch | {"event_source_id": "nowhere", "idempotency_key": unique_key()})
        )

    assert capabilities.success, capabilities.error
    assert synced.success, synced.error
    assert synced.data.event_sources[0].action == "created"
    assert logged.success, logged.error
    assert (logged.data.events_received, logged.data.events_processed) == (2, 1)
    assert logged.data.partial_failures[0].code == "VALIDATION_ERROR"
    assert not refused.success
    assert refused.adcp_error["code"] == "REFERENCE_NOT_FOUND"


def test_the_command_line_of_the_sdk_logs_a_conversion(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = {"event_source_id": "website", "events": [order("cli_1")], "idempotency_key": unique_key()}
    url = f"{server.url}/mcp"
    monkeypatch.setattr(sys, "argv", ["adcp", "--auth", server.key, "--json", url, "log_event", json.dumps(batch)])

    sdk_command_line()  # in this process, for importing the SDK again takes 15 s

    assert json.loads(capsys.readouterr().out)["events_processed"] == 1


@pytest.mark.anyio
async def test_the_mcp_client_calls_every_task_as_its_tools_are_listed(server: Server) -> None:
    sources = {"event_sources": [{"event_source_id": "mcp_shop"}]}
    arguments: dict[str, dict[str, Any]] = {
        "get_adcp_capabilities": {},
        "sync_event_sources": sources | {"account": {"account_id": "default"}},
        "log_event": {"event_source_id": "mcp_shop", "events": [order("mcp_1")]},
        "get_products": {"buying_mode": "wholesale"},
        "get_media_buys": {},
        "list_accounts": {},
        "sync_accounts": {"accounts": []},
        "get_media_buy_delivery": {"start_date": "2026-01-01"},
    }
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {server.key}"}, timeout=60) as http,
        streamable_http_client(f"{server.url}/mcp", http_client=http) as streams,
        ClientSession(streams[0], streams[1]) as session,
    ):
        await session.initialize()
        tools = [tool.name for tool in (await session.list_tools()).tools]
        for task in arguments:
            pin = {"adcp_version": "3.2", "idempotency_key": unique_key()}
            result = await session.call_tool(task, arguments[task] | pin)
            assert not result.is_error
            refuse_unless_valid(task, result.structured_content or {}, "3.2")

    assert set(tools) == arguments.keys() | {"create_media_buy", "update_media_buy"}, "this server has nothing to buy"


@pytest.mark.parametrize("door", ["rest", "mcp"])
def test_ten_thousand_realistic_orders_are_logged_in_one_call(server: Server, door: Any) -> None:
    batch = {"event_source_id": "website", "events": shop_orders(f"bulk_{door}", 10_000)}
    assert len(json.dumps(batch, separators=(",", ":"))) > 5_600_000

    answer = call(server, door, "log_event", batch)

    assert (answer["events_received"], answer["events_processed"]) == (10_000, 10_000)
    assert "partial_failures" not in answer
    assert answer["match_quality"] > 0.9


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize(
    "declared",
    [
        {"event_source_id": "snippet"},
        {
            "event_source_id": 'it\'s a $HOME `of` "quotes"',
            "event_types": ["custom", "lead"],
            "allowed_domains": ["shop.example"],
            "value_currencies": ["EUR"],
        },
    ],
    ids=["plain", "quoted"],
)
def test_the_setup_snippet_works_as_it_is_printed(server: Server, declared: dict[str, Any]) -> None:
    snippet = fresh_source(server, **declared)["setup"]["snippet"]

    run = subprocess.run(
        ["bash", "-c", snippet],
        env=os.environ | {"POSTBACK_KEY": server.key},
        capture_output=True,
        text=True,
        check=True,
    )

    answer = json.loads(run.stdout)
    assert answer["events_processed"] == 1, answer
    assert "warnings" not in answer
