"""The REST API: ``POST /v1/<task>``, events, conversions and click links, and the endpoints that operators need."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from hmac import compare_digest
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from postback.auth.principal import Principal
from postback.auth.senders import sender
from postback.errors import AuthMissing, StoreUnavailable
from postback.exposures.click_traffic import visitor_of
from postback.metrics import METRICS_CONTENT_TYPE
from postback.services import Services
from postback.tasks.dispatch import Call, require_scope
from postback.tasks.finalize_package import finalize_package
from postback.tasks.follow_click_link import follow
from postback.tasks.list_conversions import media_buy_conversions
from postback.tasks.look_up_event import look_up_event
from postback.tasks.registry import offered
from postback.transports.authentication import api_key
from postback.transports.client_address import client_address
from postback.transports.middleware import Exchange, received, run_task
from postback.transports.readiness import warnings_if_ready
from postback.transports.responses import json_response
from postback.transports.schemas.openapi import openapi_json
from postback.transports.shared_answer import SharedAnswer

__all__ = ["monitoring_routes", "routes"]

_log = logging.getLogger(__name__)
_NO_STORE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer-when-downgrade"}


def routes(services: Services, further_paths: Mapping[str, Any]) -> list[Route]:
    """The routes of the REST API; ``further_paths`` are those of others that its OpenAPI description has, too."""
    rest = _Rest(services, further_paths)
    return [
        Route("/v1/{task}", _Tasks(services), methods=["POST"]),
        Route("/v1/events/{event_source_id}/{event_type}/{event_id:path}", rest.event, methods=["GET"]),
        Route("/v1/media-buys/{media_buy_id}/conversions", rest.conversions, methods=["GET"]),
        Route("/v1/media-buys/{media_buy_id}/packages/{package_id}/finalize", rest.finalize, methods=["POST"]),
        Route("/c/{token}", rest.click, methods=["GET"]),
        Route("/openapi.json", rest.openapi, methods=["GET"]),
        *monitoring_routes(services),
    ]


def monitoring_routes(services: Services) -> list[Route]:
    """The routes that operators need; a server that takes no calls has no others."""
    monitoring = _Monitoring(services)
    return [
        Route("/healthz", monitoring.healthz, methods=["GET"]),
        Route("/readyz", monitoring.readyz, methods=["GET"]),
        Route("/metrics", monitoring.metrics, methods=["GET"]),
    ]


class _Tasks:
    """Every task under its name; an ASGI application, since Starlette wraps functions twice over."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one AdCP task; an empty body means no arguments."""
        task: str = scope["path_params"]["task"]
        exchange = Exchange.of(scope)
        exchange.calls("rest", task)
        principal, body = await received(self._services, scope, receive, lambda _: task)
        call = Call(task, body or b"{}", principal, exchange.request_id, "rest")
        answer = await run_task(self._services, exchange, call)
        await json_response(answer.body, answer.error)(scope, receive, send)


class _Rest:
    def __init__(self, services: Services, further_paths: Mapping[str, Any]) -> None:
        self._services = services
        self._warned = False
        settings = services.settings
        self._openapi = openapi_json(settings.public_url, offered(settings.sandbox), further_paths)

    async def _caller(self, request: Request) -> Principal:
        """The caller of a request that is not a task call."""
        principal, _ = await received(self._services, request.scope, request.receive)
        return principal

    async def event(self, request: Request) -> Response:
        """Look up one event."""
        principal = await self._caller(request)
        account_id = request.query_params.get("account_id")
        found = await self._services.read_events(
            principal.account_ids, look_up_event, self._services, principal, account_id, **request.path_params
        )
        return json_response(found)

    async def conversions(self, request: Request) -> Response:
        """List the conversions attributed to a media buy."""
        principal = await self._caller(request)
        query = dict(request.query_params)
        media_buy_id = request.path_params["media_buy_id"]
        accounts = [account.account_id for account in principal.accounts]
        found = await self._services.read_events(
            accounts, media_buy_conversions, self._services, principal, media_buy_id, query
        )
        return json_response(found)

    async def finalize(self, request: Request) -> Response:
        """Make the numbers of a package final."""
        principal = await self._caller(request)
        require_scope(principal, "seller")
        account_id = request.query_params.get("account_id")
        final = await finalize_package(self._services, principal, account_id=account_id, **request.path_params)
        return json_response(final)

    async def click(self, request: Request) -> Response:
        """Record a click and redirect; a HEAD request, which no visitor makes, is not redirected."""
        if request.method == "HEAD":
            return Response(headers=_NO_STORE)
        visitor = visitor_of(await self._sender(request), request.headers)
        target = await follow(self._services, request.path_params["token"], visitor)
        if target is None:  # browsers don't use a prefetched page with this status
            return Response(status_code=503, headers=_NO_STORE)
        return Response(status_code=302, headers={"Location": target, **_NO_STORE})

    async def _sender(self, request: Request) -> str:
        """Whom a request without a key is counted for."""
        client = await client_address(request.scope, self._services.settings.trusted_proxies)
        forwarded_for = request.headers.get("x-forwarded-for")
        if forwarded_for and client and client[0] not in forwarded_for and not self._warned:
            self._warned = True
            _log.warning(
                "Clicks come with X-Forwarded-For from an address that is not a trusted proxy, and count as that "
                "address's own. If it is your proxy, name it in POSTBACK_TRUSTED_PROXIES."
            )
        return sender(client)

    async def openapi(self, _: Request) -> Response:
        """Return the OpenAPI description of this API."""
        return Response(self._openapi, media_type="application/json")


class _Monitoring:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._readiness = SharedAnswer(partial(warnings_if_ready, services))
        self._metrics = SharedAnswer(partial(services.threads.ingestion.run, services.metrics.render))

    async def healthz(self, _: Request) -> Response:
        """Report that the process answers, and nothing in it hangs."""
        if problem := self._services.watchdog.problem:
            raise StoreUnavailable(problem, retry_after=1)
        return json_response({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        """Report that events are accepted; say so if they only wait in the ingest log, or what else is wrong."""
        warning = " ".join(filter(None, [*await self._readiness.get(), self._services.clock.problem]))
        return json_response({"status": "ok", "warning": warning} if warning else {"status": "ok"})

    async def metrics(self, request: Request) -> Response:
        """Return the metrics in Prometheus' format, to whoever has the token if there is one."""
        token = self._services.settings.metrics_token
        given = api_key(request.headers) or ""
        if token and not compare_digest(given.encode(), token.encode()):
            raise AuthMissing(
                "The metrics require the token of POSTBACK_METRICS_TOKEN.",
                suggestion="Send it as 'Authorization: Bearer TOKEN'.",
            )
        return Response(await self._metrics.get(), media_type=METRICS_CONTENT_TYPE)
