"""One HTTP exchange: its request id, its line in the access log, its metrics, and the response to whatever fails."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from postback.auth.in_flight import SMALL_BODY_BYTES, RequestShare
from postback.auth.principal import Principal
from postback.auth.signatures.verifier import Operation
from postback.errors import (
    BodyTooLarge,
    InternalError,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    PostbackError,
    RateLimitExceeded,
)
from postback.logs import LogFields, RequestContext, current_request
from postback.metrics import Metrics
from postback.protocol.envelope import failure
from postback.services import Services
from postback.tasks.dispatch import Answer, Call, Transport, run
from postback.tasks.registry import SELLER_TASKS, TASKS
from postback.transports.authentication import authenticate, request_id, require
from postback.transports.body import read_body
from postback.transports.client_address import client_address
from postback.transports.responses import failure_response

__all__ = [
    "AccessLine",
    "Exchange",
    "ExchangeMiddleware",
    "identify",
    "read",
    "received",
    "run_task",
]

_access = logging.getLogger("postback.access")
_defects = logging.getLogger("postback.defects")
_CLIENT_CLOSED = 499
"""Logged when the caller disconnected before the response; never sent."""


_PART_BYTES = 262_144
"""What is sent of a response before the caller has taken what was sent."""

_UNREAD = Overloaded(
    "Too many large responses to this API key are not read yet.",
    retry_after=1,
    suggestion="Read the responses to other requests, then retry. The call was done, if it was to do something.",
)


class AccessLine(LogFields):
    """The line of one exchange in the access log.

    Attributes:
        method: The HTTP method; None for a path that isn't a route, as callers choose both.
        path: The template of the path, because the path itself contains event ids; None likewise.
        task: The task that was called, or None.
        status: The HTTP status that was sent.
        outcome: ``ok``, or the reason that the call failed as a whole.
        duration_ms: Time from the request's head to the end of the response.
        request_bytes: Size of the request's body, inflated; 0 when it wasn't read to its end.
        response_bytes: Size of the response's body.
    """

    method: str | None
    path: str | None
    task: str | None
    status: int
    outcome: str
    duration_ms: float
    request_bytes: int
    response_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.method or '-'} {self.path or '-'} task={self.task or '-'} status={self.status} "
            f"outcome={self.outcome} ms={self.duration_ms} in={self.request_bytes} out={self.response_bytes}"
        )


@dataclass(slots=True)
class Exchange:
    """What is known of an exchange so far.

    Attributes:
        headers: The request's headers, by their names in lower case; the first one of each name.
        context: The ids that every line of its log carries.
        transport: The transport of a task call; None when no task was called.
        task: The task that was called, ``unknown`` when there is none of that name.
        outcome: ``ok``, or the reason that the call failed as a whole.
        status: The HTTP status that was sent.
        request_bytes: Size of the request's body, inflated.
        response_bytes: Size of the response's body, as far as it was sent.
        share: What it takes of the server, from authentication to its end.
        in_sum: Whether it is logged in sum with others, and not in a line of its own.
        started: When it began, by the performance counter.
    """

    headers: Mapping[str, str]
    context: RequestContext
    transport: Transport | None = None
    task: str = "-"
    outcome: str = "ok"
    status: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    share: RequestShare | None = None
    in_sum: bool = False
    started: float = field(default_factory=time.perf_counter)

    @property
    def request_id(self) -> str:
        """Identifies the exchange in the log and in the response."""
        return self.context.request_id

    @classmethod
    def begun(cls, scope: Scope) -> Exchange:
        """A new exchange, which the scope belongs to from now on."""
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        exchange = scope["postback.exchange"] = cls(headers, RequestContext(request_id(headers)))
        return exchange

    @staticmethod
    def of(scope: Scope) -> Exchange:
        """The exchange that a scope belongs to."""
        exchange: Exchange = scope["postback.exchange"]
        return exchange

    def calls(self, transport: Transport, task: str) -> None:
        """Record which task is called, and over which transport."""
        self.transport = transport
        self.task = task if task in TASKS or task in SELLER_TASKS else "unknown"

    def fail(self, error: PostbackError) -> Response:
        """The response to an error that kept a task from running."""
        self.outcome = error.reason
        return failure_response(error, self.request_id)

    def defect(self, error: Exception) -> InternalError:
        """Log an unexpected exception; returns the error that the caller gets."""
        _defects.error("request %s failed", self.request_id, exc_info=error)
        return InternalError("An internal error occurred. It is logged with the request_id.")


async def identify(services: Services, scope: Scope) -> Principal | None:
    """The caller; None when the request has no key.

    Everything that can be refused by the head alone is refused here, before any of the body is read.

    Raises:
        AuthInvalid: The key is unknown or revoked.
        RateLimitExceeded: The key has made too many requests, or has too many under way; or the caller's address has
            sent too many keys that are not valid.
    """
    exchange = Exchange.of(scope)
    keys, failed, threads = services.keys, services.failed_keys, services.threads.ingestion
    client = partial(client_address, scope, services.settings.trusted_proxies)
    try:
        principal = await authenticate(keys, failed, exchange.headers, client, threads)
    except RateLimitExceeded:
        exchange.in_sum = True
        raise
    if principal:
        exchange.context.key_id = principal.key_id
        services.limits.hit_request(principal.key_id)
        exchange.share = services.in_flight.begin(principal.key_id)
    return principal


async def received(
    services: Services, scope: Scope, receive: Receive, operation: Operation = lambda _: ""
) -> tuple[Principal, bytes]:
    """The caller and the body of the request; signed, if the caller's API key requires it.

    Args:
        services: The opened resources.
        scope: The request's ASGI scope.
        receive: Its channel.
        operation: Returns the task that the body calls; a request without a task must always be signed.

    Raises:
        AuthMissing, AuthInvalid, SignatureRefused: The caller is not authenticated.
        BodyTooLarge, InvalidRequest: The body can't be read.
        RateLimitExceeded, Overloaded: The body was not read, or not to its end.
    """
    principal = require(await identify(services, scope))
    body = await read(services, scope, receive, services.settings.max_body_bytes)
    await services.signatures.verify(scope, body, principal, operation)
    return principal, body


async def read(services: Services, scope: Scope, receive: Receive, limit: int) -> bytes:
    """Read and inflate the body of a request, at most ``limit`` bytes; timed and counted.

    Raises:
        BodyTooLarge, InvalidRequest: The body can't be read.
        RateLimitExceeded: The key may log no more events in this minute, and the body is large.
        Overloaded: There is no memory for the body.
    """
    exchange = Exchange.of(scope)
    hold = exchange.share.hold if exchange.share else _hold_nothing
    key_id = exchange.context.key_id
    refusal = services.limits.events_refusal(key_id) if key_id else None
    if refusal:  # a call without events is small
        limit = min(limit, SMALL_BODY_BYTES)
    try:
        with services.metrics.request_stages.time("read"):
            body = await read_body(exchange.headers, receive, limit, services.threads.compute, hold)
    except BodyTooLarge:
        if refusal is None:
            raise
        services.metrics.refused("events")
        raise refusal from None
    exchange.request_bytes = len(body)
    return body


async def _hold_nothing(_: int) -> None:
    """For callers without a key, whose bodies are small."""


async def run_task(services: Services, exchange: Exchange, call: Call) -> Answer:
    """Run the task that an exchange calls."""
    exchange.calls(call.transport, call.task)
    services.metrics.request_size(call.transport, len(call.arguments))
    try:
        answer = await run(services, call)
    except Exception as unexpected:
        error = exchange.defect(unexpected)
        answer = Answer(failure(error, exchange.request_id), error)
    exchange.outcome = answer.error.reason if answer.error else "ok"
    return answer


class ExchangeMiddleware:
    """Wraps the router: gives each exchange an id, answers what fails, logs and counts it at its end."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self  # so that the router raises what it refuses, instead of answering it
        exchange = Exchange.begun(scope)
        bound = current_request.set(exchange.context)
        numbered = b"x-request-id", exchange.request_id.encode()
        refused = False

        async def send_numbered(message: Message) -> None:
            nonlocal refused
            if refused:
                return
            if message["type"] == "http.response.start":
                if exchange.share and not exchange.share.take(_size(message)):
                    await exchange.fail(_UNREAD)(scope, receive, send_numbered)
                    refused = True
                    return
                exchange.status = message["status"]
                message["headers"] = [*message["headers"], numbered]
            else:
                size = len(message.get("body", b""))
                exchange.response_bytes += size
                if size > _PART_BYTES:
                    await _send_in_parts(send, message)
                    return
            await send(message)

        try:
            await self.app(scope, receive, send_numbered)
        except ClientDisconnect:
            exchange.status = _CLIENT_CLOSED
        except Exception as error:  # whatever it is, the caller gets one kind of answer
            if exchange.status:
                exchange.defect(error)
            else:
                await _response_to(error, exchange)(scope, receive, send_numbered)
        finally:
            if exchange.share:
                exchange.share.end()
            self._record(scope, exchange)
            current_request.reset(bound)

    def _record(self, scope: Scope, exchange: Exchange) -> None:
        seconds = time.perf_counter() - exchange.started
        if exchange.transport:
            self.metrics.request(exchange.task, exchange.transport, exchange.outcome, seconds)
        if exchange.in_sum or not _access.isEnabledFor(logging.INFO):
            return
        path = getattr(scope.get("route"), "path", None)
        line = AccessLine(
            message="request",
            method=scope["method"] if path else None,
            path=path,
            task=exchange.task if exchange.transport else None,
            status=exchange.status,
            outcome=exchange.outcome,
            duration_ms=round(seconds * 1000, 1),
            request_bytes=exchange.request_bytes,
            response_bytes=exchange.response_bytes,
        )
        # Not by info(), which looks for the calling line of code: no formatter shows that.
        _access.handle(logging.LogRecord(_access.name, logging.INFO, __file__, 0, line, None, None))


async def _send_in_parts(send: Send, message: Message) -> None:
    """Send a large body as fast as the caller takes it, so that its memory is set apart until it is sent."""
    body: bytes = message["body"]
    last = (len(body) - 1) // _PART_BYTES * _PART_BYTES
    for at in range(0, last, _PART_BYTES):
        await send({**message, "body": body[at : at + _PART_BYTES], "more_body": True})
        await asyncio.sleep(0)  # the part is written, and the next waits if it is not taken
    await send({**message, "body": body[last:]})


def _size(start: Message) -> int:
    """The size of a response that is made already; 0 for one that is made as it is sent."""
    return next((int(value) for name, value in start["headers"] if name == b"content-length"), 0)


def _response_to(error: Exception, exchange: Exchange) -> Response:
    """The response to what kept an exchange from its own."""
    if isinstance(error, PostbackError):
        return exchange.fail(error)
    if isinstance(error, HTTPException):
        return _response_to_refusal(error, exchange)
    return exchange.fail(exchange.defect(error))


def _response_to_refusal(error: HTTPException, exchange: Exchange) -> Response:
    """The response to what the router refuses: an unknown path, or a method that the path doesn't have."""
    refused: PostbackError = NotFound("This path does not exist.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        refused = MethodNotAllowed(f"This path requires {(error.headers or {}).get('Allow', 'another method')}.")
    response = exchange.fail(refused)
    response.headers.update(error.headers or {})
    return response
