"""The requests of deliveries, in the form of AdCP's calls, encrypted until they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from uuid import uuid4

import msgspec

from postback.forwarding.destination import Destination
from postback.forwarding.encryption import Encryptor
from postback.forwarding.outbox import Delivery

__all__ = ["events_in", "pack_declaration", "pack_events"]


class _Request(msgspec.Struct):
    events: list[msgspec.Raw] = []


def pack_events(
    encryptor: Encryptor, destination: Destination, key_id: str, events: Sequence[msgspec.Raw]
) -> list[Delivery]:
    """Deliveries with these events: one with all of them in the form of log_event; with a template, one per event."""
    batches = [events] if destination.template is None else [[event] for event in events]
    return [_events_delivery(encryptor, destination, key_id, batch) for batch in batches]


def pack_declaration(encryptor: Encryptor, destination: Destination, key_id: str, declared: msgspec.Raw) -> Delivery:
    """A delivery with the declaration of the destination's source, in the form of sync_event_sources."""
    return _delivery(encryptor, destination, key_id, uuid4().hex, 0, {"event_sources": [declared]})


def events_in(request: bytes) -> list[msgspec.Raw]:
    """The events in a delivery's request; none for a declaration."""
    return msgspec.json.decode(request, type=_Request).events


def _events_delivery(
    encryptor: Encryptor, destination: Destination, key_id: str, events: Sequence[msgspec.Raw]
) -> Delivery:
    identity = repr((destination.name, destination.account_id, destination.event_source_id, key_id))
    delivery_id = sha256(identity.encode() + msgspec.json.encode(events)).hexdigest()[:32]
    members = {"event_source_id": destination.event_source_id, "events": events}
    return _delivery(encryptor, destination, key_id, delivery_id, len(events), members)


def _delivery(
    encryptor: Encryptor, destination: Destination, key_id: str, delivery_id: str, events: int, members: dict[str, Any]
) -> Delivery:
    request = {"account": {"account_id": destination.account_id}, "idempotency_key": delivery_id, **members}
    encrypted = encryptor.encrypt(msgspec.json.encode(request), delivery_id)
    name, account_id, source = destination.name, destination.account_id, destination.event_source_id
    return Delivery(delivery_id, name, account_id, source, key_id, events, encrypted)
