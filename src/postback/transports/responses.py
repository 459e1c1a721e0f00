"""HTTP responses in JSON, and those for errors that keep a task from running."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from postback.errors import AuthInvalid, AuthMissing, PostbackError, SignatureRefused
from postback.protocol.envelope import failure

__all__ = ["failure_response", "json_response"]

_CHALLENGES: dict[type[PostbackError], str] = {
    AuthMissing: 'Bearer realm="postback"',
    AuthInvalid: 'Bearer realm="postback", error="invalid_token"',
}


def json_response(body: dict[str, object] | msgspec.Struct, error: PostbackError | None = None) -> Response:
    """A JSON response with the status and headers that its error requires."""
    headers: dict[str, str] = {}
    if error and error.retry_after:
        headers["Retry-After"] = str(error.retry_after)
    if error and (challenge := _challenge(error)):
        headers["WWW-Authenticate"] = challenge
    status = error.status if error else 200
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")


def _challenge(error: PostbackError) -> str | None:
    if isinstance(error, SignatureRefused) and error.details:
        return f'Signature error="{error.details["signature_error"]}"'
    return _CHALLENGES.get(type(error))


def failure_response(error: PostbackError, request_id: str) -> Response:
    """The canonical failure, with unversioned error codes: the body, which pins the version, was not read."""
    return json_response(failure(error, request_id), error)
