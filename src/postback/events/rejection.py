"""Why one event is rejected while the rest of its batch proceeds."""

from __future__ import annotations

import re

import msgspec

from postback.events.personal_data import looks_personal
from postback.events.repeated_identifiers import repeats_one_of
from postback.protocol.characters import normalized_id
from postback.protocol.strict_json import NO_JSON, UNREADABLE, Json

__all__ = ["REASONS", "RejectedEvent", "Rejection", "rejected_event", "repeats_sent_identifier"]

_MAX_NAME_BYTES = 2_000
"""256 characters as JSON, each of them escaped."""

_WORDS = re.compile(r"[A-Za-z][A-Za-z_ -]{0,63}")
"""A wrong event type that may be repeated and stored: it has no digits, as identifiers do."""

REASONS = ("INVALID_REQUEST", "INVALID_EVENT_TYPE", "INVALID_EVENT_TIME", "MISSING_USER_MATCH")
"""The closed set of reasons for which an event can fail."""


class Rejection(Exception):
    """Why one event is rejected.

    Attributes:
        reason: One of REASONS.
        message: A sentence: what was wrong and what to do. Never holds a value from ``user_match``.
        field: Path within the event, as ``user_match.hashed_email``; empty for the event itself.
    """

    def __init__(self, reason: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field


class RejectedEvent(msgspec.Struct, gc=False, frozen=True):
    """A rejected event, as its caller sees it.

    Attributes:
        index: Its place in the batch.
        event_id: Its event_id, or None when it can't be read or must not be repeated.
        event_type: Its event_type, or None likewise.
        rejection: Why.
        step: The step of validation that rejected it; for metrics only.
    """

    index: int
    event_id: str | None
    event_type: str | None
    rejection: Rejection
    step: str


def rejected_event(index: int, raw: bytes, rejection: Rejection, step: str) -> RejectedEvent:
    """A rejected event under the names that its JSON gives it, as far as they can be read and may be repeated."""
    try:
        named = msgspec.json.decode(raw, type=_Named)
        event_id, event_type = normalized_id(_name(named.event_id) or ""), _name(named.event_type)
    except UNREADABLE:
        event_id, event_type = "", None
    if rejection.field == "event_id" or not _is_repeatable(event_id) or repeats_sent_identifier(event_id, raw):
        event_id = ""
    if not (event_type and _WORDS.fullmatch(event_type)):
        event_type = None
    return RejectedEvent(index, event_id or None, event_type, rejection, step)


class _Named(msgspec.Struct):
    event_id: msgspec.Raw = NO_JSON
    event_type: msgspec.Raw = NO_JSON


def _name(raw: msgspec.Raw) -> str | None:
    """A field's text; None when it has none, or one too long for a name."""
    try:
        return msgspec.json.decode(raw, type=str) if memoryview(raw).nbytes <= _MAX_NAME_BYTES else None
    except UNREADABLE:
        return None


class _Matched(msgspec.Struct):
    user_match: msgspec.Raw = NO_JSON


def repeats_sent_identifier(name: str, raw: bytes) -> bool:
    """Whether an id is an identifier of the event or exposure that it names, whatever shape its user_match has."""
    try:
        user_match = msgspec.json.decode(raw, type=_Matched).user_match
        return bool(user_match) and repeats_one_of(name, _texts(msgspec.json.decode(user_match)))
    except UNREADABLE:
        return False


def _texts(value: Json) -> list[str]:
    """Every text in a user_match, whatever its shape."""
    texts: list[str] = []
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            texts.append(item)
        elif isinstance(item, dict | list):
            left += item.values() if isinstance(item, dict) else item
    return texts


def _is_repeatable(event_id: str) -> bool:
    """Whether an event_id may be repeated and stored: short, printable, and not personal data."""
    return 0 < len(event_id) <= 256 and event_id.isprintable() and not looks_personal(event_id)
