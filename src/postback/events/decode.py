"""From the bytes of ``events`` to typed events, each validated alone.

Most events are exactly what the schemas say, and C code decodes them. One that is refused there (an unknown field, a
null, a wrong type, a number too large) is read again with care: what can be kept is kept, what can't is named. So is
one that may give a name twice in an object, which is ambiguous and refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

from postback.events.dialects import ADCP_FIELDS
from postback.events.event import CustomData, Event, StrictCustomData, StrictEvent, UserMatch
from postback.events.event_ids import MAX_LENGTH
from postback.events.pending_event import PendingEvent
from postback.events.personal_data import is_phone, looks_personal
from postback.events.rejection import Rejection
from postback.events.test_marks import find_test_mark
from postback.protocol.canonical_json import canonical_json
from postback.protocol.characters import normalized_id
from postback.protocol.json_size import MAX_EVENT_BYTES, SURELY_FEW_BYTES, has_many_values, size_problem
from postback.protocol.strict_json import (
    UNREADABLE,
    InvalidJson,
    Json,
    json_type,
    parse_json,
    same_fields,
)
from postback.protocol.type_errors import describe_validation_error

__all__ = ["decode_events", "known_identifiers"]

_EVENT_FIELDS = frozenset(Event.__struct_fields__)
_USER_MATCH_FIELDS = UserMatch.__struct_fields__
_CUSTOM_DATA_FIELDS = frozenset(CustomData.__struct_fields__)
_QUOTABLE = _EVENT_FIELDS | _CUSTOM_DATA_FIELDS
_MISPLACED = ("value", "currency", "content_ids")

_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_decode_events = msgspec.json.Decoder(list[StrictEvent]).decode


def decode_events(
    raws: Sequence[bytes], start: int = 0, *, test: bool = False
) -> tuple[Sequence[PendingEvent | Rejection], bytes]:
    """Decode each event alone; one that can't be used comes back as its rejection. Same order and length.

    Args:
        raws: The JSON of each.
        start: The place of the first one in its batch.
        test: Whether they are test events, so that they may be marked as such in other platforms' ways.

    Returns:
        The events, and all of them in a form that doesn't depend on how the caller wrote them down: a line of JSON
        whose end is a comma, for idempotency only.
    """
    if whole := _strictly(raws, start):
        return whole
    events: list[PendingEvent | Rejection] = []
    forms: list[bytes] = []
    for index, raw in enumerate(raws, start):
        alone = _strictly([raw], index) or _carefully(bytes(raw), index, test=test)
        events += alone[0]
        forms.append(alone[1])
    return events, b"".join(forms)


def _strictly(raws: Sequence[bytes], start: int) -> tuple[Sequence[PendingEvent], bytes] | None:
    """The same for events that are exactly what the schemas say, read together; None if not all are."""
    sent = b"[%b]" % b",".join(raws)
    if len(sent) > MAX_EVENT_BYTES:
        return None
    large = [raw for raw in raws if len(raw) > SURELY_FEW_BYTES] if len(sent) > SURELY_FEW_BYTES else ()
    if any(map(has_many_values, map(bytes, large))):
        return None
    try:
        events = _decode_events(sent)
    except UNREADABLE:
        return None
    canonical = _encode(events)
    if len(events) != len(raws) or not same_fields(sent, canonical):
        return None
    custom_data = [event.custom_data for event in events]
    forms = [_encode(data) if data is not None else b"" for data in custom_data]
    if b"{}" in forms:  # which is the same as none
        return None
    places = range(start, start + len(events))
    return list(map(PendingEvent, places, events, custom_data, forms)), canonical[1:-1] + b","


def _carefully(raw: bytes, index: int, *, test: bool) -> tuple[Sequence[PendingEvent | Rejection], bytes]:
    """The same for one event that may be anything."""
    if problem := size_problem(raw, "The event"):
        return [Rejection("INVALID_REQUEST", problem)], raw + b","
    try:
        pending = _repaired(parse_json(raw, _QUOTABLE), index, test=test)
    except InvalidJson as error:
        return [Rejection("INVALID_REQUEST", error.message)], canonical_json(raw) + b","
    except Rejection as rejection:
        return [rejection], canonical_json(raw) + b","
    extra = _encode_sorted(pending.extra) if pending.extra else b""
    return [pending], _encode(pending.event) + extra + b","


def _repaired(tree: Json, index: int, *, test: bool) -> PendingEvent:
    if not isinstance(tree, dict):
        raise Rejection("INVALID_REQUEST", f"The event must be a JSON object, not {json_type(tree)}.")
    fields = {name: value for name, value in tree.items() if value is not None}
    warnings: list[str] = []
    sent_custom_data = _take_custom_data(fields, warnings)
    extra = {name: fields.pop(name) for name in list(fields) if name not in _EVENT_FIELDS}
    if not test:
        _refuse_test_marks(extra, sent_custom_data)
    if isinstance(fields.get("user_match"), dict):
        fields["user_match"] = known_identifiers(fields["user_match"], warnings)
    event_id = fields.get("event_id")
    if isinstance(event_id, str) and len(event_id) > MAX_LENGTH and event_id != normalized_id(event_id):
        fields["event_id"] = normalized_id(event_id)
        warnings.append("REPAIRED_EVENT_ID")
    event = _convert(fields, Event, "")
    custom_data, custom_data_json = None, b""
    if sent_custom_data:
        custom_data, custom_data_json = _typed_custom_data(sent_custom_data)
        event.custom_data = msgspec.Raw(custom_data_json)
    return PendingEvent(index, event, custom_data, custom_data_json, extra or None, warnings)


def _refuse_test_marks(extra: dict[str, Json], custom_data: dict[str, Json]) -> None:
    ext = extra.get("ext")
    for prefix, fields in (("", extra), ("custom_data.", custom_data), ("ext.", ext if isinstance(ext, dict) else {})):
        if found := find_test_mark(fields):
            field = f"{prefix}{found}"
            raise Rejection(
                "INVALID_REQUEST",
                f"{field} marks a test, but without test_event_code the event would count as a live conversion. Send "
                f"test events in a call with test_event_code beside events, and live events without {field}.",
                field,
            )


def _typed_custom_data(sent: dict[str, Json]) -> tuple[CustomData, bytes]:
    """The fields that AdCP knows, checked, and all of them as JSON."""
    try:
        strict = msgspec.convert(sent, StrictCustomData)
        return strict, _encode(strict)
    except msgspec.ValidationError:
        return _convert(sent, CustomData, "custom_data"), _encode_sorted(sent)


def _take_custom_data(fields: dict[str, Json], warnings: list[str]) -> dict[str, Json]:
    """Take custom_data out of the event, with what belongs there but was sent beside it."""
    custom_data = fields.pop("custom_data", {})
    if not isinstance(custom_data, dict):
        raise Rejection(
            "INVALID_REQUEST", f"custom_data must be an object, not {json_type(custom_data)}.", "custom_data"
        )
    custom_data = {name: value for name, value in custom_data.items() if value is not None}
    for name in _MISPLACED:
        if name in fields:
            custom_data.setdefault(name, fields.pop(name))
            warnings.append("MISPLACED_FIELD")
    return custom_data


def known_identifiers(user_match: dict[str, Json], warnings: list[str]) -> dict[str, Json]:
    """Keep the identifiers that the schema names; others can't be matched and are never stored.

    Raises:
        Rejection: Another field has personal data, unhashed.
    """
    for name, value in user_match.items():
        if name in _USER_MATCH_FIELDS or name == "ext":
            continue
        if _has_personal(value):
            raise Rejection(
                "INVALID_REQUEST",
                "user_match contains an unhashed e-mail address or phone number. Hash it with SHA-256 and send it as "
                "hashed_email or hashed_phone. The value was not stored.",
                "user_match",
            )
        dialect = name.lower()
        warnings.append(f"UNKNOWN_IDENTIFIER {dialect}" if dialect in ADCP_FIELDS else "UNKNOWN_IDENTIFIER")
    kept = {name: user_match[name] for name in _USER_MATCH_FIELDS if user_match.get(name) is not None}
    if isinstance(kept.get("uids"), list):
        kept["uids"] = [
            {name: uid[name] for name in ("type", "value") if name in uid} if isinstance(uid, dict) else uid
            for uid in kept["uids"]
        ]
    return kept


def _has_personal(value: Json) -> bool:
    """Whether a value of user_match is unhashed: by itself, or in a list or an object, as other platforms send it."""
    if isinstance(value, str):
        return looks_personal(value) or is_phone(value)
    items = value.values() if isinstance(value, dict) else value
    return isinstance(value, dict | list) and any(map(_has_personal, items))


def _convert(fields: dict[str, Json], shape: type, at: str) -> Any:
    try:
        return msgspec.convert(fields, shape)
    except msgspec.ValidationError as error:
        _refuse(str(error), at)


_CLEARER = {
    "event_time": (
        "INVALID_EVENT_TIME",
        "must be an RFC 3339 date and time with a UTC offset, for example 2026-01-15T10:30:00Z. "
        "Numbers, times without an offset and dates that don't exist are rejected",
    ),
    "event_id": (
        "INVALID_REQUEST",
        'must be a string of 1 to 256 characters, for example "order_1001". Put a number in quotes',
    ),
    "event_type": ("INVALID_EVENT_TYPE", "must be a string, one of AdCP's event types, for example purchase"),
}


_NEGATIVE_VALUE = (
    "must not be negative. To take back a purchase, send an event of event_type refund with the amount as a positive "
    "number and the order_id of the purchase"
)


def _refuse(problem: str, at: str) -> NoReturn:
    """Turn the error that msgspec found into a rejection that quotes no value."""
    path, sentence = describe_validation_error(problem)
    field = f"{at}{path}".lstrip(".")
    reason, clearer = _CLEARER.get(field, ("INVALID_REQUEST", ""))
    if field == "custom_data.value" and sentence.startswith("must be at least"):
        clearer = _NEGATIVE_VALUE
    if sentence == "is required":
        reason = "INVALID_REQUEST"
    else:
        sentence = clearer or sentence
    raise Rejection(reason, f"{field} {sentence}.", field)
