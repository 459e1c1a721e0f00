"""A2A: the tasks as skills, over JSON-RPC with the official library, in its protocol versions 0.3 and 1.0.

A message carries one data part, ``{"skill": "log_event", "input": {...}}``; the answer is a finished task with one
artifact. As over MCP the library sees neither arguments nor answers: they are cut out of the message and put into the
response as bytes, so that a full batch is parsed once and numbers stay what they are.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from importlib.metadata import version
from typing import Annotated, Any
from uuid import uuid4

import msgspec
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.server.routes import create_agent_card_routes
from a2a.server.routes.common import DefaultServerCallContextBuilder
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.types import a2a_pb2 as a2a
from a2a.utils.errors import PushNotificationNotSupportedError, TaskNotFoundError, UnsupportedOperationError
from msgspec import Meta
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from postback.envelope import failure
from postback.errors import BodyTooLarge, InvalidRequest
from postback.principal import Principal
from postback.protocol.releases import RELEASES
from postback.services import Services
from postback.tasks import Answer, Call, offered
from postback.transports.body import read_body
from postback.transports.exchange import Exchange, identify, run_task
from postback.transports.headers import require
from postback.transports.jsonrpc import NoMessage, RpcMessage, once, read_message, rewritten
from postback.transports.schemas import TASK_SCHEMAS

__all__ = ["A2aEndpoint"]

_MESSAGE_BYTES = 64 * 1024
"""Bound on a message without its skill's input."""

_SENDING = frozenset({"message/send", "SendMessage"})
_CALL = "postback.a2a.call"
_ANSWERS = "postback.a2a.answers"
"""Where the ASGI scope carries, past the library, what is called and what is answered."""

_EXTENSION = "https://adcontextprotocol.org/extensions/adcp"


class _Skill(msgspec.Struct):
    """What a data part says: the specification calls the arguments ``input``, official clients ``parameters``."""

    skill: str
    input: msgspec.Raw = msgspec.Raw(b"{}")
    parameters: msgspec.Raw = msgspec.Raw(b"{}")


_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_parts_decoder = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_skill_decoder = msgspec.json.Decoder(_Skill)


class A2aEndpoint:
    """The ASGI application of one A2A endpoint."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._dispatcher = JsonRpcDispatcher(_Handler(services), _ContextBuilder(), enable_v0_3_compat=True)

    def routes(self) -> list[Route]:
        """The endpoint, and the card that tells agents of it."""
        sandbox = self._services.settings.sandbox
        card = _card(self._services.settings.public_url, offered(sandbox))
        return [*create_agent_card_routes(card), *(Route(path, self, methods=["POST"]) for path in ("/", "/a2a"))]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal = require(await identify(self._services, scope))
        body = await read_body(Headers(scope=scope), receive, self._services.settings.max_body_bytes)
        self._services.signatures.verify(scope, body, principal)
        try:
            request = read_message(body)
        except NoMessage as error:
            Exchange.of(scope).outcome = InvalidRequest.reason
            await error.response(scope, receive, send)
            return
        if request.method in _SENDING:
            scope[_CALL] = _take_call(request, principal, Exchange.of(scope).request_id)
        body = msgspec.json.encode(request)
        if len(body) > _MESSAGE_BYTES:
            raise BodyTooLarge(f"The message is larger than {_MESSAGE_BYTES:,} bytes without its skill's input.")
        answers = scope[_ANSWERS] = {}
        response = await self._dispatcher.handle_requests(Request(rewritten(scope, body), once(body, receive)))
        await _with_answers(response, answers)(scope, receive, send)


class _ContextBuilder(DefaultServerCallContextBuilder):
    """Hands the ASGI scope to the handler."""

    def build(self, request: Request) -> ServerCallContext:
        context = super().build(request)
        context.state["scope"] = request.scope
        return context


class _Handler(RequestHandler):
    """Answers messages. Tasks end with their answer and aren't kept: there is nothing to poll or cancel."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def on_message_send(self, params: a2a.SendMessageRequest, context: ServerCallContext) -> a2a.Task:
        scope = context.state["scope"]
        call, exchange = scope[_CALL], Exchange.of(scope)
        if isinstance(call, InvalidRequest):
            exchange.outcome = call.reason
            answer = Answer(failure(call, None, exchange.request_id), call)
        else:
            answer = await run_task(self._services, exchange, call)
        mark = uuid4().hex
        scope[_ANSWERS][mark] = msgspec.json.encode(answer.body)
        part = a2a.Part()
        part.data.struct_value.update({"$answer": mark})
        task = a2a.Task(
            id=uuid4().hex,
            context_id=params.message.context_id or uuid4().hex,
            status=a2a.TaskStatus(state=_state(answer, context.state["method"])),
            artifacts=[a2a.Artifact(artifact_id="answer", parts=[part])],
        )
        task.status.timestamp.GetCurrentTime()
        return task

    async def on_message_send_stream(
        self, params: a2a.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Any, None]:
        raise UnsupportedOperationError
        yield

    async def on_get_task(self, params: a2a.GetTaskRequest, context: ServerCallContext) -> a2a.Task | None:
        raise TaskNotFoundError

    async def on_list_tasks(self, params: a2a.ListTasksRequest, context: ServerCallContext) -> a2a.ListTasksResponse:
        return a2a.ListTasksResponse()

    async def on_cancel_task(self, params: a2a.CancelTaskRequest, context: ServerCallContext) -> a2a.Task | None:
        raise TaskNotFoundError

    async def on_subscribe_to_task(
        self, params: a2a.SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Any, None]:
        raise UnsupportedOperationError
        yield

    async def on_create_task_push_notification_config(
        self, params: a2a.TaskPushNotificationConfig, context: ServerCallContext
    ) -> a2a.TaskPushNotificationConfig:
        raise PushNotificationNotSupportedError

    async def on_get_task_push_notification_config(
        self, params: a2a.GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> a2a.TaskPushNotificationConfig:
        raise PushNotificationNotSupportedError

    async def on_list_task_push_notification_configs(
        self, params: a2a.ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> a2a.ListTaskPushNotificationConfigsResponse:
        raise PushNotificationNotSupportedError

    async def on_delete_task_push_notification_config(
        self, params: a2a.DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        raise PushNotificationNotSupportedError

    async def on_get_extended_agent_card(
        self, params: a2a.GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> a2a.AgentCard:
        raise UnsupportedOperationError


def _state(answer: Answer, method: str) -> a2a.TaskState:
    # Official clients of 0.3 take the state for that of the exchange: of a failed task they read no answer.
    if answer.error and method == "SendMessage":
        return a2a.TaskState.TASK_STATE_FAILED
    return a2a.TaskState.TASK_STATE_COMPLETED


def _take_call(request: RpcMessage, principal: Principal, request_id: str) -> Call | InvalidRequest:
    """Cut what is called out of a message, and leave the library no more than the conversation that it belongs to.

    Returns:
        The call; an error when no data part calls a skill.
    """
    message: dict[str, msgspec.Raw] = {}
    try:
        message = _members_decoder.decode((request.params or {})["message"])
        said = next(part["data"] for part in _parts_decoder.decode(message["parts"]) if "data" in part)
        skill = _skill_decoder.decode(said)
    except (msgspec.DecodeError, KeyError, StopIteration, RecursionError):
        return InvalidRequest(
            "The message has no data part that calls a skill.",
            suggestion='Send one part with the data {"skill": "get_adcp_capabilities", "input": {}}.',
        )
    finally:
        request.params = {"message": msgspec.Raw(msgspec.json.encode(_left(request.method, message)))}
    arguments = max(bytes(skill.input), bytes(skill.parameters), key=len)
    return Call(skill.skill, b"{}" if arguments == b"null" else arguments, principal, request_id, "a2a")


def _left(method: str, message: dict[str, msgspec.Raw]) -> dict[str, Any]:
    """What is left of a message: enough to be one in its version of the protocol."""
    left: dict[str, Any] = {"messageId": "1"}
    if method == "SendMessage":
        left |= {"role": "ROLE_USER", "parts": [{"data": {}}]}
    else:
        left |= {"kind": "message", "role": "user", "parts": [{"kind": "data", "data": {}}]}
    conversation = _text(message.get("contextId"))
    return left | ({"contextId": conversation} if conversation else {})


def _text(raw: msgspec.Raw | None) -> str:
    try:
        text: str = msgspec.json.decode(raw or b'""', type=Annotated[str, Meta(max_length=256)])
    except msgspec.DecodeError:
        return ""
    return text


def _with_answers(response: Response, answers: dict[str, bytes]) -> Response:
    """The library's response, with answers in the places that were kept for them."""
    body = bytes(response.body)
    for mark, answer in answers.items():
        body = body.replace(b'{"$answer":"%s"}' % mark.encode(), answer)
    return Response(body, response.status_code, media_type="application/json")


def _card(url: str, names: list[str]) -> a2a.AgentCard:
    capabilities = a2a.AgentCapabilities(streaming=False, push_notifications=False)
    extension = capabilities.extensions.add(uri=_EXTENSION, description="AdCP, the Ad Context Protocol")
    extension.params.update({"adcp_version": RELEASES[-1], "protocols_supported": ["media_buy"]})
    card = a2a.AgentCard(
        name="Postback",
        description="Conversion tracking for advertising: event sources, media buys, conversions, delivery.",
        version=version("postback"),
        capabilities=capabilities,
        default_input_modes=["application/json"],
        default_output_modes=["application/json"],
        supported_interfaces=[
            a2a.AgentInterface(url=f"{url}/a2a", protocol_binding="JSONRPC", protocol_version=spoken)
            for spoken in ("1.0", "0.3")
        ],
        skills=[
            a2a.AgentSkill(
                id=name, name=TASK_SCHEMAS[name].title, description=TASK_SCHEMAS[name].description, tags=["adcp"]
            )
            for name in names
        ],
    )
    card.security_schemes["bearer"].http_auth_security_scheme.scheme = "bearer"
    card.security_requirements.add().schemes["bearer"].SetInParent()
    return card
