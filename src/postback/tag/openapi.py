"""OpenAPI of the browser tag's addresses. None needs a key."""

from __future__ import annotations

from typing import Any

from postback.protocol.json_schema import schema_of
from postback.tag.pixel import PARAMETERS
from postback.tag.routes import TagAnswer, TagError, TagSource
from postback.tag.visits import TagCall

__all__ = ["tag_paths"]

_REFUSALS = {
    400: "The body is malformed; the error names the field.",
    403: "The page is not on the source's allowed_domains.",
    404: "There is no such source, or it accepts no events from browsers.",
    413: "The body is too large.",
    429: "Too many requests from this address, or too many events of the source.",
    503: "Nothing was stored; send it again.",
}
_WAITING = (429, 503)


def tag_paths() -> dict[str, Any]:
    """The paths, as a document of OpenAPI has them."""
    return {
        "/tag.js": {"get": _script("tag_script", "The script of this release", [], {})},
        "/tag/v/{digest}.js": {
            "get": _script(
                "tag_script_of_digest",
                "The script with this digest, which never changes",
                [_parameter("digest", "path")],
                {404: "This server has no script with this digest."},
            )
        },
        "/tag/{seller_id}.gif": {"get": _pixel()},
        "/tag/{seller_id}": {
            "get": _of_source("tag_settings", "What the tag of a source may send", TagSource, 403, 404, 429, 503),
            "post": _of_source("tag_events", "Log the events of a page", TagAnswer, *_REFUSALS)
            | {"requestBody": {"required": True, "content": {kind: {"schema": schema_of(TagCall)} for kind in _JSON}}},
        },
    }


_JSON = ("application/json", "text/plain")
"""As which media types a page sends JSON: the second needs no preflight."""


def _script(operation: str, summary: str, parameters: list[Any], failures: dict[int, str]) -> dict[str, Any]:
    found = {"description": summary + ".", "content": {"text/javascript": {"schema": {"type": "string"}}}}
    refused = {str(status): _response(text, {}) for status, text in failures.items()}
    return _operation(operation, summary, parameters, {"200": found} | refused)


def _of_source(operation: str, summary: str, answer: type, *refusals: int) -> dict[str, Any]:
    responses = {"200": _response("The request was understood.", schema_of(answer))}
    for status in refusals:
        responses[str(status)] = _response(_REFUSALS[status], schema_of(TagError), waiting=status in _WAITING)
    if operation == "tag_events":  # the events of a page that isn't allowed are logged as failures
        responses["403"]["content"]["application/json"]["schema"] = {"anyOf": [schema_of(TagError), schema_of(answer)]}
    return _operation(operation, summary, [_parameter("seller_id", "path")], responses)


def _pixel() -> dict[str, Any]:
    image = {
        "description": "A transparent image, whatever became of the event.",
        "headers": {"X-Postback-Error": {"schema": {"type": "string"}, "description": "What is wrong, if anything."}},
        "content": {"image/gif": {"schema": {"type": "string", "format": "binary"}}},
    }
    parameters = [_parameter("seller_id", "path"), *(_parameter(name, "query") for name in PARAMETERS)]
    return _operation("tag_pixel", "Log the event in the query", parameters, {"200": image})


def _operation(name: str, summary: str, parameters: list[Any], responses: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": name, "summary": summary, "security": [], "parameters": parameters, "responses": responses}


def _parameter(name: str, place: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}


def _response(description: str, schema: dict[str, Any], *, waiting: bool = False) -> dict[str, Any]:
    headers = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds to wait."}}
    found = {"description": description, "content": {"application/json": {"schema": schema}}}
    return found | ({"headers": headers} if waiting else {})
