"""JSON schema of get_media_buy_delivery. It describes; the task does the checking."""

from __future__ import annotations

from typing import get_args

from postback.protocol.enums import MediaBuyStatus
from postback.transports.shapes import (
    ACCOUNT,
    ANSWER,
    ENVELOPE,
    ERROR,
    TIME,
    Schema,
    TaskSchema,
    array,
    count,
    number,
    object_of,
    text,
)

__all__ = ["DELIVERY_SCHEMAS"]

_STATUS: Schema = {"enum": list(get_args(MediaBuyStatus))}
_DAY = text("A UTC day, as 2026-01-31.", pattern=r"^\d{4}-\d{2}-\d{2}$")
_BRIEF: Schema = {
    "impressions": count("Impressions."),
    "clicks": count("Clicks."),
    "spend": number("What they cost."),
    "conversions": count("Conversions attributed; refunds are none."),
    "conversion_value": number("Their value, less refunds; 0 where that is negative, and ext has the exact figure."),
    "roas": number("conversion_value / spend; absent without spend."),
    "cost_per_acquisition": number("spend / conversions; absent without conversions."),
}
_COUNTS: Schema = {"count": count("Conversions."), "value": number("Their value, less refunds.")}
_METRICS: Schema = _BRIEF | {
    "ctr": number("clicks / impressions."),
    "by_event_type": array(
        object_of({"event_type": text("As purchase."), **_COUNTS}, "event_type", "count"), "Adds up to conversions."
    ),
    "by_action_source": array(
        object_of({"action_source": text("As website."), **_COUNTS}, "action_source", "count"),
        "Events that name none are left out.",
    ),
}
_DAYS = array(object_of({"date": _DAY, **_BRIEF}, "date", "impressions", "spend"), "Day by day, UTC.")
_FINAL: Schema = {"is_final": {"type": "boolean"}, "finalized_at": text(TIME)}
_WINDOW: Schema = {"type": "object", "description": "How long after a click or view a conversion counts."}
_PACKAGE = object_of(
    {
        "package_id": text("Of the package."),
        **_METRICS,
        **_FINAL,
        "pricing_model": text("As cpm."),
        "rate": number("Price of a unit."),
        "currency": text("ISO 4217."),
        "paused": {"type": "boolean"},
        "attribution_window": _WINDOW,
        "by_creative": array(
            object_of({"creative_id": text("Of the creative."), **_METRICS}, "creative_id"), "What exposures name."
        ),
        "daily_breakdown": _DAYS,
    },
    "package_id",
    "spend",
    "pricing_model",
    "rate",
    "currency",
)

DELIVERY_SCHEMAS: dict[str, TaskSchema] = {
    "get_media_buy_delivery": TaskSchema(
        "Get media buy delivery",
        "Report impressions, clicks, spend, conversions, their value, ROAS and cost per acquisition of media buys, "
        "by package, event type, action source, creative and day. Conversions count on the day of the event, and late "
        "exposures or events restate earlier days until is_final. Changes nothing.",
        object_of(
            ENVELOPE
            | {
                "account": ACCOUNT,
                "media_buy_ids": array({"type": "string"}, "Only these.", minItems=1, maxItems=1000),
                "status_filter": {
                    "description": "A status or several; the default is any.",
                    "anyOf": [_STATUS, array(_STATUS, "Any of these.", minItems=1)],
                },
                "start_date": _DAY,
                "end_date": _DAY | {"description": "The UTC day before which the report ends."},
                "include_package_daily_breakdown": {"type": "boolean", "default": False},
            }
        ),
        object_of(
            ANSWER
            | {
                "reporting_period": object_of({"start": text(TIME), "end": text(TIME)}, "start", "end"),
                "currency": text("ISO 4217; XXX when there is nothing to report."),
                "attribution_window": _WINDOW,
                "aggregated_totals": object_of(
                    _BRIEF | {"media_buy_count": count("Media buys in the answer.")},
                    "impressions",
                    "spend",
                    "media_buy_count",
                ),
                "media_buy_deliveries": array(
                    object_of(
                        {
                            "media_buy_id": text("Of the media buy."),
                            "status": _STATUS,
                            **_FINAL,
                            "totals": object_of(_METRICS, "impressions", "spend"),
                            "by_package": array(_PACKAGE, "Every package."),
                            "daily_breakdown": _DAYS,
                        },
                        "media_buy_id",
                        "status",
                        "totals",
                        "by_package",
                    ),
                    "The reports, newest media buy first.",
                ),
                "errors": array(ERROR, "The media_buy_ids that there are none of."),
            },
            "reporting_period",
            "currency",
            "media_buy_deliveries",
        ),
        {"start_date": "2026-01-01", "end_date": "2026-02-01"},
        read_only=True,
    ),
}
"""The task, by its name."""
