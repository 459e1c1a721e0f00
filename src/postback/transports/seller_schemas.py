"""JSON schemas of what sellers report over REST. They describe; the operations do the checking."""

from __future__ import annotations

from postback.transports.schemas import USER_MATCH
from postback.transports.shapes import (
    ACCOUNT,
    ANSWER,
    ENVELOPE,
    IDEMPOTENCY_KEY,
    TIME,
    Schema,
    TaskSchema,
    array,
    count,
    number,
    object_of,
    text,
)

__all__ = ["CONVERSIONS", "FINALITY", "SELLER_SCHEMAS"]

_CALL: Schema = ENVELOPE | {"idempotency_key": IDEMPOTENCY_KEY, "account": ACCOUNT}
_NAMES: Schema = {
    name: text(description, minLength=1, maxLength=256)
    for name, description in (
        ("media_buy_id", "The media buy that it belongs to."),
        ("package_id", "The package."),
        ("creative_id", "What was shown."),
    )
}
_CURRENCY = text("ISO 4217, as USD.", pattern="^[A-Z]{3}$")


def _answered(what: str, own_id: str | None) -> Schema:
    failure: Schema = {
        "code": text("For programs."),
        "message": text("What was wrong and what to do."),
        "index": count(f"Its place in {what}."),
        "field": text("Which member."),
        "reason": text("For programs; the same in every release."),
        "retryable": {"type": "boolean"},
    }
    return object_of(
        ANSWER
        | {
            "message": text("How many were accepted."),
            f"{what}_received": count("How many the call had."),
            f"{what}_processed": count("How many were accepted, copies included."),
            "partial_failures": array(
                object_of(failure | ({own_id: text("Which.")} if own_id else {}), "code", "message", "index"),
                "Those that were not accepted.",
            ),
            "warnings": array({"type": "string"}, "What should be better."),
        },
        f"{what}_received",
        f"{what}_processed",
    )


SELLER_SCHEMAS: dict[str, TaskSchema] = {
    "exposures": TaskSchema(
        "Log exposures",
        "Log 1 to 10,000 impressions and clicks. Each is judged alone; repeating one is safe.",
        object_of(
            _CALL
            | {
                "exposures": array(
                    object_of(
                        _NAMES
                        | {
                            "exposure_id": text("Unique in the account.", minLength=1, maxLength=256),
                            "kind": {"enum": ["impression", "click"]},
                            "occurred_at": text(TIME),
                            "user_match": USER_MATCH,
                            "cost": number("What it cost."),
                            "currency": _CURRENCY,
                        },
                        "exposure_id",
                        "kind",
                        "occurred_at",
                        "media_buy_id",
                        "package_id",
                    ),
                    "The exposures.",
                    minItems=1,
                    maxItems=10_000,
                )
            },
            "exposures",
        ),
        _answered("exposures", "exposure_id"),
        {
            "exposures": [
                {
                    "exposure_id": "imp_1",
                    "kind": "impression",
                    "occurred_at": "2026-01-15T14:30:00Z",
                    "media_buy_id": "mb_1",
                    "package_id": "mb_1_1",
                    "cost": 0.004,
                    "currency": "USD",
                }
            ]
        },
        read_only=False,
    ),
    "delivery": TaskSchema(
        "Report totals",
        "Report what packages delivered by the hour, without logs. The latest word on an hour wins.",
        object_of(
            _CALL
            | {
                "totals": array(
                    object_of(
                        _NAMES
                        | {
                            "hour": text("The full hour that begins then, UTC, as 2026-01-15T14:00:00Z."),
                            "impressions": count("Impressions."),
                            "clicks": count("Clicks."),
                            "spend": number("What they cost."),
                            "currency": _CURRENCY,
                        },
                        "media_buy_id",
                        "package_id",
                        "hour",
                        "impressions",
                        "clicks",
                        "spend",
                        "currency",
                    ),
                    "The totals.",
                    minItems=1,
                    maxItems=10_000,
                )
            },
            "totals",
        ),
        _answered("totals", None),
        {
            "totals": [
                {
                    "media_buy_id": "mb_1",
                    "package_id": "mb_1_1",
                    "hour": "2026-01-15T14:00:00Z",
                    "impressions": 120_000,
                    "clicks": 340,
                    "spend": 512.5,
                    "currency": "USD",
                }
            ]
        },
        read_only=False,
    ),
    "click-links": TaskSchema(
        "Make a click link",
        "Make an address that records a click and leads on to a page, which gets the click id as a parameter.",
        object_of(
            _CALL
            | _NAMES
            | {
                "destination": text("The page.", format="uri", maxLength=2000),
                "parameter": text("Query parameter with the click id.", pattern="^[A-Za-z0-9_.-]{1,64}$"),
            },
            "media_buy_id",
            "package_id",
            "destination",
        ),
        object_of(
            ANSWER
            | {
                "url": text("The link."),
                "token": text("Its last part."),
                "parameter": text("As asked."),
                "destination": text("As asked."),
            },
            "url",
            "token",
        ),
        {"media_buy_id": "mb_1", "package_id": "mb_1_1", "destination": "https://shop.example/offer"},
        read_only=False,
    ),
}
"""What sellers report, by the path's last part."""

CONVERSIONS = object_of(
    {
        "media_buy_id": text("The media buy."),
        "currency": text("ISO 4217."),
        "complete_through": {"type": ["string", "null"], "description": TIME},
        "conversions": array({"type": "object"}, "Events, each with its attribution."),
        "pagination": object_of({"has_more": {"type": "boolean"}, "cursor": text("Of the next page.")}, "has_more"),
    },
    "media_buy_id",
    "conversions",
    "pagination",
)
"""What is attributed to a media buy."""

FINALITY = object_of(
    {
        "media_buy_id": text("The media buy."),
        "package_id": text("The package."),
        "is_final": {"const": True},
        "finalized_at": text(TIME),
    },
    "media_buy_id",
    "package_id",
    "is_final",
    "finalized_at",
)
"""That the numbers of a package are final."""
