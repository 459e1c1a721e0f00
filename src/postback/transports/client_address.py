"""The address that a request comes from, as a trusted proxy reports it."""

from __future__ import annotations

from functools import cache

from starlette.types import Scope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

__all__ = ["client_address"]


async def client_address(scope: Scope, trusted_proxies: tuple[str, ...]) -> tuple[str, int] | None:
    """Address and port of whoever calls; looked at only where it is needed, for it costs time.

    Args:
        scope: The request's ASGI scope, which stays as it is.
        trusted_proxies: Whose X-Forwarded-For header is believed.
    """
    behind = dict(scope)
    await _behind(trusted_proxies)(behind, _no_application, _no_application)  # type: ignore[arg-type]  # no channel
    return behind.get("client")


@cache
def _behind(trusted_proxies: tuple[str, ...]) -> ProxyHeadersMiddleware:
    return ProxyHeadersMiddleware(_no_application, list(trusted_proxies))


async def _no_application(*_: object) -> None:
    """Stands for the application that the middleware wraps: only what it writes into the scope is read."""
