"""Whose scripts may call an endpoint: the check of ``Origin`` that MCP requires of servers over HTTP.

It protects a server on somebody's own machine or network from DNS rebinding: a page elsewhere points its own host name
at the server, and the browser then lets its scripts call it. The browser still names that page in ``Origin``. ``Host``
proves nothing, because it has the page's host name, too. A program that isn't a browser sends no ``Origin``.
"""

from __future__ import annotations

from starlette.datastructures import Headers

from postback.config import Settings
from postback.errors import OriginNotAllowed
from postback.protocol.origins import is_loopback, web_origin

__all__ = ["OriginGuard"]


class OriginGuard:
    """The pages whose scripts may call: the server's own, those that the operator lists and, for a server that is
    reached on the same machine, those of that machine.
    """

    def __init__(self, settings: Settings) -> None:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        own = {web_origin(settings.public_url), web_origin(f"http://{host}:{settings.port}")}
        self._allowed = own.union(settings.allowed_origins) - {None}
        self._local = is_loopback(settings.public_url)

    def check(self, headers: Headers) -> None:
        """Check a request's ``Origin``, if it has one.

        Raises:
            OriginNotAllowed: Another page's script sent it.
        """
        for sent in headers.getlist("origin"):
            origin = web_origin(sent)
            if origin is None or not (origin in self._allowed or (self._local and is_loopback(origin))):
                raise OriginNotAllowed("Scripts of this web page can't call this server: its Origin is not allowed.")
