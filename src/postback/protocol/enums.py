"""The closed word lists of AdCP, as of release 3.2 (schemas under ``enums/``); each earlier list is a subset."""

from __future__ import annotations

from typing import Literal

__all__ = [
    "ACTION_SOURCES",
    "EVENT_TYPES",
    "PAYMENT_TERMS",
    "SURFACE_CATEGORIES",
    "UID_TYPES",
    "UID_TYPES_3_0",
    "AccountStatus",
    "BillingParty",
    "Channel",
    "MediaBuyStatus",
    "Pacing",
    "released_event_types",
    "released_uid_types",
]

_EVENT_TYPES_3_0 = (
    "page_view",
    "view_content",
    "select_content",
    "select_item",
    "search",
    "share",
    "add_to_cart",
    "remove_from_cart",
    "viewed_cart",
    "add_to_wishlist",
    "initiate_checkout",
    "add_payment_info",
    "purchase",
    "refund",
    "lead",
    "qualify_lead",
    "close_convert_lead",
    "disqualify_lead",
    "complete_registration",
    "subscribe",
    "start_trial",
    "app_install",
    "app_launch",
    "contact",
    "schedule",
    "donate",
    "submit_application",
    "custom",
)

EVENT_TYPES = (*_EVENT_TYPES_3_0, "follow", "content_view", "watch_milestone")

ACTION_SOURCES = (
    "website",
    "app",
    "offline",
    "phone_call",
    "chat",
    "email",
    "in_store",
    "system_generated",
    "other",
)

SURFACE_CATEGORIES = ("owned_property", *ACTION_SOURCES)

UID_TYPES_3_0 = (
    "rampid",
    "rampid_derived",
    "id5",
    "uid2",
    "euid",
    "pairid",
    "maid",
    "hashed_email",
    "publisher_first_party",
    "other",
)

UID_TYPES = (*UID_TYPES_3_0, "world_id_nullifier")

Channel = Literal[
    "display",
    "olv",
    "social",
    "search",
    "ctv",
    "linear_tv",
    "radio",
    "streaming_audio",
    "podcast",
    "dooh",
    "ooh",
    "print",
    "cinema",
    "email",
    "gaming",
    "retail_media",
    "influencer",
    "affiliate",
    "product_placement",
    "sponsored_intelligence",
]

AccountStatus = Literal["active", "pending_approval", "rejected", "payment_required", "suspended", "closed"]

BillingParty = Literal["operator", "agent", "advertiser"]

PAYMENT_TERMS = ("net_15", "net_30", "net_45", "net_60", "net_90", "prepay")

MediaBuyStatus = Literal["pending_creatives", "pending_start", "active", "paused", "completed", "rejected", "canceled"]

Pacing = Literal["even", "asap", "front_loaded"]


def released_event_types(release: str | None) -> tuple[str, ...]:
    """The event types that a release knows, as ``"3.0"``; None, the seed's dialect, knows all."""
    return _EVENT_TYPES_3_0 if release == "3.0" else EVENT_TYPES


def released_uid_types(release: str | None) -> tuple[str, ...]:
    """The universal ID types that a release knows; None, the seed's dialect, knows all."""
    return UID_TYPES_3_0 if release == "3.0" else UID_TYPES
