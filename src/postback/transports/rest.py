"""The REST surface: ``POST /v1/<task>``, what became of an event, and what operators need."""

from __future__ import annotations

from functools import partial

from anyio import to_thread
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from postback.conversions import finalize_package, media_buy_conversions
from postback.errors import StoreUnavailable
from postback.exposures.links import follow
from postback.metrics import METRICS_CONTENT_TYPE
from postback.principal import Principal
from postback.services import Services
from postback.tasks import Call, offered, require_scope
from postback.transports.exchange import Exchange, received, run_task
from postback.transports.failures import json_response
from postback.transports.openapi import openapi_json
from postback.verdicts import event_verdicts

__all__ = ["routes"]


def routes(services: Services) -> list[Route]:
    """The routes of the REST surface."""
    rest = _Rest(services)
    return [
        Route("/v1/{task}", rest.task, methods=["POST"]),
        Route("/v1/events/{event_source_id}/{event_type}/{event_id:path}", rest.event, methods=["GET"]),
        Route("/v1/media-buys/{media_buy_id}/conversions", rest.conversions, methods=["GET"]),
        Route("/v1/media-buys/{media_buy_id}/packages/{package_id}/finalize", rest.finalize, methods=["POST"]),
        Route("/c/{token}", rest.click, methods=["GET"]),
        Route("/healthz", rest.healthz, methods=["GET"]),
        Route("/readyz", rest.readyz, methods=["GET"]),
        Route("/metrics", rest.metrics, methods=["GET"]),
        Route("/openapi.json", rest.openapi, methods=["GET"]),
    ]


_NO_STORE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer-when-downgrade"}


class _Rest:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._openapi = openapi_json(services.settings.public_url, offered(services.settings.sandbox))

    async def task(self, request: Request) -> Response:
        """Run one AdCP task; an empty body stands for no arguments."""
        task: str = request.path_params["task"]
        exchange = Exchange.of(request.scope)
        exchange.calls("rest", task)
        principal, body = await received(self._services, request.scope, request.receive, lambda _: task)
        call = Call(task, body or b"{}", principal, exchange.request_id, "rest")
        answer = await run_task(self._services, exchange, call)
        return json_response(answer.body, answer.error)

    async def _caller(self, request: Request) -> Principal:
        """Who asks for something that no task gives; counted as a request."""
        principal, _ = await received(self._services, request.scope, request.receive)
        self._services.limits.hit_request(principal.key_id)
        return principal

    async def event(self, request: Request) -> Response:
        """Say what became of one event."""
        principal = await self._caller(request)
        account_id = request.query_params.get("account_id")
        found = await to_thread.run_sync(
            partial(event_verdicts, self._services, principal, account_id, **request.path_params)
        )
        return json_response(found)

    async def conversions(self, request: Request) -> Response:
        """List what is attributed to a media buy."""
        principal = await self._caller(request)
        query = dict(request.query_params)
        media_buy_id = request.path_params["media_buy_id"]
        found = await to_thread.run_sync(media_buy_conversions, self._services, principal, media_buy_id, query)
        return json_response(found)

    async def finalize(self, request: Request) -> Response:
        """Make the numbers of a package final."""
        principal = await self._caller(request)
        require_scope(principal, "seller")
        account_id = request.query_params.get("account_id")
        final = await to_thread.run_sync(
            partial(finalize_package, self._services, principal, account_id=account_id, **request.path_params)
        )
        return json_response(final)

    async def click(self, request: Request) -> Response:
        """Record a click and lead on; a HEAD request, which no visitor makes, leads nowhere."""
        if request.method == "HEAD":
            return Response(headers=_NO_STORE)
        target = await follow(self._services, request.path_params["token"])
        return Response(status_code=302, headers={"Location": target, **_NO_STORE})

    async def healthz(self, _: Request) -> Response:
        """Say that the process answers."""
        return json_response({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        """Say that both stores answer and can be written."""
        await to_thread.run_sync(_ask_stores, self._services)
        return json_response({"status": "ok"})

    async def metrics(self, _: Request) -> Response:
        """Give the counters to Prometheus."""
        rendered = await to_thread.run_sync(self._services.metrics.render)
        return Response(rendered, media_type=METRICS_CONTENT_TYPE)

    async def openapi(self, _: Request) -> Response:
        """Describe this surface."""
        return Response(self._openapi, media_type="application/json")


def _ask_stores(services: Services) -> None:
    """Ask both stores for a sign of life; raises StoreUnavailable when one gives none, or has no room."""
    services.folder.check_room()
    with services.control.connect() as connection:
        connection.execute(select(1))
    if not services.events.ping():
        raise StoreUnavailable("The event store is not available.", retry_after=1)
