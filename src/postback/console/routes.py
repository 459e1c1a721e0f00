"""The console's routes: every page as HTML and as JSON, what lasts or is downloaded, and what forms do."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from urllib.parse import parse_qsl, unquote, urlencode

import msgspec
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from postback.auth.principal import Principal
from postback.console import (
    accounts,
    conversions,
    delivery,
    event,
    failures,
    forwarding,
    keys,
    live,
    lookup,
    media_buy,
    server,
    source,
    sources,
)
from postback.console.accepting import wants_json
from postback.console.csv_table import csv_response
from postback.console.page import Action, Once, Page, Resource, Visit
from postback.console.recent_traffic import RecentTraffic
from postback.console.rendering import Renderer, Section
from postback.console.security import check_form, check_origin, csrf_token, page_headers
from postback.console.session import SIGN_IN, SignIn, safe_return
from postback.console.static_files import StaticFiles
from postback.console.visitors import COOKIE, Visitors
from postback.errors import AccountNotFound, AuthMissing, InvalidRequest, NotFound, PostbackError, StartupError
from postback.protocol.envelope import failure
from postback.services import Services
from postback.transports.middleware import Exchange, read
from postback.transports.responses import json_response

__all__ = ["PAGES", "routes"]

PAGES: tuple[Page | Resource | Action, ...] = (
    *live.PAGES,
    *event.PAGES,
    *failures.PAGES,
    *lookup.PAGES,
    *sources.PAGES,
    *source.PAGES,
    *delivery.PAGES,
    *media_buy.PAGES,
    *conversions.PAGES,
    *server.PAGES,
    *accounts.PAGES,
    *keys.PAGES,
    *forwarding.PAGES,
)
"""Everything that the console has, for those who have signed in."""

_SECTIONS = (
    Section("Live", "/console/live"),
    Section("Sources", "/console/sources"),
    Section("Failures", "/console/failures"),
    Section("Lookup", "/console/lookup"),
    Section("Delivery", "/console/delivery"),
    Section("Server", "/console/server"),
)

_FORMATS = ("html", "json", "csv")
_FORM_BYTES = 65_536
_FORM_FIELDS = 100

_Respond = Callable[[Request, str], Awaitable[Response]]
"""What makes a response to a request, with the nonce of its scripts."""


def routes(services: Services) -> list[Route]:
    """The routes of the console, and ``GET /``."""
    return _Console(services).routes()


class _Console:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._static = StaticFiles()
        there = {page.path for page in PAGES}
        sections = [section for section in _SECTIONS if section.path in there]
        self._home = sections[0].path
        self._renderer = Renderer(sections, self._static)
        self._visitors = Visitors(services)
        self._traffic = RecentTraffic(services)

    def routes(self) -> list[Route]:
        found = [
            self._route("/", self._root),
            self._route("/console", self._to_home),
            self._route(SIGN_IN, self._show_sign_in),
            self._route(SIGN_IN, self._sign_in, "POST"),
            self._route("/console/sign-out", self._sign_out, "POST"),
        ]
        for page in PAGES:
            match page:
                case Page():
                    found.append(self._route(page.path, partial(self._page, page)))
                case Resource():
                    found.append(self._route(page.path, partial(self._resource, page)))
                case Action():
                    found.append(self._route(page.path, partial(self._action, page), "POST"))
        return [*found, *self._static.routes(), self._route("/console/{rest:path}", self._unknown)]

    def _route(self, path: str, respond: _Respond, method: str = "GET") -> Route:
        async def endpoint(request: Request) -> Response:
            exchange, nonce = Exchange.of(request.scope), secrets.token_urlsafe(18)
            try:
                response = await respond(request, nonce)
            except PostbackError as error:
                response = self._failure(request, nonce, error)
            except Exception as unexpected:
                response = self._failure(request, nonce, exchange.defect(unexpected))
            response.headers.update(page_headers(nonce))
            self._services.metrics.console(path, exchange.outcome, perf_counter() - exchange.started)
            return response

        return _QuotedRoute(path, endpoint, methods=[method])

    async def _root(self, request: Request, _: str) -> Response:
        if not wants_json(request):
            return RedirectResponse("/console", 303)
        return json_response({"name": "Postback", "console": "/console", "openapi": "/openapi.json"})

    async def _to_home(self, _: Request, __: str) -> Response:
        return RedirectResponse(self._home, 303)

    async def _unknown(self, request: Request, _: str) -> Response:
        await self._visit(request, "")
        raise NotFound("This page does not exist.", suggestion="Start from one of the pages in the navigation.")

    async def _page(self, page: Page, request: Request, nonce: str) -> Response:
        visit = await self._visit(request, nonce)
        asked = request.query_params.get("format", "html")
        if asked not in _FORMATS:
            raise InvalidRequest(f"format must be one of {', '.join(_FORMATS)}.", field="format")
        if asked == "csv":
            if page.csv is None:
                raise InvalidRequest("This page has no table to download.", field="format")
            return await csv_response(await page.csv(visit))
        model = await page.model(visit)
        if wants_json(request):
            return Response(msgspec.json.encode(model), media_type="application/json")
        return await self._html(page, visit, model)

    async def _html(self, page: Page | Once, visit: Visit, model: msgspec.Struct) -> Response:
        html = await self._services.threads.compute.run(self._renderer.page, page, visit, model)
        return Response(html, media_type="text/html")

    async def _resource(self, resource: Resource, request: Request, nonce: str) -> Response:
        return await resource.respond(await self._visit(request, nonce))

    async def _action(self, action: Action, request: Request, nonce: str) -> Response:
        check_origin(request.headers, self._services.settings.public_url)
        visit = await self._visit(request, nonce)
        form = await self._form(request)
        check_form(form, visit.csrf)
        visit.require_seller()
        try:
            done = await action.act(visit, form)
        except StartupError as error:
            raise InvalidRequest(str(error), suggestion="Go back, and correct it.") from error
        if isinstance(done, str):
            return RedirectResponse(done, 303)
        return await self._html(done, visit, done.model)

    async def _show_sign_in(self, request: Request, nonce: str) -> Response:
        return self._sign_in_page(nonce, safe_return(request.query_params.get("next", "")))

    async def _sign_in(self, request: Request, nonce: str) -> Response:
        check_origin(request.headers, self._services.settings.public_url)
        form = await self._form(request)
        back = safe_return(form.get("next", ""))
        try:
            token = await self._visitors.sign_in(request, form.get("key", "").strip())
        except PostbackError as error:
            Exchange.of(request.scope).outcome = error.reason
            return self._sign_in_page(nonce, back, error)
        response = RedirectResponse(back or self._home, 303)
        self._visitors.remember(response, token)
        return response

    def _sign_in_page(self, nonce: str, back: str, error: PostbackError | None = None) -> Response:
        html = self._renderer.template(
            "sign_in.html", nonce=nonce, model=SignIn(back, error.message if error else None)
        )
        headers = {"Retry-After": str(error.retry_after)} if error and error.retry_after else {}
        return Response(html, error.status if error else 200, headers, media_type="text/html")

    async def _sign_out(self, request: Request, _: str) -> Response:
        check_origin(request.headers, self._services.settings.public_url)
        token = request.cookies.get(COOKIE, "")
        check_form(await self._form(request), csrf_token(token))
        await self._visitors.sign_out(token)
        response = RedirectResponse(SIGN_IN, 303)
        self._visitors.remember(response, "")
        return response

    async def _form(self, request: Request) -> ImmutableMultiDict[str, str]:
        """The fields of a form."""
        body = await read(self._services, request.scope, request.receive, _FORM_BYTES)
        try:
            return ImmutableMultiDict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FORM_FIELDS))
        except ValueError:
            raise InvalidRequest("The body is not a form (application/x-www-form-urlencoded).") from None

    async def _visit(self, request: Request, nonce: str) -> Visit:
        """The visit of whoever is signed in.

        Raises:
            AuthMissing: Nobody is.
            AccountNotFound: There is no account as in ``?account=``, or the visitor may not see it.
        """
        visitor = await self._visitors.of(request)
        if visitor is None:
            raise AuthMissing("Sign in to see this page.", suggestion="Send an API key, or sign in at /console.")
        query = dict(request.query_params)
        account_id = query.pop("account", None) or None
        query.pop("format", None)
        return Visit(
            services=self._services,
            principal=_narrowed(visitor.principal, account_id),
            accounts=visitor.principal.accounts,
            seller=visitor.seller,
            query=query,
            path=request.path_params,
            address=_raw_path(request.scope),
            account_id=account_id,
            csrf=csrf_token(visitor.session),
            nonce=nonce,
            now=self._services.clock.utc(),
            is_signed_in=partial(self._visitors.is_signed_in, visitor),
            last_event_id=request.headers.get("last-event-id", ""),
            traffic=self._traffic.of,
            render=self._renderer.block,
        )

    def _failure(self, request: Request, nonce: str, error: PostbackError) -> Response:
        """The response to a request that failed: what the page would have been, as HTML or as JSON."""
        exchange = Exchange.of(request.scope)
        exchange.outcome = error.reason
        if wants_json(request):
            response = json_response(failure(error, exchange.request_id), error)
        elif not isinstance(error, AuthMissing):
            html = self._renderer.template("error.html", nonce=nonce, error=error, request_id=exchange.request_id)
            response = Response(html, error.status, media_type="text/html")
        elif "hx-request" in request.headers:  # have the whole page loaded, which leads to signing in
            return Response(status_code=401, headers={"HX-Refresh": "true"})
        else:
            asked = _raw_path(request.scope) + (f"?{request.url.query}" if request.url.query else "")
            back = f"?{urlencode({'next': asked})}" if request.method == "GET" else ""
            return RedirectResponse(SIGN_IN + back, 303)
        if response.status_code == 200:  # what tasks answer with
            response.status_code = 404 if isinstance(error, AccountNotFound) else 400
        return response


class _QuotedRoute(Route):
    """A route that looks at the path as it was sent, so that an id in it may contain a slash."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches({**scope, "path": _raw_path(scope)})
        if "path_params" in found:
            found["path_params"] = {name: unquote(value) for name, value in found["path_params"].items()}
        return match, found


def _raw_path(scope: Scope) -> str:
    """The path as it was sent, with its parts quoted."""
    raw: bytes = scope["raw_path"]
    return raw.decode("latin-1")


def _narrowed(principal: Principal, account_id: str | None) -> Principal:
    if account_id is None:
        return principal
    chosen = tuple(account for account in principal.accounts if account.account_id == account_id)
    if not chosen:
        raise AccountNotFound(
            "The account does not exist, or your key has no access to it.",
            suggestion="Choose one of the accounts that the server's page lists.",
        )
    return Principal(principal.key_id, chosen, principal.scopes)
