"""The JSON Schemas that are published, made from the structs that requests are decoded into and responses encoded from.

A shape is defined once, as a struct whose fields carry their description, bounds and examples:

    class LogEventRequest(msgspec.Struct):
        event_source_id: Annotated[str, Meta(min_length=1, description="A source that sync_event_sources returned.")]
        events: Annotated[msgspec.Raw, published_as(Annotated[list[Event], Meta(max_length=10_000)])]
        account: Annotated[AccountRef, Meta(description=ACCOUNT)] | None = None

A task names its two structs in ``tasks/``; MCP, OpenAPI and the tests ask the task for the schemas.

Where the published type is not the decoded one, say so beside the field: ``published_as`` for what stays raw and is
validated item by item, ``word`` for a string whose closed list is checked later, with an error code of its own. A Raw
field that may be absent has a default that can't be published: describe the type in a base class and make it raw in
the class that is decoded, as ``Event`` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Meta

__all__ = ["UNPUBLISHED", "Schema", "documented", "merged", "published_as", "schema_of", "word"]

Schema = dict[str, Any]

_REF = "{name}"

_INSTEAD = "x-published-as"

UNPUBLISHED = Meta(extra_json_schema={"x-unpublished": True})
"""The ``Meta`` of a field that is read, but that nobody is invited to send."""


def schema_of(shape: Any) -> Schema:
    """The JSON Schema 2020-12 of a type: self-contained, without references.

    A field that may be omitted is published without null, although null is accepted for it; an object is published
    open, since fields that nobody knows are accepted. Docstrings are for readers of the code and left out.
    """
    (schema,), components = msgspec.json.schema_components([shape], ref_template=_REF)
    return _published(schema, components)


def published_as(shape: Any) -> Meta:
    """The ``Meta`` of a field that is decoded otherwise than it is published.

    Args:
        shape: The type to publish, with its own ``Meta``.
    """
    return Meta(extra_json_schema={_INSTEAD: schema_of(shape)})


def documented(description: str, **schema: object) -> Meta:
    """The ``Meta`` of a field whose bounds are checked after decoding, by rules with messages of their own."""
    return Meta(description=description, extra_json_schema=schema)


def word(allowed: Iterable[str], description: str) -> Meta:
    """The ``Meta`` of a string that must be one of these, where a later check says so."""
    return Meta(description=description, extra_json_schema={"enum": list(allowed)})


def merged(*schemas: Schema) -> Schema:
    """The schema of an object that has the fields of several; the later one defines a field that two have."""
    properties = {name: field for schema in schemas for name, field in schema["properties"].items()}
    required = dict.fromkeys(name for schema in schemas for name in schema.get("required", ()))
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})


def _published(schema: Schema, components: Mapping[str, Schema]) -> Schema:
    """A schema of msgspec's as it is published: references resolved, and only what helps a caller."""
    if "$ref" in schema:
        component = components[schema["$ref"]]
        struct = {key: value for key, value in component.items() if key not in ("title", "description")}
        schema = struct | {key: value for key, value in schema.items() if key != "$ref"}
    if _INSTEAD in schema:
        return dict(schema[_INSTEAD])
    published: Schema = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            shown = {name: field for name, field in value.items() if "x-unpublished" not in field}
            published[key] = {name: _published(field, components) for name, field in shown.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            published[key] = _published(value, components)
        elif key in ("anyOf", "oneOf", "allOf"):
            published[key] = [_published(arm, components) for arm in value]
        elif key == "pattern":
            published[key] = value.removesuffix(r"\Z") + ("$" if value.endswith(r"\Z") else "")
        elif not (key == "additionalProperties" and value is False) and not (key == "required" and not value):
            published[key] = value
    if "type" not in published and all(isinstance(value, str) for value in published.get("enum", (None,))):
        published["type"] = "string"
    return _without_null(published) if "default" in schema else published


def _without_null(schema: Schema) -> Schema:
    """An optional field's schema without the null and the empty default that stand for its absence."""
    default = schema["default"]
    if isinstance(default, list | tuple | dict | str) and not _says_something(default):
        return _except(schema, "default")
    if default is not None:
        return schema
    arms = [arm for arm in schema.get("anyOf", ()) if arm != {"type": "null"}]
    if len(arms) == 1:
        return {**arms[0], **_except(schema, "default", "anyOf")}
    return _except(schema, "default") | ({"anyOf": arms} if arms else {})


def _says_something(default: list[Any] | tuple[Any, ...] | dict[str, Any] | str) -> bool:
    """Whether a default is more than the absence of everything in it."""
    values = default.values() if isinstance(default, dict) else default
    return bool(values) and all(value is not None and value != {} for value in values)


def _except(schema: Schema, *keys: str) -> Schema:
    return {key: value for key, value in schema.items() if key not in keys}
