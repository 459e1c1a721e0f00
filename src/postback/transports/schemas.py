"""JSON schemas of the tasks, as MCP tools and OpenAPI show them. They describe; the tasks do the checking."""

from __future__ import annotations

from postback.protocol.enums import ACTION_SOURCES, EVENT_TYPES, UID_TYPES
from postback.transports.account_schemas import ACCOUNT_SCHEMAS
from postback.transports.controller_schemas import CONTROLLER_SCHEMAS
from postback.transports.delivery_schemas import DELIVERY_SCHEMAS
from postback.transports.media_buy_schemas import MEDIA_BUY_SCHEMAS
from postback.transports.shapes import (
    ACCOUNT,
    ANSWER,
    ENVELOPE,
    ERROR,
    FAILURE,
    IDEMPOTENCY_KEY,
    KEY_EXAMPLE,
    PINNED,
    TIME,
    Schema,
    TaskSchema,
    array,
    count,
    number,
    object_of,
    text,
)
from postback.transports.update_schemas import UPDATE_SCHEMAS

__all__ = ["EVENT_VERDICT", "FAILURE", "TASK_SCHEMAS", "USER_MATCH", "TaskSchema"]

USER_MATCH = object_of(
    {
        "uids": array(
            object_of({"type": text("Kind of ID.", enum=list(UID_TYPES)), "value": text("The ID.")}, "type", "value"),
            "Universal IDs.",
            minItems=1,
        ),
        "hashed_email": text("SHA-256 of the trimmed, lower-case e-mail address, as 64 hex digits."),
        "hashed_phone": text("SHA-256 of the E.164 phone number, as 64 hex digits."),
        "click_id": text("Click identifier of the ad platform."),
        "click_id_type": text("Kind of click identifier, as gclid."),
        "client_ip": text("Goes with client_user_agent."),
        "client_user_agent": text("Goes with client_ip."),
    },
    description="Who acted. At least one of uids, hashed_email, hashed_phone, click_id, or client_ip with "
    "client_user_agent; several are better. Never an e-mail address or a phone number in the clear.",
)
_CUSTOM_DATA = object_of(
    {
        "value": number("Monetary value."),
        "currency": text("ISO 4217 code of the value, as EUR.", pattern="^[A-Z]{3}$"),
        "order_id": text("Order or transaction."),
        "content_ids": array({"type": "string"}, "Products or contents."),
        "content_type": text("Category of the content, as product."),
        "num_items": count("Number of items."),
        "contents": array(
            object_of(
                {
                    "id": text("Product or content."),
                    "quantity": {"type": "integer", "minimum": 1},
                    "price": number("Price of one."),
                    "brand": text("Brand of the item."),
                },
                "id",
            ),
            "Details of each item.",
        ),
    },
    description="What it was worth and what it was about. Further members are kept.",
)
_EVENT = object_of(
    {
        "event_id": text(
            "The same for every retry, as the order number: with event_type and event_source_id it tells duplicates.",
            minLength=1,
            maxLength=256,
        ),
        "event_type": text("What happened.", enum=list(EVENT_TYPES)),
        "event_time": text(f"When it happened: {TIME}", format="date-time"),
        "user_match": USER_MATCH,
        "custom_data": _CUSTOM_DATA,
        "action_source": text("Where it happened.", enum=list(ACTION_SOURCES)),
        "event_source_url": text("Page where it happened, for action_source website.", format="uri"),
        "custom_event_name": text("Name of the event, for event_type custom."),
    },
    "event_id",
    "event_type",
    "event_time",
)

_SOURCE_SETTINGS: Schema = {
    "name": text("For people."),
    "event_types": array({"enum": list(EVENT_TYPES)}, "Event types it takes; all when absent.", minItems=1),
    "value_currencies": array({"type": "string", "pattern": "^[A-Z]{3}$"}, "Currencies it takes.", minItems=1),
    "action_source": text("Where its events happen.", enum=list(ACTION_SOURCES)),
    "allowed_domains": array({"type": "string"}, "Hosts that event_source_url may name.", minItems=1),
}

_LOGGED = object_of(
    ANSWER
    | {
        "events_received": count("Events in the call."),
        "events_processed": count("Events accepted, duplicates included."),
        "partial_failures": array(
            object_of(
                {
                    "event_id": text("The event, or index:17 when its id can't be read."),
                    "code": text("For programs; depends on the AdCP release."),
                    "message": text("What was wrong and what to do."),
                    "index": count("Its place in events."),
                    "field": text("Which member."),
                    "reason": text("For programs; the same in every release."),
                    "retryable": {"type": "boolean"},
                },
                "event_id",
                "code",
                "message",
            ),
            "The events that were not accepted.",
        ),
        "warnings": array({"type": "string"}, "What would make the events match better."),
        "match_quality": {"type": "number", "minimum": 0, "maximum": 1},
        "sandbox": {"type": "boolean"},
    },
    "events_received",
    "events_processed",
)
_SYNCED = object_of(
    ANSWER
    | {
        "event_sources": array(
            object_of(
                {
                    "event_source_id": text("The buyer's identifier."),
                    "seller_id": text("The seller's identifier; works as event_source_id too."),
                    "action": {"enum": ["created", "updated", "unchanged", "deleted", "failed"]},
                    "managed_by": {"enum": ["buyer", "seller"]},
                    "setup": {"type": "object"},
                    "health": {"type": "object"},
                    "errors": array(ERROR, "Why the action failed."),
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
_CAPABILITIES = object_of(
    ANSWER | {"adcp": {"type": "object"}, "supported_protocols": {"type": "array", "items": {"type": "string"}}},
    "adcp",
    "supported_protocols",
)

EVENT_VERDICT = object_of(
    {
        "account_id": {"type": "string"},
        "event_source_id": {"type": "string"},
        "event_type": {"type": "string"},
        "event_id": {"type": "string"},
        "verdicts": array(
            object_of(
                {
                    "verdict": {"enum": ["accepted", "rejected"]},
                    "received_at": {"type": "string", "format": "date-time"},
                    "event_time": {"type": "string", "format": "date-time"},
                    "test_event_code": text("Present for a test event."),
                    "match_quality": {"type": "number", "minimum": 0, "maximum": 1},
                    "identifiers": array({"type": "string"}, "Kinds of the identifiers that it can match by."),
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

TASK_SCHEMAS: dict[str, TaskSchema] = {
    "get_adcp_capabilities": TaskSchema(
        "Get capabilities",
        "Say what this seller's conversion tracking supports: AdCP releases, tasks, identifiers, event types and "
        "limits. Call it first. Changes nothing.",
        object_of(
            ENVELOPE
            | {
                "protocols": array(
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
        object_of(
            ENVELOPE
            | {
                "idempotency_key": IDEMPOTENCY_KEY,
                "account": ACCOUNT,
                "event_sources": array(
                    object_of(
                        {"event_source_id": text("Your identifier, unique in the account.", minLength=1)}
                        | _SOURCE_SETTINGS,
                        "event_source_id",
                    ),
                    "Sources to create or to replace the settings of.",
                    minItems=1,
                    maxItems=1_000,
                ),
                "delete_missing": {"type": "boolean", "default": False},
            },
            **PINNED,
        ),
        _SYNCED,
        {
            "idempotency_key": KEY_EXAMPLE,
            "event_sources": [{"event_source_id": "website", "event_types": ["purchase", "lead"]}],
        },
        read_only=False,
    ),
    "log_event": TaskSchema(
        "Log events",
        "Log 1 to 10,000 conversions or other marketing events of one event source. Each event is judged alone: read "
        "partial_failures for those that were not accepted and why, and warnings for what would match better. "
        "Repeating an event is safe. With test_event_code the events are checked and kept apart from production data.",
        object_of(
            ENVELOPE
            | {
                "idempotency_key": IDEMPOTENCY_KEY,
                "event_source_id": text("A source that sync_event_sources returned.", minLength=1),
                "events": array(_EVENT, "The events.", minItems=1, maxItems=10_000),
                "test_event_code": text(
                    "Marks all events of the call as test events.", minLength=1, maxLength=256, pattern="^[ -~]+$"
                ),
                "account": ACCOUNT,
            },
            "event_source_id",
            "events",
            **PINNED,
        ),
        _LOGGED,
        {
            "idempotency_key": KEY_EXAMPLE,
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
    **ACCOUNT_SCHEMAS,
    **MEDIA_BUY_SCHEMAS,
    **UPDATE_SCHEMAS,
    **DELIVERY_SCHEMAS,
    **CONTROLLER_SCHEMAS,
}
"""The AdCP tasks, by name."""
