"""OpenAPI of the REST surface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from postback.protocol.json_schema import schema_of
from postback.tasks.finalize_package import FinalityResponse
from postback.tasks.list_conversions import ConversionsResponse
from postback.tasks.look_up_event import EventStatus
from postback.tasks.registry import SELLER_TASKS, TASKS
from postback.tasks.task import FAILURE_SCHEMA, Task

__all__ = ["openapi_json"]

_FAILURES = {
    400: ("BadRequest", "A malformed call; the error names the field."),
    401: ("Unauthorized", "No API key, or one that is unknown or revoked."),
    403: ("Forbidden", "The API key is for buyers and the call for sellers, or the other way round."),
    404: ("NotFound", "No such event source, or one of somebody else's."),
    409: ("Conflict", "The idempotency key was used for another call, or it is too early."),
    413: ("TooLarge", "The body is larger than the server reads."),
    429: ("TooMany", "The API key has used up its minute."),
    500: ("Defect", "A defect of the server; it is logged under the request id."),
    503: ("Unavailable", "A store can't write; nothing was acknowledged."),
}
_WAITING = {429, 503}


def openapi_json(url: str, tasks: Sequence[str], further: Mapping[str, Any]) -> bytes:
    """The document, for a server that callers reach under ``url`` and that offers these AdCP tasks.

    Args:
        url: The server's address.
        tasks: The names of the tasks.
        further: Paths of others than the REST API.
    """
    calls = {name: TASKS[name] for name in tasks} | SELLER_TASKS
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Postback",
                "version": version("postback"),
                "description": (
                    "Conversion tracking for AdCP sellers. The tasks are tools at /mcp, too, and skills at /a2a, with "
                    "the same arguments."
                ),
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": url}],
            "security": [{"bearer": []}, {"adcp": []}],
            "paths": {f"/v1/{name}": {"post": _task(name, task)} for name, task in calls.items()}
            | {_EVENT_PATH: {"get": _event()}}
            | {
                _CONVERSIONS_PATH: {"get": _conversions()},
                _FINALIZE_PATH: {"post": _finalize()},
                _CLICK_PATH: {"get": _click()},
            }
            | {path: {"get": _open(*about)} for path, about in _OPERATIONS.items()}
            | dict(further),
            "components": _components(calls),
        }
    )


_CONVERSIONS_PATH = "/v1/media-buys/{media_buy_id}/conversions"
_FINALIZE_PATH = "/v1/media-buys/{media_buy_id}/packages/{package_id}/finalize"
_CLICK_PATH = "/c/{token}"
_EVENT_PATH = "/v1/events/{event_source_id}/{event_type}/{event_id}"

_OPERATIONS: dict[str, tuple[str, str, str, tuple[int, ...]]] = {
    "/healthz": ("healthz", "Whether the process answers, and nothing in it hangs.", "application/json", (503,)),
    "/readyz": (
        "readyz",
        "Whether the server accepts events, and a warning if something is wrong all the same.",
        "application/json",
        (503,),
    ),
    "/metrics": ("metrics", "Counters, for Prometheus. With the server's token, if it has one.", "text/plain", (401,)),
    "/openapi.json": ("openapi", "This document.", "application/json", ()),
}


def _task(name: str, task: Task) -> dict[str, Any]:
    answer = {"anyOf": [_ref("schemas", f"{name}_answer"), _ref("schemas", "failure")]}
    content = {"application/json": {"schema": _ref("schemas", f"{name}_request"), "example": task.example}}
    return {
        "operationId": name.replace("-", "_"),
        "summary": task.title,
        "description": task.description,
        "requestBody": {"required": "required" in task.input_schema, "content": content},
        "responses": {"200": _response("The task's answer.", answer)} | _failures(*_FAILURES),
    }


def _event() -> dict[str, Any]:
    return {
        "operationId": "get_event",
        "summary": "What became of an event",
        "description": "When it was received, whether it was accepted or why not, how well it can match.",
        "parameters": [*_path("event_source_id", "event_type", "event_id"), *_query({"account_id": _ACCOUNT})],
        "responses": {
            "200": _response(
                "What became of it, or why that can't be said.",
                {"anyOf": [_ref("schemas", "event_status"), _ref("schemas", "failure")]},
            )
        }
        | _failures(400, 401, 404, 429, 500, 503),
    }


_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
_ACCOUNT = (_TEXT, "The account, when several that the API key acts for fit.")
_OF_CONVERSIONS: dict[str, tuple[dict[str, Any], str]] = {
    "account_id": _ACCOUNT,
    "max_results": ({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}, "How many at most."),
    "cursor": ({"type": "string", "maxLength": 2048}, "Of the page before: its pagination.cursor."),
    "package_id": (_TEXT, "Only what is reported under this package."),
    "creative_id": (_TEXT, "Only what is reported under this creative."),
    "event_type": (_TEXT, "Only what is reported under this event type."),
    "action_source": (_TEXT, "Only what is reported under this action source."),
    "event_source_id": (_TEXT, "Only events of this source."),
    "value_reason": (_TEXT, "Only events whose value counts 0, or not in full, for this reason."),
    "kind": ({"type": "string", "enum": ["conversion", "refund"]}, "Only what counts as one of these."),
    "start_date": ({"type": "string", "format": "date"}, "The first UTC day."),
    "end_date": ({"type": "string", "format": "date"}, "The UTC day after the last."),
    "hour": ({"type": "string", "format": "date-time"}, "Only what is reported in the UTC hour of this time."),
}
"""The query of the list of conversions: schema and description of each parameter."""


def _path(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in names]


def _query(parameters: Mapping[str, tuple[dict[str, Any], str]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "schema": schema, "description": description}
        for name, (schema, description) in parameters.items()
    ]


def _conversions() -> dict[str, Any]:
    return {
        "operationId": "get_conversions",
        "summary": "What is attributed to a media buy",
        "description": "Each event with the exposure that it is attributed to, newest first.",
        "parameters": [*_path("media_buy_id"), *_query(_OF_CONVERSIONS)],
        "responses": {"200": _response("A page of them.", _ref("schemas", "conversions"))}
        | _failures(400, 401, 404, 429, 500, 503),
    }


def _finalize() -> dict[str, Any]:
    return {
        "operationId": "finalize_package",
        "summary": "Make a package's numbers final",
        "description": "Once it has ended and its attribution window has passed. For sellers.",
        "parameters": [*_path("media_buy_id", "package_id"), *_query({"account_id": _ACCOUNT})],
        "responses": {"200": _response("That they are.", _ref("schemas", "finality"))}
        | _failures(400, 401, 403, 404, 409, 429, 500, 503),
    }


def _click() -> dict[str, Any]:
    return {
        "operationId": "follow_click_link",
        "summary": "Record a click and redirect to its page",
        "security": [],
        "parameters": _path("token"),
        "responses": {
            "302": {"description": "To the page that the link was made for."},
            "503": {"description": "A browser prefetched it. It asks again when somebody clicks."},
        }
        | _failures(404, 500),
    }


def _open(operation: str, summary: str, media_type: str, failing: tuple[int, ...]) -> dict[str, Any]:
    schema = {"type": "object" if media_type == "application/json" else "string"}
    answer = {"description": summary, "content": {media_type: {"schema": schema}}}
    failures = _failures(401) if 401 in failing else {str(status): answer for status in failing}
    return {
        "operationId": operation,
        "summary": summary,
        "security": [],
        "responses": {"200": answer} | failures,
    }


def _components(calls: Mapping[str, Task]) -> dict[str, Any]:
    requests = {f"{name}_request": task.input_schema for name, task in calls.items()}
    answers = {f"{name}_answer": task.success_schema for name, task in calls.items()}
    return {
        "schemas": requests
        | answers
        | {
            "event_status": schema_of(EventStatus),
            "conversions": schema_of(ConversionsResponse),
            "finality": schema_of(FinalityResponse),
            "failure": FAILURE_SCHEMA,
        },
        "responses": {
            name: _response(description, _ref("schemas", "failure"), waiting=status in _WAITING)
            for status, (name, description) in _FAILURES.items()
        },
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "adcp": {"type": "apiKey", "in": "header", "name": "x-adcp-auth"},
        },
    }


def _failures(*statuses: int) -> dict[str, Any]:
    return {str(status): _ref("responses", _FAILURES[status][0]) for status in statuses}


def _response(description: str, schema: dict[str, Any], *, waiting: bool = False) -> dict[str, Any]:
    headers: dict[str, Any] = {"X-Request-Id": {"schema": {"type": "string"}, "description": "Names it in the log."}}
    if waiting:
        headers["Retry-After"] = {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds to wait."}
    return {"description": description, "headers": headers, "content": {"application/json": {"schema": schema}}}


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}
