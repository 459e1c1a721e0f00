"""Who visits the console: somebody with a session, or a program with a key in its request."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from postback.auth.console_keys import KEY_PREFIX
from postback.auth.console_sessions import SESSION_SECONDS
from postback.auth.principal import Principal
from postback.auth.senders import sender
from postback.errors import AuthInvalid, RateLimitExceeded
from postback.services import Services
from postback.transports.authentication import api_key
from postback.transports.client_address import client_address
from postback.transports.middleware import Exchange

__all__ = ["COOKIE", "Visitor", "Visitors"]

COOKIE = "postback_console"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who has signed in.

    Attributes:
        principal: Who it is, and the accounts that it may see.
        seller: Whether it has a console key.
        session: The session's token; empty for a program that sends its key with every request.
    """

    principal: Principal
    seller: bool
    session: str = ""


class Visitors:
    """Finds visitors, and signs them in and out."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._secure = urlsplit(services.settings.public_url).scheme == "https"

    async def of(self, request: Request) -> Visitor | None:
        """Who sends a request; None if nobody is signed in. It is counted for the visitor's key, as a call is.

        Raises:
            AuthInvalid: The key in the request is unknown or revoked.
            RateLimitExceeded: The key has made too many requests, or has too many under way; or the caller's address
                has sent too many keys that are not valid.
            SignatureRefused: The key's requests must be signed, and this one is not.
        """
        if key := api_key(request.headers):
            visitor = await self._with_key(request, key)
            await self._services.signatures.verify(request.scope, b"", visitor.principal, lambda _: "console")
        else:
            found = await self.of_session(request.cookies.get(COOKIE, ""))
            if found is None:
                return None
            visitor = found
        exchange = Exchange.of(request.scope)
        exchange.context.key_id = visitor.principal.key_id
        counted_for = _counted_for(visitor)
        self._services.limits.hit_request(counted_for)
        exchange.share = self._services.in_flight.begin(counted_for)
        return visitor

    async def of_session(self, token: str) -> Visitor | None:
        """Who a session belongs to; None if it has ended, or its key is revoked."""
        return await self._services.threads.control.run(self._find_session, token) if token else None

    async def is_signed_in(self, visitor: Visitor) -> bool:
        """Whether a visitor's session goes on, or the key that it sent is valid still."""
        if visitor.session:
            return await self.of_session(visitor.session) is not None
        return await self._services.threads.control.run(self._is_valid, visitor.principal.key_id)

    async def sign_in(self, request: Request, key: str) -> str:
        """Begin a session for whoever has this key; returns its token.

        Raises:
            AuthInvalid: The key is unknown or revoked, or its requests must be signed.
            RateLimitExceeded: The key has made too many requests; or the caller's address has sent too many keys that
                are not valid.
        """
        visitor = await self._with_key(request, key)
        Exchange.of(request.scope).context.key_id = visitor.principal.key_id
        self._services.limits.hit_request(_counted_for(visitor))
        if self._services.signatures.posture(visitor.principal):
            raise AuthInvalid(
                "Requests with this API key must be signed, which a browser can't do.",
                suggestion="Ask the seller for another API key, to look at the console with.",
            )
        begin = self._services.console_sessions.begin
        return await self._services.threads.control.run(begin, visitor.principal.key_id)

    async def sign_out(self, token: str) -> None:
        """End a session."""
        await self._services.threads.control.run(self._services.console_sessions.end, token)

    def remember(self, response: Response, token: str) -> None:
        """Have the browser send a session's token with its requests to the console; none if it is empty."""
        age = SESSION_SECONDS if token else 0
        response.set_cookie(
            COOKIE, token, max_age=age, path="/console", secure=self._secure, httponly=True, samesite="lax"
        )

    async def _with_key(self, request: Request, key: str) -> Visitor:
        failed = self._services.failed_keys
        caller = sender(await client_address(request.scope, self._services.settings.trusted_proxies))
        try:
            if not self._was_valid(key):
                failed.check(caller)
        except RateLimitExceeded:
            Exchange.of(request.scope).in_sum = True
            raise
        visitor = await self._services.threads.control.run(self._find_key, key)
        if visitor is None:
            failed.count(caller)
            raise AuthInvalid("The key is unknown or revoked.")
        return visitor

    def _was_valid(self, key: str) -> bool:
        keys = self._services.console_keys if key.startswith(KEY_PREFIX) else self._services.keys
        return keys.was_valid(key)

    def _is_valid(self, key_id: str) -> bool:
        return self._services.console_keys.is_valid(key_id) or self._services.keys.principal_of(key_id) is not None

    def _find_key(self, key: str) -> Visitor | None:
        if key.startswith(KEY_PREFIX):
            key_id = self._services.console_keys.key_id(key)
            return self._seller(key_id) if key_id else None
        principal = self._services.keys.principal(key)
        return Visitor(principal, seller=False) if principal else None

    def _find_session(self, token: str) -> Visitor | None:
        key_id = self._services.console_sessions.key_id(token)
        if key_id is None:
            return None
        if self._services.console_keys.is_valid(key_id):
            return self._seller(key_id, token)
        principal = self._services.keys.principal_of(key_id)
        return Visitor(principal, seller=False, session=token) if principal else None

    def _seller(self, key_id: str, session: str = "") -> Visitor:
        principal = Principal(key_id, tuple(self._services.accounts.list()), frozenset({"buyer", "seller"}))
        return Visitor(principal, seller=True, session=session)


def _counted_for(visitor: Visitor) -> str:
    """What the visitor's requests count for: people who look never use up what calls may send."""
    return f"console {visitor.principal.key_id}"
