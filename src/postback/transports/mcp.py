"""MCP: the tasks as tools, over Streamable HTTP, with the official library.

The library never sees a tool's arguments. They are cut out of the message as bytes and given to the task as they came,
so that a task reads the same thing here and over REST, and a full batch is parsed once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import msgspec
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from postback.auth.principal import Principal
from postback.errors import BodyTooLarge, InvalidRequest
from postback.protocol.strict_json import UNREADABLE, decode_typed
from postback.services import Services
from postback.tasks.dispatch import Call
from postback.tasks.registry import TASKS, offered
from postback.transports.authentication import require
from postback.transports.jsonrpc import NoMessage, RpcMessage, once, read_message, rewritten, strict_fields
from postback.transports.middleware import Exchange, identify, read, run_task
from postback.transports.origin_guard import OriginGuard

__all__ = ["McpEndpoint"]

_MESSAGE_BYTES = 64 * 1024
"""Bound on a message without its tool's arguments, and on anything that is sent without a key."""

_PRINCIPAL = "postback.mcp.principal"
_ARGUMENTS = "postback.mcp.arguments"
"""Where the ASGI scope carries, past the library, who calls a tool and with which arguments."""

_INSTRUCTIONS = (
    "Conversion tracking for advertising. Call get_adcp_capabilities first, set up sources with sync_event_sources, "
    "buy with get_products and create_media_buy, then send conversions with log_event. Calling a tool needs an API "
    "key: 'Authorization: Bearer KEY'."
)


class McpEndpoint:
    """The ASGI application of one MCP endpoint; ``run`` must be active while it serves."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._offered = offered(services.settings.sandbox)
        self._origins = OriginGuard(services.settings)
        server: Server[Any] = Server(
            "postback",
            version=version("postback"),
            title="Postback",
            instructions=_INSTRUCTIONS,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            get_tool_input_schema=lambda name: TASKS[name].input_schema if name in self._offered else None,
        )
        self._sessions = StreamableHTTPSessionManager(
            server, json_response=True, stateless=True, max_request_body_size=_MESSAGE_BYTES
        )

    def routes(self) -> list[Route]:
        """Where the endpoint is mounted: with and without the slash, so that nobody is redirected."""
        return [Route(path, self, methods=["POST"]) for path in ("/mcp", "/mcp/")]

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Serve until the block is left; once per endpoint."""
        async with self._sessions.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._origins.check(Headers(scope=scope))
        principal = await identify(self._services, scope)
        body = await self._read(scope, receive, principal)
        try:
            request = read_message(body)
            tool = _taken(request) if request.method == "tools/call" else None
        except NoMessage as error:
            Exchange.of(scope).outcome = InvalidRequest.reason
            await error.response(scope, receive, send)
            return
        if tool:
            scope[_PRINCIPAL] = require(principal)
            name, scope[_ARGUMENTS] = tool
            await self._services.signatures.verify(scope, body, scope[_PRINCIPAL], lambda _: name)
        message = msgspec.json.encode(request)
        if len(message) > _MESSAGE_BYTES:
            raise BodyTooLarge(f"The message is larger than {_MESSAGE_BYTES:,} bytes without its tool's arguments.")
        await self._sessions.handle_request(rewritten(scope, message), once(message, receive), send)

    async def _read(self, scope: Scope, receive: Receive, principal: Principal | None) -> bytes:
        limit = self._services.settings.max_body_bytes if principal else _MESSAGE_BYTES
        try:
            return await read(self._services, scope, receive, limit)
        except BodyTooLarge:
            require(principal)  # with a key, more is read
            raise

    async def _list_tools(self, _: object, __: object) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_tool(name) for name in self._offered])

    async def _call_tool(
        self, ctx: ServerRequestContext[Any, Request], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        assert ctx.request is not None  # noqa: S101 - narrows the type: there always is one over HTTP
        scope = ctx.request.scope
        exchange = Exchange.of(scope)
        call = Call(params.name, scope[_ARGUMENTS], scope[_PRINCIPAL], exchange.request_id, "mcp")
        answer = await run_task(self._services, exchange, call)
        text = msgspec.json.encode(answer.body)
        return types.CallToolResult(
            content=[types.TextContent(text=text.decode())],
            structured_content=msgspec.json.decode(text),
            is_error=answer.failed,
        )


def _tool(name: str) -> types.Tool:
    task = TASKS[name]
    return types.Tool(
        name=name,
        title=task.title,
        description=task.description,
        input_schema=task.input_schema,
        output_schema=task.output_schema,
        annotations=types.ToolAnnotations(read_only_hint=not task.mutating, open_world_hint=False),
    )


def _taken(request: RpcMessage) -> tuple[str, bytes]:
    """The name of a called tool, and its arguments, taken out; absent and null both stand for none.

    Raises:
        NoMessage: The parameters give the same name twice.
    """
    try:
        params = strict_fields(request.params, "arguments")
        name: str = decode_typed(params["name"], str)
    except (*UNREADABLE, KeyError):
        return "", b"{}"  # no tool call, as the library will say
    arguments = bytes(params.get("arguments", b"null"))
    # The library is given what it reads, and not what it would copy.
    read = {field: raw for field, raw in params.items() if field in ("name", "_meta")}
    request.params = msgspec.Raw(msgspec.json.encode({**read, "arguments": {}}))
    return name, b"{}" if arguments == b"null" else arguments
