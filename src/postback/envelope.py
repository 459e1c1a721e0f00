"""The members that every answer shares (core/protocol-envelope.json, core/version-envelope.json, core/error.json)."""

from __future__ import annotations

from typing import Any

from postback.errors import IdempotencyConflict, PostbackError
from postback.protocol.releases import Release
from postback.protocol.vocabulary import code_for

__all__ = ["error_object", "failure", "success"]


def success(
    payload: dict[str, Any], release: Release | None, request_id: str, context: object = None
) -> dict[str, Any]:
    """A completed call: the envelope around a task's payload."""
    ours = {"request_id": request_id, **payload.get("ext", {}).get("postback", {})}
    return {"status": "completed", **_echo(release, context), **payload, "ext": {"postback": ours}}


def failure(error: PostbackError, release: Release | None, request_id: str, context: object = None) -> dict[str, Any]:
    """A call that failed as a whole, told in the vocabulary of ``release`` (None: the seed's dialect)."""
    told = error_object(error, release)
    return {
        "status": "failed",
        **_echo(release, context),
        "message": error.message,
        "adcp_error": told,
        "errors": [told, *(error_object(other, release) for other in error.also)],
        "ext": {"postback": {"request_id": request_id}},
    }


def error_object(error: PostbackError, release: Release | None) -> dict[str, Any]:
    """An error as core/error.json; ``details.reason`` is the word that stays the same in every release."""
    told: dict[str, Any] = {"code": code_for(error.reason, release), "message": error.message}
    if isinstance(error, IdempotencyConflict):
        return told  # AdCP allows no more: whoever tries keys is told nothing of the call that used them
    if error.field:
        told["field"] = error.field
    told["suggestion"] = error.suggestion
    told["recovery"] = error.recovery
    if error.retry_after:
        told["retry_after"] = error.retry_after
    told["details"] = {"reason": error.reason, **(error.details or {})}
    return told


def _echo(release: Release | None, context: object) -> dict[str, Any]:
    echoed: dict[str, Any] = {}
    if release is not None:
        echoed["adcp_version"] = release
    if context is not None:
        echoed["context"] = context
    return echoed
