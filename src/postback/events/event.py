"""The event of the wire: core/event.json with core/user-match.json and core/event-custom-data.json as typed structs.

The structs name every field that the schemas know and refuse any other, so that the common event is decoded and
checked for types and bounds in one pass of C code. An event that they refuse is read again by ``events.decode``,
slowly and with care. They are also what is published of an event.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from postback.protocol.enums import ACTION_SOURCES, EVENT_TYPES, UID_TYPES
from postback.protocol.envelope import TIME
from postback.protocol.json_schema import documented, word
from postback.protocol.strict_json import NO_JSON

__all__ = ["MAX_VALUE", "USER_MATCH", "CustomData", "DescribedEvent", "Event", "StrictEvent", "Uid", "UserMatch"]

MAX_VALUE = 1e15
"""Monetary values at or above this lose cents in a JSON number (IEEE 754 double)."""

USER_MATCH = (
    "Who acted. At least one of uids, hashed_email, hashed_phone, click_id, or client_ip with client_user_agent; "
    "several are better. Never an e-mail address or a phone number in plain text."
)


class Uid(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One universal ID."""

    type: Annotated[str, word(UID_TYPES, "Kind of ID.")]
    value: Annotated[str, Meta(description="The ID.")]


class UserMatch(msgspec.Struct, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """The identifiers of the person behind an event. They live in memory only, until they are hashed."""

    uids: Annotated[list[Uid], documented("Universal IDs.", minItems=1)] | None = None
    hashed_email: (
        Annotated[str, Meta(description="SHA-256 of the trimmed, lower-case e-mail address, as 64 hex digits.")] | None
    ) = None
    hashed_phone: Annotated[str, Meta(description="SHA-256 of the E.164 phone number, as 64 hex digits.")] | None = None
    click_id: Annotated[str, Meta(description="Click identifier of the ad platform.")] | None = None
    click_id_type: Annotated[str, Meta(description="Kind of click identifier, for example gclid.")] | None = None
    client_ip: Annotated[str, Meta(description="IP address; only together with client_user_agent.")] | None = None
    client_user_agent: Annotated[str, Meta(description="User agent; only together with client_ip.")] | None = None


class Content(msgspec.Struct, gc=False, omit_defaults=True):
    """The fields of an order's item that the schemas know; others are kept beside them."""

    id: Annotated[str, Meta(description="Product or content.")]
    quantity: Annotated[int, Meta(ge=1, description="How many of it.")] | None = None
    price: Annotated[float, Meta(ge=0, lt=MAX_VALUE, description="Price of one.")] | None = None
    brand: Annotated[str, Meta(description="Brand of the item.")] | None = None


class StrictContent(Content, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """One item without any field that the schemas don't know."""


class CustomData(msgspec.Struct, gc=False, omit_defaults=True):
    """The fields of custom_data that the schemas know; others are kept beside them."""

    value: Annotated[float, Meta(ge=0, lt=MAX_VALUE, description="Monetary value.")] | None = None
    currency: (
        Annotated[str, documented("ISO 4217 code of the value, for example EUR.", pattern="^[A-Z]{3}$")] | None
    ) = None
    order_id: Annotated[str, Meta(description="Order or transaction.")] | None = None
    content_ids: Annotated[list[str], Meta(description="Products or contents.")] | None = None
    content_type: Annotated[str, Meta(description="Category of the content, for example product.")] | None = None
    content_name: Annotated[str, Meta(description="Name of the product or content.")] | None = None
    content_category: Annotated[str, Meta(description="Category of the page or product.")] | None = None
    num_items: Annotated[int, Meta(ge=0, description="Number of items.")] | None = None
    search_string: Annotated[str, Meta(description="What was searched for, for event_type search.")] | None = None
    progress_percent: (
        Annotated[float, Meta(ge=0, le=100, description="How much of the content was watched, in percent.")] | None
    ) = None
    progress_seconds: (
        Annotated[float, Meta(ge=0, description="How much of the content was watched, in seconds.")] | None
    ) = None
    contents: Annotated[list[Content], Meta(description="Details of each item.")] | None = None


class StrictCustomData(CustomData, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """custom_data without any field that the schemas don't know."""

    contents: list[StrictContent] | None = None  # type: ignore[assignment] # narrower, and only ever read


class DescribedEvent(msgspec.Struct, gc=False, omit_defaults=True):
    """One event, as it is published."""

    event_id: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=256,
            description="The same for every retry, for example the order number: with event_type and event_source_id "
            "it identifies duplicates.",
        ),
    ]
    event_type: Annotated[str, word(EVENT_TYPES, "What happened.")]
    event_time: Annotated[datetime, Meta(tz=True, description=f"When it happened: {TIME}")]
    user_match: Annotated[UserMatch | None, Meta(description=USER_MATCH)] = None
    custom_data: Annotated[
        CustomData | None, Meta(description="What it was worth and what it was about. Further fields are kept.")
    ] = None
    action_source: Annotated[str, word(ACTION_SOURCES, "Where it happened.")] | None = None
    event_source_url: (
        Annotated[str, documented("Page where it happened, for action_source website.", format="uri")] | None
    ) = None
    custom_event_name: Annotated[str, Meta(description="Name of the event, for event_type custom.")] | None = None


class StrictEvent(DescribedEvent, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """One event without any field that the schemas don't know."""

    custom_data: StrictCustomData | None = None


class Event(DescribedEvent, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """One event whose ``custom_data`` stays raw, since it may have fields that the schemas don't know; or is empty."""

    custom_data: msgspec.Raw = NO_JSON  # type: ignore[assignment] # a default that can't be published
