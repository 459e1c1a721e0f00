"""Judging a batch: every event becomes a row to store or a failure to report, never neither and never both."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Protocol

import msgspec

from postback.ingest.checks import CHECKS, Rules
from postback.ingest.clear_text import looks_personal, may_be_personal, redact
from postback.ingest.decode import MAX_EVENT_BYTES, Decoded, canonical_json, decode_events
from postback.ingest.event import NO_JSON, CustomData
from postback.ingest.identifiers import UNMATCHABLE, IdentifierHasher
from postback.ingest.rejection import Rejection
from postback.ingest.rows import AcceptedEvent, AcceptedEvents

__all__ = ["FailedEvent", "Verdicts", "judge"]

_CHUNK = 128
"""Events that are in memory as objects at a time: what fits the processor's cache is judged twice as fast."""

_CHUNK_BYTES = 2 * MAX_EVENT_BYTES
"""The same bound for large events, in bytes of JSON."""

_MAX_NAME_BYTES = 2_000
"""256 characters as JSON, each of them escaped."""

_WORDS = re.compile(r"[A-Za-z][A-Za-z_ -]{0,63}")
"""A mistaken event type that may be told and stored: it has no digits, as identifiers do."""

_encode = msgspec.json.Encoder(order="sorted").encode


class FailedEvent(msgspec.Struct, gc=False, frozen=True):
    """An event that failed, as its caller is told.

    Attributes:
        index: Its place in the batch.
        event_id: Its event_id, or None when it can't be read or must not be repeated.
        event_type: Its event_type, or None likewise.
        rejection: Why.
    """

    index: int
    event_id: str | None
    event_type: str | None
    rejection: Rejection


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


class Verdicts:
    """What became of a batch.

    Attributes:
        accepted: The events to store, as columns, in order.
        failed: The events that failed, in order.
        warnings: Code → indexes of the accepted events that it is about.
        fingerprint: SHA-256 over all events in a form that doesn't depend on how the caller wrote them down.
    """

    def __init__(self) -> None:
        self.accepted = AcceptedEvents()
        self.failed: list[FailedEvent] = []
        self.warnings: dict[str, list[int]] = {}
        self.fingerprint = b""


def judge(raws: list[msgspec.Raw], rules: Rules, identifiers: IdentifierHasher) -> Verdicts:
    """Judge each event of a batch by itself. CPU only: no I/O, safe in a thread."""
    verdicts, said = Verdicts(), sha256()
    start = 0
    while start < len(raws):
        chunk = _chunk(raws[start : start + _CHUNK])
        _judge_chunk(chunk, start, rules, identifiers, verdicts, said)
        start += len(chunk)
    verdicts.fingerprint = said.digest()
    return verdicts


def _chunk(raws: list[msgspec.Raw]) -> list[bytes]:
    chunk = [bytes(raw) for raw in raws]
    while len(chunk) > 1 and sum(map(len, chunk)) > _CHUNK_BYTES:
        del chunk[len(chunk) // 2 :]
    return chunk


def _judge_chunk(
    raws: list[bytes], start: int, rules: Rules, identifiers: IdentifierHasher, verdicts: Verdicts, said: _Digest
) -> None:
    accepted: list[AcceptedEvent] = []
    chunk = decode_events(raws)
    # Looking once over everything costs a tenth of looking at each event.
    suspicious = may_be_personal(b"\n".join([d.event.custom_data for d in chunk if isinstance(d, Decoded)]))
    for index, decoded in enumerate(chunk, start):
        raw = raws[index - start]
        if isinstance(decoded, Rejection):
            said.update(canonical_json(raw) if len(raw) <= MAX_EVENT_BYTES else raw)
            verdicts.failed.append(_failed(index, raw, decoded))
            continue
        said.update(decoded.canonical)
        try:
            accepted.append(_accept(index, decoded, rules, identifiers, suspicious))
        except Rejection as rejection:
            verdicts.failed.append(_failed(index, raw, rejection))
            continue
        for code in decoded.notes:
            verdicts.warnings.setdefault(code, []).append(index)
    verdicts.accepted.extend(accepted)


def _accept(
    index: int, decoded: Decoded, rules: Rules, identifiers: IdentifierHasher, suspicious: bool
) -> AcceptedEvent:
    for check in CHECKS:
        check(decoded, rules)
    user_match = decoded.event.user_match
    matchable = identifiers.match(user_match, decoded.notes) if user_match else UNMATCHABLE
    custom_data, extra = _without_personal_data(decoded, suspicious)
    if decoded.notes:
        decoded.notes = list(dict.fromkeys(decoded.notes))
    return AcceptedEvent(index, decoded, custom_data, extra, matchable)


def _without_personal_data(decoded: Decoded, suspicious: bool) -> tuple[bytes, bytes]:
    """The JSON to store: custom_data, looked through if ``suspicious``, and the members that AdCP doesn't know."""
    event = decoded.event
    custom_data, extra = bytes(event.custom_data), b""
    found = False
    if custom_data and (suspicious or type(decoded.custom_data) is CustomData):
        safe, found = redact(msgspec.json.decode(custom_data))
        custom_data = _encode(safe) if found else custom_data
    if decoded.extra:
        safe, found_in_extra = redact(decoded.extra)
        extra = _encode(safe)
        found = found or found_in_extra
    if event.custom_event_name:
        event.custom_event_name, found_in_name = redact(event.custom_event_name)
        found = found or found_in_name
    if found:
        decoded.notes.append("REDACTED")
    return custom_data, extra


def _failed(index: int, raw: bytes, rejection: Rejection) -> FailedEvent:
    try:
        named = msgspec.json.decode(raw, type=_Named)
        event_id, event_type = _name(named.event_id), _name(named.event_type)
    except (msgspec.DecodeError, RecursionError):
        event_id = event_type = None
    if rejection.field == "event_id" or not (event_id and _repeatable(event_id)):
        event_id = None
    if not (event_type and _WORDS.fullmatch(event_type)):
        event_type = None
    return FailedEvent(index, event_id, event_type, rejection)


class _Named(msgspec.Struct):
    event_id: msgspec.Raw = NO_JSON
    event_type: msgspec.Raw = NO_JSON


def _name(raw: msgspec.Raw) -> str | None:
    """A member's text; None when it has none, or one too long for a name."""
    try:
        return msgspec.json.decode(raw, type=str) if memoryview(raw).nbytes <= _MAX_NAME_BYTES else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _repeatable(event_id: str) -> bool:
    """Whether an event_id may be told and stored: short, printable, and no personal data."""
    return len(event_id) <= 256 and event_id.isprintable() and not looks_personal(event_id)
