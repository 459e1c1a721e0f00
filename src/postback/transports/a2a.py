"""A2A: the tasks as skills, over JSON-RPC, in its protocol versions 0.3 and 1.0.

A message carries one data part, ``{"skill": "log_event", "input": {...}}``; the answer is a finished task with one
artifact. Nothing is streamed, kept or cancelled, so every other method is refused. The official library has the shapes,
the errors and the agent's card. Its dispatcher isn't used: it would parse a batch twice, and quotes what callers sent.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Annotated, Any, Literal
from uuid import uuid4

import msgspec
from a2a.compat.v0_3.conversions import to_compat_task
from a2a.server.request_handlers.response_helpers import build_error_response
from a2a.server.routes import create_agent_card_routes
from a2a.types import a2a_pb2 as a2a
from a2a.utils.errors import (
    A2AError,
    ExtendedAgentCardNotConfiguredError,
    InvalidParamsError,
    MethodNotFoundError,
    PushNotificationNotSupportedError,
    TaskNotFoundError,
    UnsupportedOperationError,
    VersionNotSupportedError,
)
from google.protobuf.json_format import MessageToDict
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from postback.envelope import failure
from postback.errors import InvalidRequest
from postback.principal import Principal
from postback.protocol.releases import RELEASES
from postback.services import Services
from postback.signatures.verifier import unclear
from postback.tasks import Answer, Call, offered
from postback.transports.exchange import Exchange, received, run_task
from postback.transports.jsonrpc import NoMessage, RpcMessage, read_message
from postback.transports.schemas import TASK_SCHEMAS

__all__ = ["A2aEndpoint", "operation"]

Version = Literal["0.3", "1.0"]

_SENDING: dict[str, Version] = {"message/send": "0.3", "SendMessage": "1.0"}
_REFUSED: dict[str, type[A2AError]] = {
    # 0.3
    "message/stream": UnsupportedOperationError,
    "tasks/get": TaskNotFoundError,
    "tasks/cancel": TaskNotFoundError,
    "tasks/resubscribe": TaskNotFoundError,
    "tasks/pushNotificationConfig/set": PushNotificationNotSupportedError,
    "tasks/pushNotificationConfig/get": PushNotificationNotSupportedError,
    "tasks/pushNotificationConfig/list": PushNotificationNotSupportedError,
    "tasks/pushNotificationConfig/delete": PushNotificationNotSupportedError,
    "agent/getAuthenticatedExtendedCard": ExtendedAgentCardNotConfiguredError,
    # 1.0
    "SendStreamingMessage": UnsupportedOperationError,
    "GetTask": TaskNotFoundError,
    "ListTasks": UnsupportedOperationError,
    "CancelTask": TaskNotFoundError,
    "SubscribeToTask": TaskNotFoundError,
    "CreateTaskPushNotificationConfig": PushNotificationNotSupportedError,
    "GetTaskPushNotificationConfig": PushNotificationNotSupportedError,
    "ListTaskPushNotificationConfigs": PushNotificationNotSupportedError,
    "DeleteTaskPushNotificationConfig": PushNotificationNotSupportedError,
    "GetExtendedAgentCard": UnsupportedOperationError,
}
"""Methods of the protocol that have nothing to work on here, and how the protocol says so."""

_STREAMING = ("message/stream", "SendStreamingMessage")

_VERSION = re.compile(r"(0\.3|1\.0)(\.\d{1,9})?\Z")
_MOST_PARTS = 16
_EXTENSION = "https://adcontextprotocol.org/extensions/adcp"
_NONE = (b"", b"null", b"{}")


class _Params(msgspec.Struct):
    message: msgspec.Raw


class _Message(msgspec.Struct):
    """What is read of a message; its role and the rest mean nothing here."""

    parts: msgspec.Raw
    conversation: msgspec.Raw = msgspec.field(name="contextId", default=msgspec.Raw(b"null"))


class _Part(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw()


class _Skill(msgspec.Struct):
    """What a data part says: the specification calls the arguments ``input``, official clients ``parameters``."""

    skill: str = ""
    input: msgspec.Raw = msgspec.Raw()
    parameters: msgspec.Raw = msgspec.Raw()


# A sequence of this length and no more: what is longer is refused before it fills the memory.
_Parts = msgspec.defstruct(
    "_Parts",
    [(f"part_{number}", msgspec.Raw, msgspec.Raw()) for number in range(_MOST_PARTS)],
    array_like=True,
    forbid_unknown_fields=True,
)

_params_decoder = msgspec.json.Decoder(_Params)
_message_decoder = msgspec.json.Decoder(_Message)
_parts_decoder = msgspec.json.Decoder(_Parts)
_part_decoder = msgspec.json.Decoder(_Part)
_skill_decoder = msgspec.json.Decoder(_Skill)
_conversation_decoder = msgspec.json.Decoder(Annotated[str, Meta(max_length=256)] | None)

_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class A2aEndpoint:
    """The ASGI application of one A2A endpoint."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """The endpoint, and the card that tells agents of it."""
        card = _card(self._services.settings.public_url, offered(self._services.settings.sandbox))
        return [*create_agent_card_routes(card), *(Route(path, self, methods=["POST"]) for path in ("/", "/a2a"))]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal, body = await received(self._services, scope, receive, operation)
        exchange = Exchange.of(scope)
        try:
            request = read_message(body)
            if request.id is msgspec.UNSET:
                raise NoMessage.without_id()
        except NoMessage as error:
            exchange.outcome = InvalidRequest.reason
            await error.response(scope, receive, send)
            return
        try:
            result = await self._send_message(request, _asked_version(Request(scope)), principal, exchange)
            answered = msgspec.json.encode({"jsonrpc": "2.0", "id": request.id, "result": result})
        except A2AError as refusal:
            exchange.outcome = InvalidRequest.reason
            answered = msgspec.json.encode(build_error_response(request.id, refusal))
        await Response(answered, media_type="application/json")(scope, receive, send)

    async def _send_message(
        self, request: RpcMessage, asked: Version | None, principal: Principal, exchange: Exchange
    ) -> dict[str, Any]:
        """The result of the one method that does something.

        Raises:
            A2AError: The request is for another.
        """
        version = _SENDING.get(request.method)
        if version is None:
            raise _REFUSED.get(request.method, MethodNotFoundError)()
        if asked not in (None, version):
            raise MethodNotFoundError
        message = _message(request)
        conversation = _conversation(message)
        try:
            call = _call(message, principal, exchange.request_id)
        except InvalidRequest as error:
            exchange.outcome = error.reason
            answer = Answer(failure(error, None, exchange.request_id), error)
        else:
            answer = await run_task(self._services, exchange, call)
        return _SHAPES[version](answer, conversation)


def operation(body: bytes) -> str | None:
    """The skill that a body calls, as AdCP finds it for signatures; None when it sends no message.

    Raises:
        SignatureRefused: Its message hasn't exactly one data part, with a skill.
    """
    try:
        request = read_message(body)
        if request.method not in (*_SENDING, *_STREAMING):
            return None
        (data,) = _data_parts(_message(request))
        skill = _skill_decoder.decode(data).skill
    except (*_BROKEN, NoMessage, A2AError, ValueError):
        skill = ""
    if not skill:
        raise unclear("The message must have one data part, which calls a skill.")
    return skill


def _asked_version(request: Request) -> Version | None:
    """The version that a request names in its header or query; None when it names none: its method tells it.

    Raises:
        VersionNotSupportedError: It is another one.
    """
    named = request.headers.get("a2a-version") or request.query_params.get("A2A-Version", "")
    if not named:
        return None
    match = _VERSION.match(named.strip())
    if match is None:
        raise VersionNotSupportedError
    return "0.3" if match[1] == "0.3" else "1.0"


def _message(request: RpcMessage) -> _Message:
    try:
        return _message_decoder.decode(_params_decoder.decode(request.params).message)
    except _BROKEN:
        raise InvalidParamsError("params.message must be a message.") from None


def _conversation(message: _Message) -> str:
    """The conversation that a message belongs to: the caller's, or a new one."""
    try:
        return _conversation_decoder.decode(message.conversation) or uuid4().hex
    except _BROKEN:
        raise InvalidParamsError("contextId must be a string of at most 256 characters.") from None


def _data_parts(message: _Message) -> list[msgspec.Raw]:
    """The data of those parts of a message that have some; raises what the decoders do."""
    parts = [part for part in msgspec.structs.astuple(_parts_decoder.decode(message.parts)) if part]
    return [data for part in parts if (data := _part_decoder.decode(part).data)]


def _call(message: _Message, principal: Principal, request_id: str) -> Call:
    """What a message calls.

    Raises:
        InvalidRequest: No single data part calls a skill.
    """
    try:
        (skill,) = (skill for data in _data_parts(message) if (skill := _skill_decoder.decode(data)).skill)
    except (*_BROKEN, ValueError):
        raise InvalidRequest(
            "The message must have one data part that calls a skill.",
            suggestion='Send one part with the data {"skill": "get_adcp_capabilities", "input": {}}.',
        ) from None
    arguments = bytes(skill.input), bytes(skill.parameters)
    given = {said for said in arguments if said not in _NONE}
    if len(given) > 1:
        raise InvalidRequest(
            "The data part has both input and parameters, and they differ.",
            field="parameters",
            suggestion="Send the arguments once, as input.",
        )
    return Call(skill.skill, next(iter(given), b"{}"), principal, request_id, "a2a")


def _finished(answer: Answer, conversation: str, *, failed: bool) -> a2a.Task:
    state = a2a.TaskState.TASK_STATE_FAILED if failed else a2a.TaskState.TASK_STATE_COMPLETED
    part = a2a.Part()
    part.data.struct_value.SetInParent()
    task = a2a.Task(
        id=uuid4().hex,
        context_id=conversation,
        status=a2a.TaskStatus(state=state),
        artifacts=[a2a.Artifact(artifact_id="answer", parts=[part])],
    )
    task.status.timestamp.GetCurrentTime()
    return task


def _shaped_1_0(answer: Answer, conversation: str) -> dict[str, Any]:
    task = MessageToDict(_finished(answer, conversation, failed=answer.error is not None))
    task["artifacts"][0]["parts"][0]["data"] = answer.body
    return {"task": task}


def _shaped_0_3(answer: Answer, conversation: str) -> dict[str, Any]:
    # Official clients of 0.3 take the state for that of the exchange: of a failed task they read no answer.
    task = to_compat_task(_finished(answer, conversation, failed=False))
    shaped: dict[str, Any] = task.model_dump(mode="json", by_alias=True, exclude_none=True)
    shaped["artifacts"][0]["parts"][0]["data"] = answer.body
    return shaped


_SHAPES = {"0.3": _shaped_0_3, "1.0": _shaped_1_0}
"""A finished task in each version. The answer is put in afterwards: the library's numbers are all doubles."""


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
        # Official clients know the tasks by the skills' names.
        skills=[
            a2a.AgentSkill(id=name, name=name, description=TASK_SCHEMAS[name].description, tags=["adcp"])
            for name in names
        ],
    )
    card.security_schemes["bearer"].http_auth_security_scheme.scheme = "bearer"
    card.security_requirements.add().schemes["bearer"].SetInParent()
    return card
