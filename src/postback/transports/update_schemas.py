"""JSON schema of update_media_buy. It describes; the task does the checking."""

from __future__ import annotations

from typing import Any, get_args

from postback.protocol.enums import MediaBuyStatus, Pacing
from postback.transports.media_buy_schemas import BUY, GOAL, NEW_PACKAGE
from postback.transports.shapes import (
    ACCOUNT,
    ANSWER,
    ENVELOPE,
    IDEMPOTENCY_KEY,
    KEY_EXAMPLE,
    PINNED,
    TIME,
    TaskSchema,
    array,
    number,
    object_of,
    text,
)

__all__ = ["UPDATE_SCHEMAS"]

_MONEY = {"maximum": 1e12}
_CANCEL: dict[str, Any] = {"const": True, "description": "End it for good."}
_REASON = text("Why it is canceled.", maxLength=500)

_PACKAGE = object_of(
    {
        "package_id": text("A package of the media buy."),
        "budget": number("Most that it may spend.") | _MONEY,
        "bid_price": number("Bid, for a pricing option without a fixed price.") | _MONEY,
        "impressions": number("Impressions to reach.") | _MONEY,
        "pacing": text("How the budget is spread.", enum=list(get_args(Pacing))),
        "start_time": text(f"When it begins: {TIME}", format="date-time"),
        "end_time": text(f"When it ends: {TIME}", format="date-time"),
        "paused": {"type": "boolean"},
        "canceled": _CANCEL,
        "cancellation_reason": _REASON,
        "optimization_goals": array(GOAL, "The conversions that count for it, instead of those that did."),
    },
    "package_id",
)

UPDATE_SCHEMAS: dict[str, TaskSchema] = {
    "update_media_buy": TaskSchema(
        "Update a media buy",
        "Pause, resume or cancel a media buy or its packages, change budgets, dates and goals, or add packages. All of "
        "a call happens, or nothing. valid_actions and available_actions of get_media_buys say what is possible now.",
        object_of(
            ENVELOPE
            | {
                "idempotency_key": IDEMPOTENCY_KEY,
                "account": ACCOUNT,
                "media_buy_id": text("The media buy."),
                "revision": {"type": "integer", "minimum": 1, "description": "Refuse if it has another by now."},
                "name": text("For people.", minLength=1, maxLength=255, pattern=r"\S"),
                "paused": {"type": "boolean"},
                "canceled": _CANCEL,
                "cancellation_reason": _REASON,
                "start_time": text(f'When it begins, as long as it has not: {TIME} Or "asap".'),
                "end_time": text(f"When it ends: {TIME}", format="date-time"),
                "total_budget": object_of(
                    {"amount": number("The sum of all budgets.") | _MONEY, "currency": text("The media buy's.")},
                    "amount",
                    "currency",
                    description="Alone, it scales every package's budget in proportion.",
                ),
                "packages": array(_PACKAGE, "Changes of its packages.", maxItems=500),
                "new_packages": array(NEW_PACKAGE, "Packages to add.", maxItems=500),
            },
            "media_buy_id",
            **PINNED,
        ),
        object_of(
            ANSWER
            | {name: schema for name, schema in BUY.items() if name not in ("confirmed_at", "packages")}
            | {
                "status": {"enum": ["completed", *get_args(MediaBuyStatus)]},
                "media_buy_status": {"enum": list(get_args(MediaBuyStatus))},
                "implementation_date": text("When the change took effect.", format="date-time"),
                "affected_packages": array({"type": "object"}, "The packages that were changed or added."),
                "sandbox": {"type": "boolean"},
            },
            "media_buy_id",
            "revision",
        ),
        {"idempotency_key": KEY_EXAMPLE, "media_buy_id": "mb_17", "paused": True},
        read_only=False,
    ),
}
