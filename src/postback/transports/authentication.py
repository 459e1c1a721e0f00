"""The request id and the API key, which every transport reads from a request's headers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from random import Random

from postback.auth.api_keys import KeyStore
from postback.auth.failed_keys import FailedKeys
from postback.auth.principal import Principal
from postback.auth.senders import sender
from postback.errors import AuthInvalid, AuthMissing
from postback.threads import ThreadPool

__all__ = ["Client", "api_key", "authenticate", "request_id", "require"]

Client = Callable[[], Awaitable[tuple[str, int] | None]]
"""Returns the address that a request comes from; it costs time, and most requests don't need it."""

# No '@', '+' or space: personal data must not reach the log as a request id.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

_random = Random()  # noqa: S311 - an id is no secret, and to ask the system for each takes longer than a look-up


def request_id(headers: Mapping[str, str]) -> str:
    """The caller's ``X-Request-Id`` if it is safe to log, else a new one; names of headers are in lower case."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else f"{_random.getrandbits(128):032x}"


def api_key(headers: Mapping[str, str]) -> str | None:
    """The API key, from ``Authorization: Bearer KEY`` or ``x-adcp-auth: KEY``; None when there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return bearer or headers.get("x-adcp-auth", "").strip() or None


async def authenticate(
    keys: KeyStore, failed: FailedKeys, headers: Mapping[str, str], client: Client, threads: ThreadPool
) -> Principal | None:
    """The caller; None when the request has no key. ``client`` returns the address of whoever calls.

    A sender of many keys that are not valid is refused, but for keys that were valid before: others may call from
    behind the same address.

    Raises:
        AuthInvalid: The key is unknown or revoked.
        RateLimitExceeded: The sender sent too many such keys.
    """
    key = api_key(headers)
    if key is None:
        return None
    if principal := keys.cached_principal(key):
        return principal
    caller = sender(await client())
    if not keys.was_valid(key):
        failed.check(caller)
    principal = await threads.run(keys.principal, key)
    if principal is None:
        failed.count(caller)
        raise AuthInvalid("The API key is unknown or revoked.")
    return principal


def require(principal: Principal | None) -> Principal:
    """The principal of a call that needs one.

    Raises:
        AuthMissing: The request has no key.
    """
    if principal is None:
        raise AuthMissing("This call requires an API key.")
    return principal
