"""The fields that every request and every response shares.

core/protocol-envelope.json, core/version-envelope.json, core/error.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.errors import IdempotencyConflict, PostbackError
from postback.protocol.error_codes import code_for
from postback.protocol.json_schema import documented, published_as
from postback.protocol.releases import MAJORS, RELEASES, UNVERSIONED, Negotiated, Release

__all__ = [
    "IDEMPOTENCY_KEY_EXAMPLE",
    "TIME",
    "CompletedEnvelope",
    "ErrorObject",
    "Ext",
    "FailedEnvelope",
    "IdempotencyKeyField",
    "PostbackExt",
    "RequestEnvelope",
    "error_object",
    "failure",
    "success",
]

TIME = "RFC 3339 with a UTC offset, for example 2026-01-15T14:30:00Z."
"""The end of every description of a time."""

IDEMPOTENCY_KEY_EXAMPLE = "8b7f5d0e-52a1-4e0c-9d6b-3a1f0c2e4d55"

_Context = Annotated[dict[str, Any] | UnsetType, Meta(description="The request's context, unchanged.")]
_AdcpVersion = Annotated[str | UnsetType, Meta(description="AdCP release that was served.")]


class RequestEnvelope(msgspec.Struct):
    """What every request may have beside the task's own arguments; ``tasks.arguments`` reads it."""

    adcp_version: (
        Annotated[
            str,
            documented(
                "AdCP release that the call is written for; the highest one at or below it is served.",
                pattern=rf"^({'|'.join(map(str, MAJORS))})\.(0|[1-9][0-9]{{0,3}})$",
                examples=list(RELEASES),
            ),
        ]
        | UnsetType
    ) = UNSET
    context: Annotated[dict[str, Any], Meta(description="Any object of yours; the response echoes it.")] | UnsetType = (
        UNSET
    )
    ext: Annotated[dict[str, Any], Meta(description="Extensions; unknown ones are ignored.")] | UnsetType = UNSET


class IdempotencyKeyField(msgspec.Struct):
    """What a request may have, too, whose retry must not act twice."""

    idempotency_key: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_.:-]{16,255}\Z",
            description="Unique for each call, for example a UUID. Repeating a call with its key is safe: it returns "
            "the first response.",
            examples=[IDEMPOTENCY_KEY_EXAMPLE],
        ),
    ]


class ErrorObject(msgspec.Struct):
    """core/error.json."""

    code: Annotated[str, Meta(description="For programs; depends on the AdCP release that the call pins.")]
    message: Annotated[str, Meta(description="What is wrong.")]
    field: Annotated[str | UnsetType, Meta(description="Which field, for example events[17].event_time.")] = UNSET
    suggestion: Annotated[str | UnsetType, Meta(description="What to send or do instead.")] = UNSET
    recovery: Annotated[
        Literal["transient", "correctable", "terminal"] | UnsetType,
        Meta(description="Whether the same call may succeed later, a corrected one now, or none."),
    ] = UNSET
    retry_after: Annotated[int, Meta(ge=1, description="Seconds to wait before the same call.")] | UnsetType = UNSET
    details: Annotated[
        dict[str, Any] | UnsetType,
        Meta(description="reason is the same word in every AdCP release; what else there is depends on it."),
    ] = UNSET


class PostbackExt(msgspec.Struct, kw_only=True):
    """What we add to every response."""

    request_id: Annotated[str | UnsetType, Meta(description="Names the call in the server's log.")] = UNSET
    warnings: Annotated[
        list[str] | UnsetType, Meta(description="Fields of the call that this server accepts but doesn't serve.")
    ] = UNSET


class Ext(msgspec.Struct):
    """``ext`` of a response; a task that adds more derives its own."""

    postback: Annotated[PostbackExt, Meta(description="What Postback adds to AdCP's fields.")]


class CompletedEnvelope(msgspec.Struct):
    """What the response to a call that succeeded has beside the task's payload."""

    status: Annotated[Literal["completed"], Meta(description="The call succeeded.")]
    adcp_version: _AdcpVersion = UNSET
    replayed: Annotated[
        bool | UnsetType, Meta(description="True: this is the response to the first call with the idempotency_key.")
    ] = UNSET
    context: _Context = UNSET
    ext: Annotated[Any, published_as(Annotated[Ext, Meta(description="Extensions.")])] = UNSET


class FailedEnvelope(msgspec.Struct, kw_only=True):
    """The response to a call that failed as a whole, on every transport."""

    status: Annotated[Literal["failed"], Meta(description="The call failed; nothing of it was done.")]
    adcp_version: _AdcpVersion = UNSET
    context: _Context = UNSET
    message: Annotated[str, Meta(description="What is wrong.")]
    adcp_error: Annotated[ErrorObject, Meta(description="The error.")]
    errors: Annotated[
        list[ErrorObject], Meta(min_length=1, description="The same error, then whatever else is wrong with the call.")
    ]
    ext: Annotated[Ext, Meta(description="Extensions.")]


def success(
    payload: msgspec.Struct | dict[str, Any],
    served: Negotiated,
    request_id: str,
    context: object = None,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """A completed call: the envelope around a task's payload, whose fields come first where both have one.

    Args:
        payload: The task's payload.
        served: What the request is served.
        request_id: Names the call in the log.
        context: The request's, or None.
        warnings: The fields of the call that are not served.
    """
    members: dict[str, Any] = msgspec.to_builtins(payload)
    envelope = CompletedEnvelope("completed", adcp_version=served.shown or UNSET)
    ours = {"request_id": request_id, **members.get("ext", {}).get("postback", {})}
    if warnings:
        ours["warnings"] = list(warnings)
    return {**msgspec.to_builtins(envelope), **_echo(context), **members, "ext": {"postback": ours}}


def failure(
    error: PostbackError, request_id: str, served: Negotiated = UNVERSIONED, context: object = None
) -> dict[str, Any]:
    """A call that failed as a whole, with the error codes of what it is served."""
    release = served.release
    first = error_object(error, release)
    envelope = FailedEnvelope(
        status="failed",
        adcp_version=served.shown or UNSET,
        message=error.message,
        adcp_error=first,
        errors=[first, *(error_object(other, release) for other in error.also)],
        ext=Ext(PostbackExt(request_id=request_id)),
    )
    return {**msgspec.to_builtins(envelope), **_echo(context)}


def error_object(error: PostbackError, release: Release | None) -> ErrorObject:
    """An error as core/error.json; ``details.reason`` is the same in every release."""
    code = code_for(error.reason, release)
    if isinstance(error, IdempotencyConflict):
        # AdCP allows no more: a guessed key reveals nothing about the call that used it.
        return ErrorObject(code, error.message)
    return ErrorObject(
        code,
        error.message,
        field=error.field or UNSET,
        suggestion=error.suggestion,
        recovery=error.recovery,
        retry_after=error.retry_after or UNSET,
        details={"reason": error.reason, **(error.details or {})},
    )


def _echo(context: object) -> dict[str, object]:
    return {} if context is None else {"context": context}
