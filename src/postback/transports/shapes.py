"""Pieces of which the JSON schemas of all tasks are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from postback.protocol.domains import DOMAIN, MAX_DOMAIN_LENGTH
from postback.protocol.releases import RELEASES

__all__ = [
    "ACCOUNT",
    "ANSWER",
    "ENVELOPE",
    "ERROR",
    "FAILURE",
    "IDEMPOTENCY_KEY",
    "KEY_EXAMPLE",
    "PAGE",
    "PAGINATION",
    "PINNED",
    "TIME",
    "Schema",
    "TaskSchema",
    "array",
    "count",
    "domain",
    "number",
    "object_of",
    "text",
]

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TaskSchema:
    """How a task is described to those who call it.

    Attributes:
        title: For people.
        description: For an LLM that decides whether and how to call it.
        input: Schema of the arguments; self-contained.
        output: Schema of the answer of a call that succeeded.
        example: Arguments that the input schema accepts.
        read_only: Whether a call changes nothing.
    """

    title: str
    description: str
    input: Schema
    output: Schema
    example: Schema
    read_only: bool


def text(description: str, **more: Any) -> Schema:
    """A string."""
    return {"type": "string", "description": description, **more}


def domain(description: str) -> Schema:
    """A domain."""
    return text(description, pattern=f"^{DOMAIN}$", maxLength=MAX_DOMAIN_LENGTH)


def number(description: str) -> Schema:
    """A number that is not negative."""
    return {"type": "number", "minimum": 0, "description": description}


def count(description: str) -> Schema:
    """A whole number that is not negative."""
    return {"type": "integer", "minimum": 0, "description": description}


def array(items: Schema, description: str, **more: Any) -> Schema:
    """A list."""
    return {"type": "array", "items": items, "description": description, **more}


def object_of(properties: Schema, *required: str, **more: Any) -> Schema:
    """An object; ``required`` names the members that it must have."""
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {}), **more}


TIME = "RFC 3339 with an offset, as 2026-01-15T14:30:00Z."

ENVELOPE: Schema = {
    "adcp_version": text("AdCP release that the call is written for.", enum=list(RELEASES)),
    "context": {"type": "object", "description": "Anything of yours; the answer echoes it."},
    "ext": {"type": "object", "description": "Extensions; unknown ones are ignored."},
}
IDEMPOTENCY_KEY = text(
    "Unique for each call, as a UUID. Repeating a call with its key is safe: it returns the first answer.",
    pattern="^[A-Za-z0-9_.:-]{16,255}$",
)
PINNED: Schema = {"dependentRequired": {"adcp_version": ["idempotency_key"]}}
"""AdCP requires the key of calls that change something; only calls that pin no release may omit it."""

ACCOUNT: Schema = {
    "description": "The account, when the API key acts for several.",
    "anyOf": [
        object_of({"account_id": text("The seller's identifier of the account.")}, "account_id"),
        object_of(
            {
                "brand": object_of({"domain": domain("Domain of the brand.")}, "domain"),
                "operator": domain("Domain of whoever acts for the brand."),
                "sandbox": {"type": "boolean"},
            },
            "brand",
            "operator",
        ),
    ],
}

ERROR = object_of(
    {
        "code": text("For programs; depends on the AdCP release that the call pins."),
        "message": text("What was wrong."),
        "field": text("Which member, as events[17].event_time."),
        "suggestion": text("What to do."),
        "recovery": {"enum": ["transient", "correctable", "terminal"]},
        "retry_after": {"type": "integer", "minimum": 1, "description": "Seconds to wait before the same call."},
        "details": {"type": "object"},
    },
    "code",
    "message",
)
FAILURE = object_of(
    {
        "status": {"const": "failed"},
        "adcp_error": ERROR,
        "errors": array(ERROR, "The same error, then whatever else is wrong with the call.", minItems=1),
        "context": {"type": "object"},
        "ext": {"type": "object"},
    },
    "status",
    "adcp_error",
    "errors",
)
"""The answer of every call that failed as a whole, on every path."""

ANSWER: Schema = {
    "status": {"const": "completed"},
    "adcp_version": text("AdCP release that was served."),
    "replayed": {"type": "boolean", "description": "This is the answer of the first call with the key."},
    "context": {"type": "object"},
    "ext": {"type": "object"},
}
KEY_EXAMPLE = "8b7f5d0e-52a1-4e0c-9d6b-3a1f0c2e4d55"

PAGINATION = object_of(
    {
        "max_results": {"type": "integer", "minimum": 1, "maximum": 100, "default": 50},
        "cursor": text("From the last answer's pagination.", maxLength=2048),
    }
)
PAGE = object_of({"has_more": {"type": "boolean"}, "cursor": text("Of the next page.")}, "has_more")
