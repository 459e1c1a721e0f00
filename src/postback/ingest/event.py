"""The event of the wire: core/event.json with core/user-match.json and core/event-custom-data.json as typed structs.

The structs name every member that the schemas know and refuse any other, so that the common event is decoded and
checked for types and bounds in one pass of C code. An event that they refuse is read again by ``ingest.decode``,
slowly and with care.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["MAX_VALUE", "NO_JSON", "CustomData", "Event", "Uid", "UserMatch"]

MAX_VALUE = 1e15
"""Monetary values at or above this lose cents in a JSON number (IEEE 754 double)."""

NO_JSON = msgspec.Raw()
"""What an absent member holds that stays raw."""

Amount = Annotated[float, Meta(ge=0, lt=MAX_VALUE)]
NonNegative = Annotated[float, Meta(ge=0)]


class Uid(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One universal ID."""

    type: str
    value: str


class UserMatch(msgspec.Struct, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """The identifiers of the person behind an event. They live in memory only, until they are hashed."""

    uids: list[Uid] | None = None
    hashed_email: str | None = None
    hashed_phone: str | None = None
    click_id: str | None = None
    click_id_type: str | None = None
    client_ip: str | None = None
    client_user_agent: str | None = None


class Content(msgspec.Struct, gc=False, omit_defaults=True):
    """The members of an order's item that the schemas know; others are kept beside them."""

    id: str
    quantity: Annotated[int, Meta(ge=1)] | None = None
    price: Amount | None = None
    brand: str | None = None


class StrictContent(Content, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """One item without any member that the schemas don't know."""


class CustomData(msgspec.Struct, gc=False, omit_defaults=True):
    """The members of custom_data that the schemas know; others are kept beside them."""

    value: Amount | None = None
    currency: str | None = None
    order_id: str | None = None
    content_ids: list[str] | None = None
    content_type: str | None = None
    content_name: str | None = None
    content_category: str | None = None
    num_items: Annotated[int, Meta(ge=0)] | None = None
    search_string: str | None = None
    progress_percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    progress_seconds: NonNegative | None = None
    contents: list[Content] | None = None


class StrictCustomData(CustomData, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """custom_data without any member that the schemas don't know."""

    contents: list[StrictContent] | None = None  # type: ignore[assignment] # narrower, and only ever read


class Event(msgspec.Struct, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """One event. ``custom_data`` stays raw until it is decoded by itself; empty when absent."""

    event_id: Annotated[str, Meta(min_length=1, max_length=256)]
    event_type: str
    event_time: Annotated[datetime, Meta(tz=True)]
    user_match: UserMatch | None = None
    custom_data: msgspec.Raw = NO_JSON
    action_source: str | None = None
    event_source_url: str | None = None
    custom_event_name: str | None = None
