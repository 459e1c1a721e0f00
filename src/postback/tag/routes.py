"""The addresses of the browser tag: its script, its settings, where it sends events, and the pixel."""

from __future__ import annotations

import gzip
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from postback.auth.principal import Principal
from postback.auth.senders import sender
from postback.errors import (
    AuthError,
    BatchTooLarge,
    BodyTooLarge,
    InvalidRequest,
    NotFound,
    OriginNotAllowed,
    PostbackError,
    TransientError,
)
from postback.event_sources.tag_settings import tag_event_types
from postback.exposures.click_traffic import visitor_of
from postback.services import Services
from postback.tag.pixel import GIF, pixel_call
from postback.tag.script import CURRENT, SCRIPTS
from postback.tag.visits import DROPPED, MAX_BODY_BYTES, TagCall, Visit, log_event_arguments, page_of, read_call
from postback.tasks.dispatch import Call
from postback.transports.client_address import client_address
from postback.transports.middleware import Exchange, read, run_task
from postback.transports.responses import json_response

__all__ = ["TagAnswer", "TagError", "TagSource", "routes"]

_SELLER_ID = re.compile(r"src_[0-9a-f]{16}")
_YEAR = "public, max-age=31536000, immutable"
_SHORT = "public, max-age=300"
_FOR_EVERY_PAGE = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
_PIXEL_HEADERS = {"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "cross-origin"}
_WITHHELD = ("FROM_BROWSER:", "DUPLICATE_DIFFERS:")
"""Warnings that a stranger must not read, since they tell what others have sent, or need not."""


class TagEventFailure(msgspec.Struct):
    """An event that was not accepted."""

    index: Annotated[int, Meta(ge=0, description="Its place among the events of the request.")]
    event_id: Annotated[str, Meta(description="Its event_id, or index:3 when it can't be read.")]
    message: Annotated[str, Meta(description="What is wrong and what to send instead.")]
    field: Annotated[str | UnsetType, Meta(description="The field that it is about.")] = UNSET


class TagAnswer(msgspec.Struct, kw_only=True):
    """What a page learns of its events."""

    events_received: Annotated[int, Meta(ge=0, description="Events in the request.")]
    events_processed: Annotated[int, Meta(ge=0, description="Events accepted.")]
    errors: Annotated[list[TagEventFailure] | UnsetType, Meta(description="Events that were not accepted.")] = UNSET
    warnings: Annotated[list[str] | UnsetType, Meta(description="What would make the events match better.")] = UNSET
    dropped: Annotated[str | UnsetType, Meta(description="Why the events were dropped.")] = UNSET


class TagSource(msgspec.Struct):
    """What the tag of a source may send."""

    event_types: Annotated[list[str], Meta(description="The event types that it may send.")]
    page_view: Annotated[bool, Meta(description="Whether it sends a page_view for each page by itself.")]
    gpc: Annotated[
        Literal["drop", "strip"], Meta(description="What becomes of events of a visitor with Global Privacy Control.")
    ]
    consent_required: Annotated[bool, Meta(description="Whether nothing is stored or sent before consent.")]
    now: Annotated[int, Meta(description="The server's time in milliseconds since the epoch.")]


class TagRefusal(msgspec.Struct):
    """Why a request was refused."""

    code: Annotated[str, Meta(description="For programs.")]
    message: Annotated[str, Meta(description="What is wrong.")]
    suggestion: Annotated[str, Meta(description="What to do.")]
    field: Annotated[str | UnsetType, Meta(description="The field that it is about.")] = UNSET


class TagError(msgspec.Struct):
    """The body of a request's refusal."""

    error: TagRefusal


def routes(services: Services) -> list[Route]:
    """The routes of the browser tag."""
    tag = _Tag(services)
    return [
        Route("/tag.js", _current_script, methods=["GET"]),
        Route("/tag/v/{digest}.js", _script, methods=["GET"]),
        Route("/tag/{seller_id}.gif", tag.pixel, methods=["GET"]),
        Route("/tag/{seller_id}", tag.page, methods=["GET", "POST", "OPTIONS"]),
    ]


_COMPRESSED = {script: gzip.compress(script, 9, mtime=0) for script in SCRIPTS.values()}


async def _current_script(request: Request) -> Response:
    """Return the script of this release."""
    return _script_response(request, CURRENT, _SHORT)


async def _script(request: Request) -> Response:
    """Return the script with this digest, which never changes."""
    script = SCRIPTS.get(request.path_params["digest"])
    if script is None:
        raise NotFound("This server has no browser tag with this digest.")
    return _script_response(request, script, _YEAR)


def _script_response(request: Request, script: bytes, caching: str) -> Response:
    headers = {"Cache-Control": caching, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        script = _COMPRESSED[script]
        headers["Content-Encoding"] = "gzip"
    return Response(script, headers=headers | _FOR_EVERY_PAGE, media_type="text/javascript")


class _Tag:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def page(self, request: Request) -> Response:
        """Answer a page's tag, by the method of its request."""
        methods = {"POST": self._collect, "OPTIONS": self._preflight}
        return await methods.get(request.method, self._settings)(request)

    async def _settings(self, request: Request) -> Response:
        """Tell what the tag may send."""

        async def settings(visit: Visit) -> Response:
            if not visit.is_allowed:
                raise _not_allowed(visit)
            types = tag_event_types(visit.settings, visit.source.event_types)
            return json_response(
                TagSource(
                    event_types=sorted(types),
                    page_view=visit.settings.page_view and "page_view" in types,
                    gpc=visit.settings.gpc,
                    consent_required=visit.settings.consent_required,
                    now=int(self._services.clock.utc().timestamp() * 1000),
                )
            )

        return await self._answered(request, settings)

    async def _collect(self, request: Request) -> Response:
        """Log the events of a page."""

        async def collect(visit: Visit) -> Response:
            body = await read(self._services, request.scope, request.receive, MAX_BODY_BYTES)
            answer = await self._log(request, visit, read_call(body))
            response = json_response(answer)
            response.status_code = 200 if visit.is_allowed else OriginNotAllowed.status
            return response

        return await self._answered(request, collect)

    async def _preflight(self, request: Request) -> Response:
        """Let the scripts of the source's own pages send JSON."""

        async def preflight(visit: Visit) -> Response:
            if not visit.is_allowed:
                raise _not_allowed(visit)
            asked = {"Methods": "GET, POST", "Headers": "Content-Type"}
            headers = {f"Access-Control-Allow-{name}": value for name, value in asked.items()}
            return Response(status_code=204, headers=headers | {"Access-Control-Max-Age": "86400"})

        return await self._answered(request, preflight)

    async def pixel(self, request: Request) -> Response:
        """Log the event in the query; always an image, and what is wrong in a header."""
        headers = dict(_PIXEL_HEADERS)
        if request.method != "HEAD":
            try:
                problem = await self._log_pixel(request)
            except PostbackError as error:
                Exchange.of(request.scope).outcome = error.reason
                problem = error.message
            if problem:
                headers["X-Postback-Error"] = problem.encode("ascii", "replace").decode()
        return Response(GIF, headers=headers, media_type="image/gif")

    async def _log_pixel(self, request: Request) -> str | None:
        visit = await self._visit(request)
        self._hit(visit)
        call, problem = pixel_call(request.scope["query_string"])
        answer = await self._log(request, visit, call)
        if answer.dropped:
            return DROPPED[answer.dropped]
        return answer.errors[0].message if answer.errors else problem

    async def _answered(self, request: Request, work: Callable[[Visit], Awaitable[Response]]) -> Response:
        """What ``work`` returns or raises; only pages on the source's domains may read it."""
        visit: Visit | None = None
        try:
            visit = await self._visit(request)
            self._hit(visit)
            response = await work(visit)
        except PostbackError as error:
            Exchange.of(request.scope).outcome = error.reason
            response = json_response(TagError(_told(error)), error)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Vary"] = "Origin"
        origin = request.headers.get("origin")
        if visit and visit.is_allowed and origin:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = "Retry-After, X-Request-Id"
        return response

    async def _visit(self, request: Request) -> Visit:
        """The request of a page.

        Raises:
            NotFound: It names no event source.
            RateLimitExceeded: Too many from the address did so.
            StoreUnavailable: The source can't be looked up.
        """
        services, headers = self._services, request.headers
        client = await client_address(request.scope, services.settings.trusted_proxies)
        visitor = visitor_of(sender(client), headers)
        seller_id = request.path_params["seller_id"]
        services.limits.check_visitor(visitor.address)
        source = None
        if _SELLER_ID.fullmatch(seller_id):
            source = await services.threads.ingestion.run(services.sources.by_seller_id, seller_id)
        if source is None:
            services.limits.hit_visitor(visitor.address)
            raise _unknown()
        return Visit(source, visitor, client[0] if client else "", page_of(headers), headers.get("sec-gpc") == "1")

    def _hit(self, visit: Visit) -> None:
        self._services.limits.hit_visitor(visit.visitor.address, visit.source.seller_id)

    async def _log(self, request: Request, visit: Visit, call: TagCall) -> TagAnswer:
        """Log the events of a page as log_event does, or drop them."""
        services, source = self._services, visit.source
        received = len(call.events)
        if reason := visit.dropped(call):
            services.metrics.tag_dropped(reason, received)
            return TagAnswer(events_received=received, events_processed=0, dropped=reason)
        account = await services.threads.ingestion.run(services.accounts.recent, source.account_id)
        if account is None:
            raise _unknown()
        exchange = Exchange.of(request.scope)
        caller = Principal(f"tag:{source.seller_id}", (account,), browser=True)
        arguments = log_event_arguments(visit, call, services.clock.utc())
        logged = await run_task(services, exchange, Call("log_event", arguments, caller, exchange.request_id, "tag"))
        if logged.error:
            raise _for_strangers(logged.error)
        return _answer(logged.body)


def _answer(body: dict[str, Any]) -> TagAnswer:
    failures = [
        TagEventFailure(failure["index"], failure["event_id"], failure["message"], failure.get("field", UNSET))
        for failure in body.get("partial_failures", ())
    ]
    warnings = [warning for warning in body.get("warnings", ()) if not warning.startswith(_WITHHELD)]
    return TagAnswer(
        events_received=body["events_received"],
        events_processed=body["events_processed"],
        errors=failures or UNSET,
        warnings=warnings or UNSET,
    )


_OPEN = (InvalidRequest, BatchTooLarge, BodyTooLarge, TransientError)


def _for_strangers(error: PostbackError) -> PostbackError:
    """An error that tells nothing of the account."""
    return error if isinstance(error, _OPEN) else _unknown()


def _unknown() -> NotFound:
    return NotFound(
        "This server has no event source with this id that accepts events from browsers.",
        suggestion="Use the seller_id of an event source, as sync_event_sources returns it.",
    )


def _not_allowed(visit: Visit) -> AuthError:
    if visit.takes_events:
        return OriginNotAllowed(
            "This page is not on the event source's allowed_domains.",
            suggestion="Send events from the site's pages, or add the domain with sync_event_sources.",
        )
    return OriginNotAllowed(
        "The event source accepts no events from browsers.",
        suggestion="It needs the action_source website, allowed_domains, and a tag that is turned on.",
    )


def _told(error: PostbackError) -> TagRefusal:
    return TagRefusal(error.reason, error.message, error.suggestion, error.field or UNSET)
