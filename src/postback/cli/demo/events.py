"""The demo's conversions: what a shop's buyer agent sends in a morning, mistakes included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

__all__ = ["SOURCE", "past_customers", "past_orders", "shop_events", "try_out_event"]

_DAYS = 14

SOURCE = {
    "event_source_id": "shop_orders",
    "name": "Orders of shop.example",
    "event_types": ["purchase", "add_to_cart", "lead"],
    "value_currencies": ["USD", "EUR"],
    "allowed_domains": ["shop.example"],
}


def shop_events(now: datetime) -> list[tuple[str, dict[str, Any]]]:
    """A description of each event, and the event itself."""
    order = {
        **_event("order_98765", "purchase", now - timedelta(minutes=12)),
        "event_source_url": "https://shop.example/thanks",
        "user_match": {
            "hashed_email": _digest("ada@buyer.example"),
            "click_id": "EAIaIQobChMI",
            "click_id_type": "gclid",
        },
        "custom_data": {"value": 149.99, "currency": "USD", "order_id": "98765", "num_items": 2},
    }
    cart = {
        **_event("cart_5521", "add_to_cart", now - timedelta(minutes=31)),
        "event_source_url": "https://www.shop.example/cart",
        "user_match": {"client_ip": "8.8.4.4", "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64)"},
        "custom_data": {"value": 35, "currency": "EUR", "content_ids": ["sku-17"]},
    }
    newsletter = {
        **_event("lead_204", "lead", now - timedelta(hours=3)),
        "event_source_url": "https://shop.example/newsletter",
        "user_match": {"hashed_phone": _digest("+12065550123"), "uids": [{"type": "uid2", "value": "A4AAAAvYnZ9"}]},
    }
    till = {
        **_event("till_0042_7781", "purchase", now - timedelta(days=2)),
        "action_source": "in_store",
        "user_match": {"hashed_email": _digest("grace@buyer.example")},
        "custom_data": {"value": 58.5, "currency": "USD", "order_id": "0042-7781"},
    }
    unknown = {**_event("order_98766", "purchase", now), "event_source_url": "https://shop.example/thanks"}
    return [
        ("an order", order),
        ("the same order again, because the thank-you page was reloaded", order),
        ("a cart, identified by IP address and browser only", cart),
        ("a newsletter sign-up", newsletter),
        ("a purchase in the store, from the loyalty card's CRM", till),
        ("an order without identifiers", unknown),
        (
            "an order with an unhashed e-mail address",
            {**order, "event_id": "order_98767", "user_match": {"hashed_email": "ada@buyer.example"}},
        ),
        (
            "an order without a time zone",
            {**order, "event_id": "order_98768", "event_time": "2026-01-15T14:30:00"},
        ),
        ("a subscription, which the source doesn't accept", {**order, "event_id": "sub_1", "event_type": "subscribe"}),
        (
            "an order with an invalid currency",
            {**order, "event_id": "order_98769", "custom_data": {"value": 20, "currency": "US$"}},
        ),
    ]


def past_customers(now: datetime) -> list[tuple[str, datetime]]:
    """The e-mail address and the moment of each order of the last two weeks, oldest first: more at the weekends."""
    return [
        (f"customer-{day}-{number}@buyer.example", moment)
        for day in range(_DAYS, 0, -1)
        for number in range(9 if (now - timedelta(days=day)).weekday() > 4 else 4 + day % 3)
        if (moment := now - timedelta(days=day, minutes=-97 * number)) < now
    ]


def past_orders(now: datetime) -> list[dict[str, Any]]:
    """The orders of the last two weeks, which belong to ``past_customers``."""
    return [
        {
            **_event(f"order_{98_000 + index}", "purchase", moment),
            "event_source_url": "https://shop.example/thanks",
            "user_match": {"hashed_email": _digest(customer)},
            "custom_data": {"value": 19.9 + 7.5 * (index % 11), "currency": "USD", "order_id": str(98_000 + index)},
        }
        for index, (customer, moment) in enumerate(past_customers(now))
    ]


def try_out_event(now: datetime) -> dict[str, Any]:
    """An event to test the integration with."""
    return {
        **_event("order_98770", "purchase", now),
        "event_source_url": "https://shop.example/thanks",
        "user_match": {"hashed_email": _digest("ada@buyer.example")},
        "custom_data": {"value": 1, "currency": "USD"},
    }


def _event(event_id: str, event_type: str, time: datetime) -> dict[str, Any]:
    event_time = time.astimezone(UTC).isoformat(timespec="seconds")
    return {"event_id": event_id, "event_type": event_type, "event_time": event_time, "action_source": "website"}


def _digest(identifier: str) -> str:
    return sha256(identifier.encode()).hexdigest()
