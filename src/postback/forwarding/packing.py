"""Parcels: requests in AdCP's shape, sealed until they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from uuid import uuid4

import msgspec

from postback.forwarding.destination import Destination
from postback.forwarding.outbox import Parcel
from postback.forwarding.sealing import Seal

__all__ = ["events_in", "pack_declaration", "pack_events"]


class _Request(msgspec.Struct):
    events: list[msgspec.Raw] = []


def pack_events(seal: Seal, destination: Destination, key_id: str, events: Sequence[msgspec.Raw]) -> list[Parcel]:
    """Parcels with these events: one for all in the shape of log_event, or one for each when there is a template."""
    batches = [events] if destination.template is None else [[event] for event in events]
    return [_events_parcel(seal, destination, key_id, batch) for batch in batches]


def pack_declaration(seal: Seal, destination: Destination, key_id: str, declared: msgspec.Raw) -> Parcel:
    """A parcel with the declaration of the destination's source, in the shape of sync_event_sources."""
    return _parcel(seal, destination, key_id, uuid4().hex, 0, {"event_sources": [declared]})


def events_in(request: bytes) -> list[msgspec.Raw]:
    """The events that a parcel's request holds; none for a declaration."""
    return msgspec.json.decode(request, type=_Request).events


def _events_parcel(seal: Seal, destination: Destination, key_id: str, events: Sequence[msgspec.Raw]) -> Parcel:
    about = repr((destination.name, destination.account_id, destination.event_source_id, key_id))
    parcel_id = sha256(about.encode() + msgspec.json.encode(events)).hexdigest()[:32]
    members = {"event_source_id": destination.event_source_id, "events": events}
    return _parcel(seal, destination, key_id, parcel_id, len(events), members)


def _parcel(
    seal: Seal, destination: Destination, key_id: str, parcel_id: str, events: int, members: dict[str, Any]
) -> Parcel:
    request = {"account": {"account_id": destination.account_id}, "idempotency_key": parcel_id, **members}
    sealed = seal.close(msgspec.json.encode(request), parcel_id)
    name, account_id, source = destination.name, destination.account_id, destination.event_source_id
    return Parcel(parcel_id, name, account_id, source, key_id, events, sealed)
