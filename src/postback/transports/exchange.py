"""One HTTP exchange: its request id, its line in the access log, its count, and the answer to anything that breaks."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from postback import tasks
from postback.envelope import failure
from postback.errors import InternalError, MethodNotAllowed, NotFound, PostbackError
from postback.metrics import Metrics
from postback.principal import Principal
from postback.services import Services
from postback.signatures.verifier import Operation
from postback.tasks import Answer, Call, Transport
from postback.transports.body import read_body
from postback.transports.failures import failure_response
from postback.transports.headers import authenticate, request_id, require

__all__ = ["EXCEPTION_HANDLERS", "Exchange", "ExchangeMiddleware", "identify", "received", "run_task"]

_access = logging.getLogger("postback.access")
_defects = logging.getLogger("postback.defects")
_CLIENT_CLOSED = 499
"""Logged when the caller went away before it was answered; never sent."""


@dataclass(slots=True)
class Exchange:
    """What is known of an exchange so far.

    Attributes:
        request_id: Identifies the exchange in the log and in the answer.
        key_id: The API key that was used, or ``-``.
        transport: Which door a task call came through; None when no task was called.
        task: The task that was called, ``unknown`` when there is none of that name.
        outcome: ``ok``, or the reason that the call failed as a whole.
        status: The HTTP status that was sent.
        started: When it began, by the performance counter.
    """

    request_id: str
    key_id: str = "-"
    transport: Transport | None = None
    task: str = "-"
    outcome: str = "ok"
    status: int = 0
    started: float = field(default_factory=time.perf_counter)

    @staticmethod
    def of(scope: Scope) -> Exchange:
        """The exchange that a scope belongs to."""
        exchange: Exchange = scope["postback.exchange"]
        return exchange

    def calls(self, transport: Transport, task: str) -> None:
        """Note which task is called, and through which door."""
        self.transport = transport
        self.task = task if task in tasks.TASKS or task in tasks.SELLER_TASKS else "unknown"

    def fail(self, error: PostbackError) -> Response:
        """The answer to an error that kept a task from running."""
        self.outcome = error.reason
        return failure_response(error, self.request_id)

    def defect(self, error: Exception) -> InternalError:
        """Log an exception that nobody expected; what the caller is told of it."""
        _defects.error("request %s failed", self.request_id, exc_info=error)
        return InternalError("Something went wrong here. It has been logged with the request_id.")


async def identify(services: Services, scope: Scope) -> Principal | None:
    """Who calls; None when the request has no key.

    Raises:
        AuthInvalid: The key is unknown or revoked.
    """
    principal = await authenticate(services.keys, Headers(scope=scope))
    if principal:
        Exchange.of(scope).key_id = principal.key_id
    return principal


async def received(
    services: Services, scope: Scope, receive: Receive, operation: Operation = lambda _: ""
) -> tuple[Principal, bytes]:
    """Who calls, and the body of the request; signed, if the caller's API key asks for it.

    Args:
        services: The opened resources.
        scope: The request's ASGI scope.
        receive: Its channel.
        operation: Tells which task the body calls; what no task gives must always be signed.

    Raises:
        AuthMissing, AuthInvalid, SignatureRefused: The caller isn't known.
        BodyTooLarge, InvalidRequest: The body can't be read.
    """
    principal = require(await identify(services, scope))
    body = await read_body(Headers(scope=scope), receive, services.settings.max_body_bytes)
    await services.signatures.verify(scope, body, principal, operation)
    return principal, body


async def run_task(services: Services, exchange: Exchange, call: Call) -> Answer:
    """Run the task that an exchange calls."""
    exchange.calls(call.transport, call.task)
    services.metrics.body(call.transport, len(call.arguments))
    try:
        answer = await tasks.run(services, call)
    except Exception as unexpected:
        error = exchange.defect(unexpected)
        answer = Answer(failure(error, None, exchange.request_id), error)
    exchange.outcome = answer.error.reason if answer.error else "ok"
    return answer


class ExchangeMiddleware:
    """Wraps the application: numbers each exchange, answers what breaks, logs and counts it at its end."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = scope["postback.exchange"] = Exchange(request_id(Headers(scope=scope)))

        async def send_numbered(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = exchange.request_id
            await send(message)

        try:
            await self.app(scope, receive, send_numbered)
        except ClientDisconnect:
            exchange.status = _CLIENT_CLOSED
        except Exception as unexpected:
            error = exchange.defect(unexpected)
            if not exchange.status:
                await exchange.fail(error)(scope, receive, send_numbered)
        finally:
            self._note(scope, exchange)

    def _note(self, scope: Scope, exchange: Exchange) -> None:
        seconds = time.perf_counter() - exchange.started
        if exchange.transport:
            self.metrics.request(exchange.task, exchange.transport, exchange.outcome, seconds)
        # The template of the path only: the path itself holds event ids.
        path = getattr(scope.get("route"), "path", "-")
        _access.info(
            "%s %s task=%s status=%d outcome=%s ms=%.1f key=%s request=%s",
            scope["method"] if path != "-" else "-",
            path,
            exchange.task,
            exchange.status,
            exchange.outcome,
            seconds * 1000,
            exchange.key_id,
            exchange.request_id,
        )


async def _known(request: Request, error: PostbackError) -> Response:
    return Exchange.of(request.scope).fail(error)


async def _http(request: Request, error: HTTPException) -> Response:
    """What the router refuses: an unknown path, or a method that the path doesn't have."""
    refused: PostbackError = NotFound("There is nothing at this path.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        refused = MethodNotAllowed(f"This path takes {(error.headers or {}).get('Allow', 'another method')} only.")
    response = Exchange.of(request.scope).fail(refused)
    response.headers.update(error.headers or {})
    return response


EXCEPTION_HANDLERS: dict[Any, Any] = {PostbackError: _known, HTTPException: _http}
"""For ``Starlette(exception_handlers=...)``: every error gets the same body."""
