"""The steps of validation, from the bytes of events to the columns that are stored.

    decode → rules → identifiers → redaction → columns

Each step takes what the one before it left of a chunk of events, and returns the events that it rejects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol, TypeAlias

import msgspec

from postback.events.columns import AcceptedEvents
from postback.events.decode import decode_events
from postback.events.event import CustomData
from postback.events.identifiers import FEW, IdentifierHasher
from postback.events.pending_event import PendingEvent
from postback.events.personal_data import may_be_personal, redact
from postback.events.rejection import Rejection
from postback.events.rules import CHECKS, Check, EventRules
from postback.events.warnings import warning_codes

__all__ = ["STEPS", "Batch", "Chunk", "Rejected", "Step"]

_encode = msgspec.json.Encoder(order="sorted").encode


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


@dataclass(slots=True)
class Chunk:
    """Events that go through the steps together.

    Attributes:
        start: The place of the first one in the batch.
        raws: The JSON of each.
        events: Those that no step has rejected yet, in order.
    """

    start: int
    raws: Sequence[msgspec.Raw]
    events: list[PendingEvent] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """What the chunks of one batch share.

    Attributes:
        rules: What the events are checked against.
        identifiers: Hashes identifiers.
        accepted: The events that passed every step, as columns.
        warnings: Code → indexes of the accepted events that it is about.
        subjects: Code → the fields that it is about.
        fingerprint: Digest of all events in a form that doesn't depend on how the caller wrote them down.
    """

    rules: EventRules
    identifiers: IdentifierHasher
    accepted: AcceptedEvents
    warnings: dict[str, list[int]]
    subjects: dict[str, set[str]]
    fingerprint: _Digest = field(default_factory=sha256)


Rejected: TypeAlias = list[tuple[int, Rejection]]
"""Places of events in the batch, and why each is rejected."""

Step: TypeAlias = Callable[[Chunk, Batch], Rejected]


def decode(chunk: Chunk, batch: Batch) -> Rejected:
    """Make typed events of their JSON."""
    decoded, canonical = decode_events(chunk.raws, chunk.start, test=batch.rules.test)
    batch.fingerprint.update(canonical)
    chunk.events = [event for event in decoded if isinstance(event, PendingEvent)]
    return [(index, event) for index, event in enumerate(decoded, chunk.start) if isinstance(event, Rejection)]


def check_rules(chunk: Chunk, batch: Batch) -> Rejected:
    """Check what needs the event source, the clock or a list of AdCP's (``events.rules``)."""
    if len(chunk.events) <= FEW:
        return _sift(chunk, [check for check, _ in CHECKS], batch.rules)
    rejected: Rejected = []
    for check, all_pass in CHECKS:
        if not all_pass(chunk.events, batch.rules):
            rejected += _sift(chunk, (check,), batch.rules)
    return rejected


def hash_identifiers(chunk: Chunk, batch: Batch) -> Rejected:
    """Check and normalize the identifiers of user_match, and turn them into match keys."""
    known = [event for event in chunk.events if event.event.user_match]
    keys_of_each = batch.identifiers.match_each(
        [person for event in known if (person := event.event.user_match)],
        [event.warnings for event in known],
        # A refund follows its purchase, which has the identifiers.
        [event.event.event_type != "refund" for event in known],
    )
    rejected: Rejected = []
    for event, keys in zip(known, keys_of_each, strict=True):
        if isinstance(keys, Rejection):
            rejected.append((event.index, keys))
        else:
            event.match_keys = keys
    return _remove(chunk, rejected)


def redact_personal_data(chunk: Chunk, batch: Batch) -> Rejected:
    """Make the JSON to store: custom_data and the fields that AdCP doesn't know, without personal data."""
    # Looking once over everything costs a tenth of looking at each event.
    suspicious = may_be_personal(b"\n".join([pending.custom_data_json for pending in chunk.events]))
    for pending in chunk.events:
        if suspicious or type(pending.custom_data) is CustomData or pending.extra or pending.event.custom_event_name:
            _redact_event(pending)
    return []


def fill_columns(chunk: Chunk, batch: Batch) -> Rejected:
    """Append to the columns of the batch, and collect the warnings."""
    for pending in chunk.events:
        if pending.warnings:
            _collect_warnings(pending, batch)
    batch.accepted.extend(chunk.events)
    return []


STEPS: tuple[tuple[str, Step], ...] = (
    ("decode", decode),
    ("rules", check_rules),
    ("identifiers", hash_identifiers),
    ("redaction", redact_personal_data),
    ("columns", fill_columns),
)
"""Every step by the name that metrics show, in order."""


def _collect_warnings(pending: PendingEvent, batch: Batch) -> None:
    for warning in pending.warnings:
        code, _, subject = warning.partition(" ")
        if subject:
            batch.subjects.setdefault(code, set()).add(subject)
    pending.warnings = warning_codes(pending.warnings)
    for code in pending.warnings:
        batch.warnings.setdefault(code, []).append(pending.index)


def _sift(chunk: Chunk, checks: Sequence[Check], rules: EventRules) -> Rejected:
    """Check each event alone; those that fail leave the chunk."""
    rejected: Rejected = []
    for event in chunk.events:
        try:
            for check in checks:
                check(event, rules)
        except Rejection as rejection:
            rejected.append((event.index, rejection))
    return _remove(chunk, rejected)


def _remove(chunk: Chunk, rejected: Rejected) -> Rejected:
    if rejected:
        places = {index for index, _ in rejected}
        chunk.events = [event for event in chunk.events if event.index not in places]
    return rejected


def _redact_event(pending: PendingEvent) -> None:
    event = pending.event
    found = False
    if pending.custom_data_json:
        safe, found = redact(msgspec.json.decode(pending.custom_data_json))
        if found:
            pending.custom_data_json = _encode(safe)
    if pending.extra:
        safe, found_in_extra = redact(pending.extra)
        pending.extra_json = _encode(safe)
        found = found or found_in_extra
    if event.custom_event_name:
        event.custom_event_name, found_in_name = redact(event.custom_event_name)
        found = found or found_in_name
    if found:
        pending.warnings.append("REDACTED")
