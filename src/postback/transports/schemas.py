"""JSON schemas of the tasks, as MCP tools and OpenAPI show them. They describe; the tasks do the checking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from postback.protocol.enums import ACTION_SOURCES, EVENT_TYPES, UID_TYPES
from postback.protocol.releases import RELEASES

__all__ = ["EVENT_VERDICT", "FAILURE", "TASK_SCHEMAS", "TaskSchema"]

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


def _text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _number(description: str) -> Schema:
    return {"type": "number", "minimum": 0, "description": description}


def _count(description: str) -> Schema:
    return {"type": "integer", "minimum": 0, "description": description}


def _list(items: Schema, description: str, **more: Any) -> Schema:
    return {"type": "array", "items": items, "description": description, **more}


def _object(properties: Schema, *required: str, **more: Any) -> Schema:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {}), **more}


_TIME = "RFC 3339 with an offset, as 2026-01-15T14:30:00Z."

_ENVELOPE: Schema = {
    "adcp_version": _text("AdCP release that the call is written for.", enum=list(RELEASES)),
    "context": {"type": "object", "description": "Anything of yours; the answer echoes it."},
    "ext": {"type": "object", "description": "Extensions; unknown ones are ignored."},
}
_IDEMPOTENCY_KEY = _text(
    "Unique for each call, as a UUID. Repeating a call with its key is safe: it returns the first answer.",
    pattern="^[A-Za-z0-9_.:-]{16,255}$",
)
_PINNED: Schema = {"dependentRequired": {"adcp_version": ["idempotency_key"]}}
"""AdCP requires the key of calls that change something; only calls that pin no release may omit it."""

_ACCOUNT: Schema = {
    "description": "The account, when the API key acts for several.",
    "anyOf": [
        _object({"account_id": _text("The seller's identifier of the account.")}, "account_id"),
        _object(
            {
                "brand": _object({"domain": _text("Domain of the brand.")}, "domain"),
                "operator": _text("Domain of whoever acts for the brand."),
                "sandbox": {"type": "boolean"},
            },
            "brand",
            "operator",
        ),
    ],
}

_USER_MATCH = _object(
    {
        "uids": _list(
            _object({"type": _text("Kind of ID.", enum=list(UID_TYPES)), "value": _text("The ID.")}, "type", "value"),
            "Universal IDs.",
            minItems=1,
        ),
        "hashed_email": _text("SHA-256 of the trimmed, lower-case e-mail address, as 64 hex digits."),
        "hashed_phone": _text("SHA-256 of the E.164 phone number, as 64 hex digits."),
        "click_id": _text("Click identifier of the ad platform."),
        "click_id_type": _text("Kind of click identifier, as gclid."),
        "client_ip": _text("Goes with client_user_agent."),
        "client_user_agent": _text("Goes with client_ip."),
    },
    description="Who acted. At least one of uids, hashed_email, hashed_phone, click_id, or client_ip with "
    "client_user_agent; several are better. Never an e-mail address or a phone number in the clear.",
)
_CUSTOM_DATA = _object(
    {
        "value": _number("Monetary value."),
        "currency": _text("ISO 4217 code of the value, as EUR.", pattern="^[A-Z]{3}$"),
        "order_id": _text("Order or transaction."),
        "content_ids": _list({"type": "string"}, "Products or contents."),
        "content_type": _text("Category of the content, as product."),
        "num_items": _count("Number of items."),
        "contents": _list(
            _object(
                {
                    "id": _text("Product or content."),
                    "quantity": {"type": "integer", "minimum": 1},
                    "price": _number("Price of one."),
                    "brand": _text("Brand of the item."),
                },
                "id",
            ),
            "Details of each item.",
        ),
    },
    description="What it was worth and what it was about. Further members are kept.",
)
_EVENT = _object(
    {
        "event_id": _text(
            "The same for every retry, as the order number: with event_type and event_source_id it tells duplicates.",
            minLength=1,
            maxLength=256,
        ),
        "event_type": _text("What happened.", enum=list(EVENT_TYPES)),
        "event_time": _text(f"When it happened: {_TIME}", format="date-time"),
        "user_match": _USER_MATCH,
        "custom_data": _CUSTOM_DATA,
        "action_source": _text("Where it happened.", enum=list(ACTION_SOURCES)),
        "event_source_url": _text("Page where it happened, for action_source website.", format="uri"),
        "custom_event_name": _text("Name of the event, for event_type custom."),
    },
    "event_id",
    "event_type",
    "event_time",
)

_SOURCE_SETTINGS: Schema = {
    "name": _text("For people."),
    "event_types": _list({"enum": list(EVENT_TYPES)}, "Event types it takes; all when absent.", minItems=1),
    "value_currencies": _list({"type": "string", "pattern": "^[A-Z]{3}$"}, "Currencies it takes.", minItems=1),
    "action_source": _text("Where its events happen.", enum=list(ACTION_SOURCES)),
    "allowed_domains": _list({"type": "string"}, "Hosts that event_source_url may name.", minItems=1),
}

_ERROR = _object(
    {
        "code": _text("For programs; depends on the AdCP release that the call pins."),
        "message": _text("What was wrong."),
        "field": _text("Which member, as events[17].event_time."),
        "suggestion": _text("What to do."),
        "recovery": {"enum": ["transient", "correctable", "terminal"]},
        "retry_after": {"type": "integer", "minimum": 1, "description": "Seconds to wait before the same call."},
        "details": {"type": "object"},
    },
    "code",
    "message",
    "recovery",
)
FAILURE = _object(
    {
        "status": {"const": "failed"},
        "adcp_error": _ERROR,
        "errors": _list(_ERROR, "The same error, as the task's schema has it.", minItems=1),
        "context": {"type": "object"},
        "ext": {"type": "object"},
    },
    "status",
    "adcp_error",
    "errors",
)
"""The answer of every call that failed as a whole, on every path."""

_ANSWER: Schema = {
    "status": {"const": "completed"},
    "adcp_version": _text("AdCP release that was served."),
    "replayed": {"type": "boolean", "description": "This is the answer of the first call with the key."},
    "context": {"type": "object"},
    "ext": {"type": "object"},
}
_LOGGED = _object(
    _ANSWER
    | {
        "events_received": _count("Events in the call."),
        "events_processed": _count("Events accepted, duplicates included."),
        "partial_failures": _list(
            _object(
                {
                    "event_id": _text("The event, or index:17 when its id can't be read."),
                    "code": _text("For programs; depends on the AdCP release."),
                    "message": _text("What was wrong and what to do."),
                    "index": _count("Its place in events."),
                    "field": _text("Which member."),
                    "reason": _text("For programs; the same in every release."),
                    "retryable": {"type": "boolean"},
                },
                "event_id",
                "code",
                "message",
            ),
            "The events that were not accepted.",
        ),
        "warnings": _list({"type": "string"}, "What would make the events match better."),
        "match_quality": {"type": "number", "minimum": 0, "maximum": 1},
        "sandbox": {"type": "boolean"},
    },
    "events_received",
    "events_processed",
)
_SYNCED = _object(
    _ANSWER
    | {
        "event_sources": _list(
            _object(
                {
                    "event_source_id": _text("The buyer's identifier."),
                    "seller_id": _text("The seller's identifier; works as event_source_id too."),
                    "action": {"enum": ["created", "updated", "unchanged", "deleted", "failed"]},
                    "managed_by": {"enum": ["buyer", "seller"]},
                    "setup": {"type": "object"},
                    "health": {"type": "object"},
                    "errors": _list(_ERROR, "Why the action failed."),
                }
                | _SOURCE_SETTINGS,
                "event_source_id",
                "action",
            ),
            "Those of the call in its order, then the account's others.",
        ),
        "sandbox": {"type": "boolean"},
    },
    "event_sources",
)
_CAPABILITIES = _object(
    _ANSWER | {"adcp": {"type": "object"}, "supported_protocols": {"type": "array", "items": {"type": "string"}}},
    "adcp",
    "supported_protocols",
)

EVENT_VERDICT = _object(
    {
        "account_id": {"type": "string"},
        "event_source_id": {"type": "string"},
        "event_type": {"type": "string"},
        "event_id": {"type": "string"},
        "verdicts": _list(
            _object(
                {
                    "verdict": {"enum": ["accepted", "rejected"]},
                    "received_at": {"type": "string", "format": "date-time"},
                    "event_time": {"type": "string", "format": "date-time"},
                    "test_event_code": _text("Present for a test event."),
                    "match_quality": {"type": "number", "minimum": 0, "maximum": 1},
                    "identifiers": _list({"type": "string"}, "Kinds of the identifiers that it can match by."),
                    "warnings": {"type": "array", "items": {"type": "string"}},
                    "reason": {"type": "string"},
                    "field": {"type": "string"},
                    "message": {"type": "string"},
                },
                "verdict",
                "received_at",
            ),
            "Newest first.",
            minItems=1,
        ),
    },
    "account_id",
    "event_source_id",
    "event_type",
    "event_id",
    "verdicts",
)
"""What became of an event: live, as a test event, and why it was rejected last."""

_KEY_EXAMPLE = "8b7f5d0e-52a1-4e0c-9d6b-3a1f0c2e4d55"

TASK_SCHEMAS: dict[str, TaskSchema] = {
    "get_adcp_capabilities": TaskSchema(
        "Get capabilities",
        "Say what this seller's conversion tracking supports: AdCP releases, tasks, identifiers, event types and "
        "limits. Call it first. Changes nothing.",
        _object(
            _ENVELOPE
            | {
                "protocols": _list(
                    {"enum": ["media_buy", "signals", "governance", "sponsored_intelligence", "creative"]},
                    "Protocols to ask about; all when absent.",
                    minItems=1,
                )
            }
        ),
        _CAPABILITIES,
        {},
        read_only=True,
    ),
    "sync_event_sources": TaskSchema(
        "Sync event sources",
        "Set up where conversions come from (a website, an app, a shop) before logging events; each source gets "
        "set-up instructions and health. Creates the listed sources or replaces their settings. Without "
        "event_sources it only lists what exists. delete_missing removes those that the call doesn't list.",
        _object(
            _ENVELOPE
            | {
                "idempotency_key": _IDEMPOTENCY_KEY,
                "account": _ACCOUNT,
                "event_sources": _list(
                    _object(
                        {"event_source_id": _text("Your identifier, unique in the account.", minLength=1)}
                        | _SOURCE_SETTINGS,
                        "event_source_id",
                    ),
                    "Sources to create or to replace the settings of.",
                    minItems=1,
                    maxItems=1_000,
                ),
                "delete_missing": {"type": "boolean", "default": False},
            },
            **_PINNED,
        ),
        _SYNCED,
        {
            "idempotency_key": _KEY_EXAMPLE,
            "event_sources": [{"event_source_id": "website", "event_types": ["purchase", "lead"]}],
        },
        read_only=False,
    ),
    "log_event": TaskSchema(
        "Log events",
        "Log 1 to 10,000 conversions or other marketing events of one event source. Each event is judged alone: read "
        "partial_failures for those that were not accepted and why, and warnings for what would match better. "
        "Repeating an event is safe. With test_event_code the events are checked and kept apart from production data.",
        _object(
            _ENVELOPE
            | {
                "idempotency_key": _IDEMPOTENCY_KEY,
                "event_source_id": _text("A source that sync_event_sources returned.", minLength=1),
                "events": _list(_EVENT, "The events.", minItems=1, maxItems=10_000),
                "test_event_code": _text(
                    "Marks all events of the call as test events.", minLength=1, maxLength=256, pattern="^[ -~]+$"
                ),
                "account": _ACCOUNT,
            },
            "event_source_id",
            "events",
            **_PINNED,
        ),
        _LOGGED,
        {
            "idempotency_key": _KEY_EXAMPLE,
            "event_source_id": "website",
            "events": [
                {
                    "event_id": "order_98765",
                    "event_type": "purchase",
                    "event_time": "2026-01-15T14:30:00Z",
                    "action_source": "website",
                    "event_source_url": "https://www.example.com/checkout/thanks",
                    "user_match": {"hashed_email": "a522b5489bfc961b75e6adefbb546c29b1d03a6e96588d7dae866c225ceb65da"},
                    "custom_data": {"value": 149.99, "currency": "EUR", "order_id": "98765"},
                }
            ],
        },
        read_only=False,
    ),
}
"""The tasks that this server offers, by name."""
