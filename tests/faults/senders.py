"""Calls of a task by REST and by the official clients of MCP and A2A, for buyers whose servers may fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import a2a_pb2
from a2a.utils.errors import A2AError
from google.protobuf.json_format import MessageToDict
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from tests.conftest import Server

__all__ = ["Sender", "Unanswered", "by_a2a", "by_mcp", "by_rest"]

Answer = dict[str, Any]
Sender = Callable[[Server, str, Answer], Answer]

PATIENCE_SECONDS = 4
"""After so long a buyer turns to another server."""

logging.getLogger("mcp").addHandler(logging.NullHandler())  # it logs each connection that breaks


class Unanswered(Exception):
    """A call was sent, or was not, and nobody knows whether it was done."""


def by_rest(server: Server, task: str, arguments: Answer) -> Answer:
    """Call a task over REST.

    Raises:
        Unanswered: No answer came in time.
    """
    try:
        with server.client() as client:
            answer: Answer = client.post(f"/v1/{task}", json=arguments, timeout=PATIENCE_SECONDS).json()
    except httpx2.TransportError as error:
        raise Unanswered from error
    return answer


def by_mcp(server: Server, task: str, arguments: Answer) -> Answer:
    """The same by the MCP SDK, in a session of its own."""
    try:
        return asyncio.run(asyncio.wait_for(_by_mcp(server, task, arguments), 2 * PATIENCE_SECONDS))
    except (ExceptionGroup, MCPError, httpx2.HTTPError, OSError) as error:
        raise Unanswered from error


async def _by_mcp(server: Server, task: str, arguments: Answer) -> Answer:
    headers = {"Authorization": f"Bearer {server.key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=PATIENCE_SECONDS) as http,
        streamable_http_client(f"{server.url}/mcp", http_client=http) as streams,
        ClientSession(streams[0], streams[1]) as session,
    ):
        await session.initialize()
        return (await session.call_tool(task, arguments)).structured_content or {}


def by_a2a(server: Server, task: str, arguments: Answer) -> Answer:
    """The same by the A2A SDK, which reads the agent's card first."""
    try:
        return asyncio.run(asyncio.wait_for(_by_a2a(server, task, arguments), 2 * PATIENCE_SECONDS))
    except (A2AError, httpx.HTTPError, OSError) as error:
        raise Unanswered from error


async def _by_a2a(server: Server, task: str, arguments: Answer) -> Answer:
    headers = {"Authorization": f"Bearer {server.key}"}
    async with httpx.AsyncClient(headers=headers, timeout=PATIENCE_SECONDS) as http:
        card = await A2ACardResolver(http, server.url).get_agent_card()
        client = ClientFactory(ClientConfig(httpx_client=http)).create(card)
        part = a2a_pb2.Part()
        part.data.struct_value.update({"skill": task, "input": arguments})
        message = a2a_pb2.Message(role=a2a_pb2.ROLE_USER, message_id=arguments["idempotency_key"], parts=[part])
        (answered,) = [event async for event in client.send_message(a2a_pb2.SendMessageRequest(message=message))]
    answer: Answer = MessageToDict(answered.task.artifacts[0].parts[0].data.struct_value)
    return answer
