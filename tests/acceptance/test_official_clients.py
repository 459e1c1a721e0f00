"""A buyer's agent works with the official clients as they are, and with curl."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import a2a_pb2 as a2a
from a2a.utils.errors import TaskNotCancelableError, TaskNotFoundError
from adcp import (
    ADCPClient,
    CreateMediaBuyRequest,
    GetMediaBuyDeliveryRequest,
    GetMediaBuysRequest,
    GetProductsBriefRequest,
    ListAccountsRequest,
    LogEventRequest,
    SyncAccountsRequest,
    SyncEventSourcesRequest,
    UpdateMediaBuyRequest,
)
from adcp.__main__ import main as sdk_command_line
from adcp.types import AgentConfig, GetAdcpCapabilitiesRequest, Protocol
from adcp.validation.client_hooks import ValidationHookConfig
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from tests.acceptance.conversions import ago, call, fresh_source, order, shop_orders
from tests.acceptance.official import refuse_unless_valid, unique_key

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

STRICT = {"validation": ValidationHookConfig(requests="strict", responses="strict"), "strict_idempotency": True}


@pytest.fixture(scope="module")
def seller(start_server: StartServer) -> Server:
    return start_server(sandbox="true")


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


@pytest.mark.anyio
@pytest.mark.parametrize(
    "options",
    [{"account_policy": "off"}, STRICT | {"account_policy": "off"}],  # the default, without its warning
    ids=["defaults", "strict"],
)
@pytest.mark.parametrize("protocol", [Protocol.MCP, Protocol.A2A], ids=["mcp", "a2a"])
async def test_the_python_client_goes_from_an_account_to_a_report(
    seller: Server, protocol: Protocol, options: dict[str, Any]
) -> None:
    uri = f"{seller.url}/mcp" if protocol is Protocol.MCP else seller.url
    agent = AgentConfig(id="seller", agent_uri=uri, protocol=protocol, auth_token=seller.key)
    account = {"brand": {"domain": f"{unique_key()}.example"}, "operator": "agency.example"}
    source = {"event_source_id": "shop", "event_types": ["purchase"]}
    goal = {
        "kind": "event",
        "event_sources": [{"event_source_id": "shop", "event_type": "purchase", "value_field": "value"}],
        "target": {"kind": "per_ad_spend", "value": 4},
    }
    package = {
        "product_id": "sandbox_display_auction",
        "pricing_option_id": "auction_cpm_usd",
        "budget": 5000,
        "optimization_goals": [goal],
    }
    buy = {
        "account": account,
        "brand": account["brand"],
        "start_time": "asap",
        "end_time": "2099-01-01T00:00:00Z",
        "packages": [package],
    }

    async with ADCPClient(agent, **options) as client:

        async def done(task: str, shape: Any, **arguments: Any) -> Any:
            result = await getattr(client, task)(shape.model_validate(arguments | {"idempotency_key": unique_key()}))
            assert result.success, (task, result.error)
            return result.data

        await done("get_adcp_capabilities", GetAdcpCapabilitiesRequest)
        synced = await done("sync_accounts", SyncAccountsRequest, accounts=[account | {"billing": "operator"}])
        products = await done("get_products", GetProductsBriefRequest, buying_mode="brief", brief="display")
        await done("sync_event_sources", SyncEventSourcesRequest, account=account, event_sources=[source])
        bought = await done("create_media_buy", CreateMediaBuyRequest, **buy)
        logged = await done("log_event", LogEventRequest, event_source_id="shop", events=[order("py")], account=account)
        changed = await done(
            "update_media_buy", UpdateMediaBuyRequest, account=account, media_buy_id=bought.media_buy_id, paused=True
        )
        listed = await done("get_media_buys", GetMediaBuysRequest, media_buy_ids=[bought.media_buy_id])
        report = await done("get_media_buy_delivery", GetMediaBuyDeliveryRequest, media_buy_ids=[bought.media_buy_id])
        accounts = await done("list_accounts", ListAccountsRequest)
        refused = await client.update_media_buy(
            UpdateMediaBuyRequest.model_validate(
                {"account": account, "media_buy_id": "nowhere", "paused": True, "idempotency_key": unique_key()}
            )
        )

    assert synced.accounts[0].action == "created"
    assert len(products.products) == 3
    assert logged.events_processed == 1
    assert changed.revision == 2
    assert listed.media_buys[0].status == "paused"
    assert report.media_buy_deliveries[0].totals.conversions == 0
    assert synced.accounts[0].account_id in {known.account_id for known in accounts.accounts}
    assert not refused.success
    assert refused.adcp_error["code"] == "MEDIA_BUY_NOT_FOUND"


@pytest.mark.parametrize(("protocol", "path"), [("mcp", "/mcp"), ("a2a", "")])
def test_the_command_line_of_the_sdk_logs_a_conversion(
    server: Server, protocol: str, path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = {"event_source_id": "website", "events": [order("cli_1")], "idempotency_key": unique_key()}
    options = ["--auth", server.key, "--protocol", protocol, "--json"]
    monkeypatch.setattr(sys, "argv", ["adcp", *options, f"{server.url}{path}", "log_event", json.dumps(batch)])

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


@pytest.mark.anyio
@pytest.mark.parametrize("version", ["1.0", "0.3"])
async def test_the_a2a_client_finds_and_calls_a_skill(server: Server, version: str) -> None:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {server.key}"}, timeout=60) as http:
        card = await A2ACardResolver(http, server.url).get_agent_card()
        spoken = [interface for interface in card.supported_interfaces if interface.protocol_version == version]
        card.ClearField("supported_interfaces")
        card.supported_interfaces.extend(spoken)
        client = ClientFactory(ClientConfig(httpx_client=http)).create(card)
        part = a2a.Part()
        part.data.struct_value.update({"skill": "list_accounts", "input": {"context": {"n": 1}}})
        message = a2a.Message(role=a2a.ROLE_USER, message_id="m1", parts=[part], context_id="talk")

        (answered,) = [event async for event in client.send_message(a2a.SendMessageRequest(message=message))]
        again = await client.get_task(a2a.GetTaskRequest(id=answered.task.id))
        with pytest.raises(TaskNotCancelableError):
            await client.cancel_task(a2a.CancelTaskRequest(id=answered.task.id))
        with pytest.raises(TaskNotFoundError):
            await client.get_task(a2a.GetTaskRequest(id="no-such-task"))
        with pytest.raises(TaskNotFoundError):
            await client.cancel_task(a2a.CancelTaskRequest(id="no-such-task"))

    assert again == answered.task
    answer = answered.task.artifacts[0].parts[0].data.struct_value
    assert "list_accounts" in {skill.name for skill in card.skills}
    assert (answered.task.status.state, answered.task.context_id) == (a2a.TASK_STATE_COMPLETED, "talk")
    assert (answer["status"], answer["context"]["n"]) == ("completed", 1)


@pytest.mark.parametrize("door", ["rest", "mcp", "a2a"])
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
