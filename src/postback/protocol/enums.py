"""AdCP's closed enumerations, as of release 3.2 (schemas under ``enums/``); each earlier list is a subset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from postback.protocol.releases import MAJOR_ONLY, Release

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
    "PricingModel",
    "accepted_event_types",
    "has_pricing_model",
    "released_event_types",
    "released_metrics",
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

_METRICS_3_0 = frozenset(
    (
        "impressions",
        "spend",
        "clicks",
        "ctr",
        "video_completions",
        "completion_rate",
        "conversions",
        "conversion_value",
        "roas",
        "cost_per_acquisition",
        "new_to_brand_rate",
        "viewability",
        "engagement_rate",
        "views",
        "completed_views",
        "leads",
        "reach",
        "frequency",
        "grps",
        "quartile_data",
        "dooh_metrics",
        "cost_per_click",
    )
)

PricingModel = Literal[
    "cpm",
    "vcpm",
    "cpc",
    "cpcv",
    "cpv",
    "cpp",
    "cpa",
    "revenue_share",
    "flat_rate",
    "time",
]

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


_OLDEST = ("3.0", MAJOR_ONLY)
"""The releases whose responses have the values of 3.0 only."""


def accepted_event_types(release: Release | None) -> tuple[str, ...]:
    """The event types that a request of this release may name; an unversioned request (None) any."""
    return _EVENT_TYPES_3_0 if release == "3.0" else EVENT_TYPES


def released_event_types(release: Release | None) -> tuple[str, ...]:
    """The event types that a response of this release may name; an unversioned one (None) any."""
    return _EVENT_TYPES_3_0 if release in _OLDEST else EVENT_TYPES


def released_uid_types(release: Release | None) -> tuple[str, ...]:
    """The universal ID types that a response of this release may name; an unversioned one (None) any."""
    return UID_TYPES_3_0 if release in _OLDEST else UID_TYPES


def released_metrics(release: Release | None, metrics: Iterable[str]) -> tuple[str, ...]:
    """Those of these metrics that a response of this release may name as available."""
    return tuple(metric for metric in metrics if release not in _OLDEST or metric in _METRICS_3_0)


def has_pricing_model(release: Release | None, pricing_model: str) -> bool:
    """Whether a response of this release may name a pricing model; an unversioned one (None) may name any."""
    return pricing_model != "revenue_share" or release in (None, "3.2")
