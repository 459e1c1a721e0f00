"""Realistic events in prepared bodies: a batch is told from the next by patching fixed-width bytes."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

__all__ = ["BATCH", "SOURCE", "Batches", "realistic_event"]

SOURCE = {
    "event_source_id": "website",
    "name": "Shop",
    "event_types": ["purchase"],
    "allowed_domains": ["shop.example"],
}
"""The event source that everything is logged to, as sync_event_sources takes it."""

BATCH = b"ba7c0000"
"""Stands wherever one batch differs from another: eight hexadecimal digits, replaced by the batch's number."""

_USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Batches:
    """Bodies of ``log_event`` calls with ``events`` events each, as a client of AdCP 3.1 sends them.

    No event of one batch occurs in another: event_id, order_id and hashed_email are its own.

    Args:
        events: Events in a batch.
        keyed: Whether each has an idempotency key; without, it speaks the dialect that needs none.
    """

    def __init__(self, events: int, *, keyed: bool = True) -> None:
        self.events = events
        key = {"adcp_version": "3.1", "idempotency_key": f"benchmark-{BATCH.decode()}"} if keyed else {}
        arguments = {
            "event_source_id": SOURCE["event_source_id"],
            "events": [realistic_event(number) for number in range(events)],
        }
        self.template = msgspec.json.encode(key | arguments)

    def body(self, number: int) -> bytes:
        """The body of the batch with this number, below 2³²."""
        return self.template.replace(BATCH, b"%08x" % number)

    def last_event_id(self, number: int) -> str:
        """The event_id of the last event of the batch with this number."""
        return _event_id(self.events - 1).replace(BATCH.decode(), f"{number:08x}")

    def arguments(self, number: int) -> dict[str, Any]:
        """The same as Python objects."""
        arguments: dict[str, Any] = msgspec.json.decode(self.body(number))
        return arguments


def realistic_event(number: int) -> dict[str, Any]:
    """A purchase on a website, of about 560 bytes as JSON, by a person known by three identifiers."""
    chance = random.Random(number)  # the same events in each run
    batch = BATCH.decode()
    address = [chance.randrange(11, 99), chance.randrange(256), chance.randrange(256), chance.randrange(1, 255)]
    return {
        "event_id": _event_id(number),
        "event_type": "purchase",
        "event_time": (datetime.now(UTC) - timedelta(minutes=chance.randrange(1440))).isoformat(timespec="seconds"),
        "action_source": "website",
        "event_source_url": "https://shop.example/checkout/thanks",
        "user_match": {
            "hashed_email": f"{chance.randbytes(28).hex()}{batch}",
            "click_id": f"EAIaIQobChMI{chance.randbytes(6).hex()}",
            "click_id_type": "gclid",
            "client_ip": ".".join(map(str, address)),
            "client_user_agent": _USER_AGENT,
        },
        "custom_data": {
            "value": chance.randrange(100, 40_000) / 100,
            "currency": "USD",
            "order_id": _event_id(number).removeprefix("order-"),
            "content_ids": [f"sku-{chance.randrange(10_000):04}"],
        },
    }


def _event_id(number: int) -> str:
    return f"order-{BATCH.decode()}-{number:05}"
