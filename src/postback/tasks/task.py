"""A task as the server offers it: what it does, and how it is described to those who call it.

Each module of a task defines one ``Task`` with its request and response structs; the registry lists them. A struct
holds the task's own fields only, each with its ``Meta``; the envelope's are added here. To describe a task:

1. Put ``Annotated[…, Meta(description=…, ge=…, pattern=…, examples=…)]`` on every field of its request struct.
   ``Meta`` stands inside a union with None (``Annotated[str, Meta(…)] | None``), but around it for a struct
   (``Annotated[AccountRef | None, Meta(…)]``), else msgspec loses the description.
2. Return a response struct whose optional fields are ``| UnsetType = UNSET``, described likewise.
3. Name both in the module's ``Task``, with a title, a description for an LLM and an example.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import msgspec

from postback.protocol.envelope import CompletedEnvelope, FailedEnvelope, IdempotencyKeyField, RequestEnvelope
from postback.protocol.json_schema import Schema, merged, schema_of
from postback.tasks.call import Payload, TaskCall

__all__ = ["FAILURE_SCHEMA", "KeyPolicy", "Task"]

KeyPolicy = Literal["none", "optional", "when_pinned", "always"]
"""Whether a call needs an idempotency_key: it never has one, it may, it must when it pins a release, it must."""

FAILURE_SCHEMA = schema_of(FailedEnvelope)
"""JSON Schema of the response to a call that failed as a whole, whichever it was."""

_KEY = schema_of(IdempotencyKeyField)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task that is offered.

    Attributes:
        name: Its AdCP name; for what is not AdCP's, the last part of its path under /v1.
        title: For people.
        description: For an LLM that decides whether and how to call it.
        function: Does the work; returns the response's payload.
        request: The struct of the task's own arguments.
        response: The struct of the payload.
        example: Arguments that the input schema accepts.
        mutating: Whether it changes state.
        key: Whether a call needs an idempotency_key.
        scope: Which keys may call it, one of SCOPES; ``both``: any.
        failure_defaults: What the schema of its response requires even of a failure.
        sandbox_only: Whether only sandboxes offer it.
    """

    name: str
    title: str
    description: str
    function: Callable[[TaskCall], Awaitable[Payload]]
    request: type[msgspec.Struct]
    response: type[msgspec.Struct]
    example: Mapping[str, Any]
    mutating: bool
    key: KeyPolicy = "none"
    scope: str = "both"
    failure_defaults: Mapping[str, Any] = field(default_factory=dict)
    sandbox_only: bool = False

    @cached_property
    def input_schema(self) -> Schema:
        """JSON Schema of the arguments."""
        key = () if self.key == "none" else (_KEY,)
        schema = merged(schema_of(RequestEnvelope), *key, schema_of(self.request))
        required = [name for name in schema.pop("required", ()) if name != "idempotency_key" or self.key == "always"]
        # AdCP requires the key of calls that change something; these may omit it when they pin no release.
        pinned = {"dependentRequired": {"adcp_version": ["idempotency_key"]}} if self.key == "when_pinned" else {}
        return schema | ({"required": required} if required else {}) | pinned

    @cached_property
    def success_schema(self) -> Schema:
        """JSON Schema of the response to a call that succeeded."""
        return merged(schema_of(CompletedEnvelope), schema_of(self.response))

    @cached_property
    def output_schema(self) -> Schema:
        """JSON Schema of every response: an object, as MCP asks, that either succeeded or failed."""
        return {"type": "object", "anyOf": [self.success_schema, FAILURE_SCHEMA]}
