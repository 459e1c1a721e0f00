"""JSON schemas of the tasks about products and media buys. They describe; the tasks do the checking."""

from __future__ import annotations

from typing import Any, get_args

from postback.media_buys.discovery import BUYING_MODES
from postback.media_buys.windows import offered_windows
from postback.protocol.enums import EVENT_TYPES, Channel, MediaBuyStatus, Pacing
from postback.transports.shapes import (
    ACCOUNT,
    ANSWER,
    ENVELOPE,
    ERROR,
    IDEMPOTENCY_KEY,
    KEY_EXAMPLE,
    PAGE,
    PAGINATION,
    PINNED,
    TIME,
    Schema,
    TaskSchema,
    array,
    number,
    object_of,
    text,
)

__all__ = ["BUY", "GOAL", "MEDIA_BUY_SCHEMAS", "NEW_PACKAGE"]


def _ext(member: str, description: str) -> Schema:
    own_id = text(description, pattern="^[A-Za-z0-9_.:-]{1,128}$")
    return object_of({"postback": object_of({member: own_id})}, description="Extensions; unknown ones are ignored.")


_WINDOWS = offered_windows()
_STATUS: Schema = {"enum": list(get_args(MediaBuyStatus))}

GOAL = object_of(
    {
        "kind": {"enum": ["event", "metric"]},
        "metric": text("What a metric goal optimizes, one of the product's supported_metrics."),
        "event_sources": array(
            object_of(
                {
                    "event_source_id": text("A source that sync_event_sources returned.", minLength=1, maxLength=256),
                    "event_type": text("Type of its events.", enum=list(EVENT_TYPES)),
                    "custom_event_name": text("Name of the events, for event_type custom.", minLength=1, maxLength=256),
                    "value_field": text(
                        "Member of custom_data that carries the value, as value or order_total.",
                        minLength=1,
                        maxLength=256,
                    ),
                    "value_factor": {
                        "type": "number",
                        "default": 1,
                        "description": "Multiplies the value: -1 for refunds, 0.01 for cents.",
                    },
                },
                "event_source_id",
                "event_type",
            ),
            "Whose events count. The same event from several counts once, with the first one's value.",
            minItems=1,
        ),
        "target": {
            "description": "What to aim at; without it, as many conversions as possible.",
            "oneOf": [
                object_of(
                    {
                        "kind": {"enum": ["cost_per", "per_ad_spend"]},
                        "value": {"type": "number", "exclusiveMinimum": 0},
                    },
                    "kind",
                    "value",
                ),
                object_of({"kind": {"const": "maximize_value"}}, "kind"),
            ],
        },
        "attribution_window": object_of(
            {
                "post_click": {"enum": _WINDOWS["post_click"], "description": "After a click; 30 days when absent."},
                "post_view": {"enum": _WINDOWS["post_view"], "description": "After a view; 1 day when absent."},
                "model": {"const": "last_touch"},
            },
            description="How long after an exposure a conversion counts.",
        ),
        "priority": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
    },
    "kind",
)
_MONEY: Schema = {"maximum": 1e12}
NEW_PACKAGE = object_of(
    {
        "product_id": text("A product that get_products returned."),
        "pricing_option_id": text("One of the product's pricing options."),
        "budget": number("Most that the package may spend, in the pricing option's currency.") | _MONEY,
        "bid_price": number("Bid, for a pricing option without a fixed price.") | _MONEY,
        "impressions": number("Impressions to reach.") | _MONEY,
        "pacing": text("How the budget is spread.", enum=list(get_args(Pacing))),
        "start_time": text(f"When it begins, if later than the buy: {TIME}", format="date-time"),
        "end_time": text(f"When it ends, if sooner than the buy: {TIME}", format="date-time"),
        "paused": {"type": "boolean", "default": False},
        "optimization_goals": array(GOAL, "The conversions that count for the package."),
        "context": {"type": "object", "description": "Anything of yours; answers echo it."},
        "ext": _ext("package_id", "Keep this package_id, of a system elsewhere."),
    },
    "product_id",
    "pricing_option_id",
    "budget",
)

_REFINEMENT = object_of(
    {
        "scope": {"enum": ["request", "product", "proposal"]},
        "product_id": text("Required for the scope product."),
        "proposal_id": text("Required for the scope proposal."),
        "action": {"enum": ["include", "omit", "more_like_this"], "default": "include"},
        "ask": text("What else you want, in words."),
    },
    "scope",
)
_PRODUCTS = object_of(
    ANSWER
    | {
        "products": array(
            object_of(
                {
                    "product_id": text("Names it in create_media_buy."),
                    "name": text("For people."),
                    "description": text("What it is."),
                    "delivery_type": {"enum": ["guaranteed", "non_guaranteed"]},
                    "channels": array({"enum": list(get_args(Channel))}, "What it is sold as."),
                    "pricing_options": array({"type": "object"}, "The ways to pay for it.", minItems=1),
                    "conversion_tracking": {"type": "object"},
                    "brief_relevance": text("Words that it shares with the brief."),
                },
                "product_id",
                "name",
                "description",
                "delivery_type",
                "pricing_options",
            ),
            "Best match of the brief first.",
        ),
        "refinement_applied": array({"type": "object"}, "What became of each change request."),
        "pagination": PAGE,
        "sandbox": {"type": "boolean"},
    },
    "products",
)
BUY: dict[str, Any] = {
    "media_buy_id": text("Names it from now on."),
    "name": text("For people."),
    "currency": text("ISO 4217 code of all amounts.", pattern="^[A-Z]{3}$"),
    "total_budget": number("Sum of the packages' budgets."),
    "confirmed_at": text("When the seller committed to it.", format="date-time"),
    "revision": {"type": "integer", "minimum": 1},
    "valid_actions": array({"type": "string"}, "What can be done with it now."),
    "available_actions": array(
        object_of({"action": {"type": "string"}, "mode": {"const": "self_serve"}}, "action", "mode"),
        "The same, action by action; not in AdCP 3.0.",
    ),
    "packages": array(
        object_of(
            {
                "package_id": text("Unique in the buy."),
                "product_id": {"type": "string"},
                "budget": number("Most that it may spend."),
                "optimization_goals": array(GOAL, "As they were set, with the windows that apply."),
            },
            "package_id",
        ),
        "Its lines, in the order of the call.",
    ),
}
_CREATED = object_of(
    ANSWER
    | BUY
    | {
        "status": {"enum": ["completed", *get_args(MediaBuyStatus)]},
        "media_buy_status": _STATUS,
        "sandbox": {"type": "boolean"},
    },
    "media_buy_id",
    "packages",
)
_LISTED = object_of(
    ANSWER
    | {
        "media_buys": array(
            object_of(BUY | {"status": _STATUS}, "media_buy_id", "status", "currency", "total_budget", "packages"),
            "Newest first.",
        ),
        "errors": array(ERROR, "One for each of media_buy_ids that there is no media buy of."),
        "pagination": PAGE,
        "sandbox": {"type": "boolean"},
    },
    "media_buys",
    "pagination",
)

MEDIA_BUY_SCHEMAS: dict[str, TaskSchema] = {
    "get_products": TaskSchema(
        "Get products",
        "List what this seller sells: products with their pricing options and the conversion targets that they "
        "support. A brief orders them by the words they share with it and excludes none; filters exclude. Changes "
        "nothing.",
        object_of(
            ENVELOPE
            | {
                "buying_mode": text(
                    "brief orders by the brief's words, refine keeps what refine says.", enum=list(BUYING_MODES)
                ),
                "brief": text("What you look for, in words."),
                "refine": array(_REFINEMENT, "Change requests, for the buying_mode refine.", minItems=1, maxItems=1000),
                "filters": object_of(
                    {
                        "delivery_type": {"enum": ["guaranteed", "non_guaranteed"]},
                        "is_fixed_price": {"type": "boolean"},
                        "pricing_currencies": array({"type": "string"}, "ISO 4217 codes.", minItems=1),
                        "channels": array({"enum": list(get_args(Channel))}, "Any of these.", minItems=1),
                        "format_ids": array(
                            object_of({"agent_url": {"type": "string"}, "id": {"type": "string"}}, "id"),
                            "Takes any of these.",
                            minItems=1,
                        ),
                        "format_kinds": array({"type": "string"}, "Takes any of these, as image.", minItems=1),
                        "required_metrics": array({"type": "string"}, "Reports all of these.", minItems=1),
                    }
                ),
                "fields": array({"type": "string"}, "Optional members to show; all when absent.", minItems=1),
                "account": ACCOUNT,
                "pagination": PAGINATION,
            }
        ),
        _PRODUCTS,
        {"buying_mode": "brief", "brief": "Display on news pages for a shop, paid by CPM"},
        read_only=True,
    ),
    "create_media_buy": TaskSchema(
        "Create a media buy",
        "Buy products: one package for each, with a budget and, in optimization_goals, the conversions that count for "
        "it. The event sources of a goal must have been set up with sync_event_sources. The call fails as a whole; "
        "errors lists everything that is wrong. A buy that is run elsewhere is registered by giving its own "
        "identifiers in ext.postback; only then may it have begun already.",
        object_of(
            ENVELOPE
            | {
                "idempotency_key": IDEMPOTENCY_KEY,
                "account": ACCOUNT,
                "brand": object_of({"domain": text("Domain of the brand.")}, description="Whose campaign it is."),
                "name": text("For people.", pattern=r"\S", maxLength=255),
                "start_time": text(f'"asap", or {TIME}'),
                "end_time": text(f"When it ends: {TIME}", format="date-time"),
                "packages": array(NEW_PACKAGE, "What is bought.", minItems=1, maxItems=500),
                "total_budget": object_of(
                    {"amount": number("The sum of the packages' budgets.") | _MONEY, "currency": {"type": "string"}},
                    "amount",
                    "currency",
                ),
                "paused": {"type": "boolean", "default": False, "description": "Hold it until it is resumed."},
                "ext": _ext("media_buy_id", "Register a buy that is run elsewhere, under this id."),
            },
            "start_time",
            "end_time",
            "packages",
            **PINNED,
        ),
        _CREATED,
        {
            "idempotency_key": KEY_EXAMPLE,
            "brand": {"domain": "shop.example"},
            "start_time": "asap",
            "end_time": "2099-12-31T23:59:59Z",
            "packages": [
                {
                    "product_id": "sandbox_display_auction",
                    "pricing_option_id": "auction_cpm_usd",
                    "budget": 5000,
                    "optimization_goals": [
                        {
                            "kind": "event",
                            "event_sources": [
                                {"event_source_id": "website", "event_type": "purchase", "value_field": "value"}
                            ],
                            "target": {"kind": "per_ad_spend", "value": 4.0},
                            "attribution_window": {"post_click": {"interval": 7, "unit": "days"}},
                        }
                    ],
                }
            ],
        },
        read_only=False,
    ),
    "get_media_buys": TaskSchema(
        "Get media buys",
        "List media buys with their status, packages and goals, newest first: those that are active, unless "
        "status_filter or media_buy_ids say otherwise. Changes nothing.",
        object_of(
            ENVELOPE
            | {
                "account": ACCOUNT,
                "media_buy_ids": array({"type": "string"}, "Only these.", minItems=1, maxItems=1000),
                "status_filter": {
                    "description": "A status or several. Without media_buy_ids the default is active.",
                    "anyOf": [_STATUS, array(_STATUS, "Any of these.", minItems=1)],
                },
                "pagination": PAGINATION,
            }
        ),
        _LISTED,
        {"status_filter": ["active", "pending_start"]},
        read_only=True,
    ),
}
"""The tasks about products and media buys, by name."""
