"""A2A: the tasks as skills, over JSON-RPC, in its protocol versions 0.3 and 1.0.

A message has one data part, ``{"skill": "log_event", "input": {...}}``; the response is a completed task with one
artifact. It can be read again for a day; it can't be canceled, for it is finished. Nothing is streamed or pushed, so
every other method is refused. Tests compare the task, the errors and the agent card with the official SDK's;
docs/dependencies.md says why the server does without it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from uuid import uuid4

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from postback.auth.principal import Principal
from postback.auth.signatures.verifier import ambiguous_body
from postback.errors import InvalidRequest
from postback.protocol.envelope import failure
from postback.protocol.strict_json import UNREADABLE
from postback.services import Services
from postback.tasks.dispatch import Answer, Call
from postback.tasks.registry import TASKS, offered
from postback.transports.a2a_errors import (
    A2AError,
    ExtendedAgentCardNotConfiguredError,
    InvalidParamsError,
    MethodNotFoundError,
    PushNotificationNotSupportedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
    VersionNotSupportedError,
)
from postback.transports.a2a_tasks import ReturnedTask, ReturnedTasks
from postback.transports.agent_card import AGENT_CARD_PATH, agent_card
from postback.transports.jsonrpc import NoMessage, RpcMessage, read_message
from postback.transports.middleware import Exchange, received, run_task

__all__ = ["A2aEndpoint", "operation"]

Version = Literal["0.3", "1.0"]

_SENDING: dict[str, Version] = {"message/send": "0.3", "SendMessage": "1.0"}
_READING: dict[str, Version] = {"tasks/get": "0.3", "GetTask": "1.0"}
_CANCELING: dict[str, Version] = {"tasks/cancel": "0.3", "CancelTask": "1.0"}
_REFUSED: dict[str, type[A2AError]] = {
    # 0.3
    "message/stream": UnsupportedOperationError,
    "tasks/resubscribe": TaskNotFoundError,
    "tasks/pushNotificationConfig/set": PushNotificationNotSupportedError,
    "tasks/pushNotificationConfig/get": PushNotificationNotSupportedError,
    "tasks/pushNotificationConfig/list": PushNotificationNotSupportedError,
    "tasks/pushNotificationConfig/delete": PushNotificationNotSupportedError,
    "agent/getAuthenticatedExtendedCard": ExtendedAgentCardNotConfiguredError,
    # 1.0
    "SendStreamingMessage": UnsupportedOperationError,
    "ListTasks": UnsupportedOperationError,
    "SubscribeToTask": TaskNotFoundError,
    "CreateTaskPushNotificationConfig": PushNotificationNotSupportedError,
    "GetTaskPushNotificationConfig": PushNotificationNotSupportedError,
    "ListTaskPushNotificationConfigs": PushNotificationNotSupportedError,
    "DeleteTaskPushNotificationConfig": PushNotificationNotSupportedError,
    "GetExtendedAgentCard": UnsupportedOperationError,
}
"""Methods that this server does not support, and the protocol's error for each."""

_STREAMING = ("message/stream", "SendStreamingMessage")

_VERSION = re.compile(r"(0\.3|1\.0)(\.\d{1,9})?\Z")
_MOST_PARTS = 16
_NONE = (b"", b"null", b"{}")
_MAX_BYTES_BESIDE_ARGUMENTS = 65_536


class _Params(msgspec.Struct):
    message: msgspec.Raw
    configuration: msgspec.Raw = msgspec.Raw(b"null")


class _Configuration(msgspec.Struct):
    """Where A2A 0.3 and 1.0 have the webhook of a message, which stays unread."""

    webhook_0_3: msgspec.Raw = msgspec.field(name="pushNotificationConfig", default=msgspec.Raw())
    webhook_1_0: msgspec.Raw = msgspec.field(name="taskPushNotificationConfig", default=msgspec.Raw())


class _Message(msgspec.Struct):
    """The fields of a message that are read; its role and the rest are ignored."""

    parts: msgspec.Raw
    conversation: msgspec.Raw = msgspec.field(name="contextId", default=msgspec.Raw(b"null"))


class _TaskParams(msgspec.Struct):
    id: Annotated[str, Meta(max_length=256)]


class _Part(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw()


class _Skill(msgspec.Struct):
    """A data part. The specification calls the arguments ``input``; official clients call them ``parameters``."""

    skill: str = ""
    input: msgspec.Raw = msgspec.Raw()
    parameters: msgspec.Raw = msgspec.Raw()


# A sequence of at most this length: a longer one is refused before it fills memory.
_Parts = msgspec.defstruct(
    "_Parts",
    [(f"part_{number}", msgspec.Raw, msgspec.Raw()) for number in range(_MOST_PARTS)],
    array_like=True,
    forbid_unknown_fields=True,
)

_params_decoder = msgspec.json.Decoder(_Params)
_configuration_decoder = msgspec.json.Decoder(_Configuration | None)
_task_params_decoder = msgspec.json.Decoder(_TaskParams)
_message_decoder = msgspec.json.Decoder(_Message)
_parts_decoder = msgspec.json.Decoder(_Parts)
_part_decoder = msgspec.json.Decoder(_Part)
_skill_decoder = msgspec.json.Decoder(_Skill)
_conversation_decoder = msgspec.json.Decoder(Annotated[str, Meta(max_length=256)] | None)

_NOT_NOTIFIED = (
    "pushNotificationConfig is not served: every task is finished when it is returned, and no webhook is sent. Read "
    "the response instead."
)


class A2aEndpoint:
    """The ASGI application of one A2A endpoint."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tasks = ReturnedTasks(services.idempotency, services.folder.secret)

    def routes(self) -> list[Route]:
        """The endpoint, and the agent card that describes it."""
        settings = self._services.settings
        skills = {name: TASKS[name].description for name in offered(settings.sandbox)}
        card = JSONResponse(agent_card(settings.public_url, skills))

        async def show_card(_: Request) -> Response:
            return card

        return [
            Route(AGENT_CARD_PATH, show_card, methods=["GET"]),
            *(Route(path, self, methods=["POST"]) for path in ("/", "/a2a")),
        ]

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
            result = await self._result(request, _asked_version(Request(scope)), principal, exchange)
            answered = msgspec.json.encode({"jsonrpc": "2.0", "id": request.id, "result": result})
        except A2AError as refusal:
            exchange.outcome = InvalidRequest.reason
            refused = {"code": refusal.code, "message": str(refusal)}
            answered = msgspec.json.encode({"jsonrpc": "2.0", "id": request.id, "error": refused})
        await Response(answered, media_type="application/json")(scope, receive, send)

    async def _result(
        self, request: RpcMessage, asked: Version | None, principal: Principal, exchange: Exchange
    ) -> dict[str, Any]:
        """The result of a supported method.

        Raises:
            A2AError: The request calls another method, names no task of the caller, or cancels one.
            StoreUnavailable: The control store is unavailable.
        """
        version = (_SENDING | _READING | _CANCELING).get(request.method)
        if version is None:
            raise _REFUSED.get(request.method, MethodNotFoundError)()
        if asked not in (None, version):
            raise MethodNotFoundError
        if request.method in _SENDING:
            task = await self._answered(request, principal, exchange)
            return {"task": task.in_1_0()} if version == "1.0" else task.in_0_3()
        found = await self._tasks.find(principal, _task_id(request))
        if found is None:
            raise TaskNotFoundError
        if request.method in _CANCELING:
            raise TaskNotCancelableError
        return found.in_1_0() if version == "1.0" else found.in_0_3()

    async def _answered(self, request: RpcMessage, principal: Principal, exchange: Exchange) -> ReturnedTask:
        """The task that a message is answered with."""
        message = _message(request)
        conversation = _conversation(message)
        try:
            call = _call(request.params, message, principal, exchange.request_id)
        except InvalidRequest as error:
            exchange.outcome = error.reason
            answer = Answer(failure(error, exchange.request_id), error)
        else:
            answer = await run_task(self._services, exchange, call)
        if answer.error is None and _wants_notifications(request):
            answer.body["ext"]["postback"].setdefault("warnings", []).append(_NOT_NOTIFIED)
        task = ReturnedTask.of(answer, conversation)
        await self._tasks.save(principal, task, answer.error)
        return task


def operation(body: bytes) -> str | None:
    """The skill that a body calls, found as AdCP's signature profile says; None when it sends no message.

    Raises:
        SignatureRefused: Its message does not have exactly one data part, with a skill.
    """
    try:
        request = read_message(body)
        if request.method not in (*_SENDING, *_STREAMING):
            return None
        (data,) = _data_parts(_message(request))
        skill = _skill_decoder.decode(data).skill
    except (*UNREADABLE, NoMessage, A2AError, ValueError):
        skill = ""
    if not skill:
        raise ambiguous_body("The message must have exactly one data part, and that part must name a skill.")
    return skill


def _asked_version(request: Request) -> Version | None:
    """The version that a request names in its header or query; None when it names none and its method decides.

    Raises:
        VersionNotSupportedError: It names a version other than 0.3 and 1.0.
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
    except UNREADABLE:
        raise InvalidParamsError("params.message must be an A2A message object with parts.") from None


def _wants_notifications(request: RpcMessage) -> bool:
    """Whether a message asks to be notified of its task, which the agent card says is not supported."""
    try:
        configuration = _configuration_decoder.decode(_params_decoder.decode(request.params).configuration)
    except UNREADABLE:
        return False
    return configuration is not None and any(
        bytes(webhook) not in _NONE for webhook in msgspec.structs.astuple(configuration)
    )


def _task_id(request: RpcMessage) -> str:
    """The id of the task that a request is about: the bare id in 0.3, ``tasks/<id>`` too in 1.0."""
    try:
        task_id = _task_params_decoder.decode(request.params).id
    except UNREADABLE:
        raise InvalidParamsError("params.id must be the id of a task.") from None
    return task_id.removeprefix("tasks/")


def _conversation(message: _Message) -> str:
    """The conversation that a message belongs to: the caller's, or a new one."""
    try:
        return _conversation_decoder.decode(message.conversation) or uuid4().hex
    except UNREADABLE:
        raise InvalidParamsError("contextId must be a string of at most 256 characters.") from None


def _data_parts(message: _Message) -> list[msgspec.Raw]:
    """The data of each part of a message that has some; raises the decoders' errors."""
    parts = [part for part in msgspec.structs.astuple(_parts_decoder.decode(message.parts)) if part]
    return [data for part in parts if (data := _part_decoder.decode(part).data)]


def _call(params: msgspec.Raw, message: _Message, principal: Principal, request_id: str) -> Call:
    """The task call in a message, which the params of a request have.

    Raises:
        InvalidParamsError: The params are too large beside the arguments.
        InvalidRequest: Not exactly one data part names a skill.
    """
    try:
        (skill,) = (skill for data in _data_parts(message) if (skill := _skill_decoder.decode(data)).skill)
    except (*UNREADABLE, ValueError):
        raise InvalidRequest(
            "The message must have exactly one data part that names a skill.",
            suggestion='Send one part with the data {"skill": "get_adcp_capabilities", "input": {}}.',
        ) from None
    arguments = bytes(skill.input), bytes(skill.parameters)
    if memoryview(params).nbytes - sum(map(len, arguments)) > _MAX_BYTES_BESIDE_ARGUMENTS:
        bound = f"{_MAX_BYTES_BESIDE_ARGUMENTS:,} bytes"
        raise InvalidParamsError(f"params must have at most {bound} beside the skill's arguments.")
    given = {sent for sent in arguments if sent not in _NONE}
    if len(given) > 1:
        raise InvalidRequest(
            "The data part has both input and parameters, and they differ.",
            field="parameters",
            suggestion="Send the arguments once, as input.",
        )
    return Call(skill.skill, next(iter(given), b"{}"), principal, request_id, "a2a")
