"""From the bytes of ``events`` to typed events, each judged alone.

Most events are exactly what the schemas say, and C code decodes them. One that is refused there (an unknown member, a
null, a wrong type, a number too large) is read again with care: what can be kept is kept, what can't is named. A JSON
object that gives the same name twice is ambiguous and refused; the strict decoder wouldn't notice, so the names in a
batch are counted before and after.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import msgspec
import numpy as np

from postback.ingest.clear_text import looks_personal
from postback.ingest.event import NO_JSON, CustomData, Event, StrictCustomData, UserMatch
from postback.ingest.rejection import Rejection
from postback.shapes import departure

__all__ = [
    "MAX_DEPTH",
    "MAX_EVENT_BYTES",
    "Decoded",
    "canonical_json",
    "decode_events",
    "diagnose",
    "json_type",
    "known_identifiers",
    "names_in",
    "parse_json",
    "spell_out_half_pairs",
]

MAX_DEPTH = 32
"""How deep an event's JSON may nest."""

MAX_EVENT_BYTES = 1_000_000
"""Bound on one event's JSON: parsed, it takes up to 30 times the memory."""

Json = Any

_EVENT_FIELDS = frozenset(Event.__struct_fields__)
_USER_MATCH_FIELDS = UserMatch.__struct_fields__
_CUSTOM_DATA_FIELDS = frozenset(CustomData.__struct_fields__)
_LONG_NUMBER = re.compile(rb"\d{19}")
_INEXACT_NUMBER = re.compile(rb"\d{16}")
_LARGEST_EXACT = 2**53 - 1
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|u([dD][89a-fA-F][\da-fA-F]{2})|.)", re.DOTALL
)
_MISPLACED = ("value", "currency", "content_ids")

_decode_event = msgspec.json.Decoder(Event).decode
_decode_any = msgspec.json.Decoder(float_hook=lambda text: _finite(text)).decode
_decode_custom_data = msgspec.json.Decoder(StrictCustomData).decode
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class Decoded(msgspec.Struct, gc=False):
    """One decoded event.

    Attributes:
        event: Its members; ``event.custom_data`` is canonical JSON, or empty.
        custom_data: The members of custom_data that the schemas know.
        extra: The members that they don't know, with ``ext`` and ``surface``, as a JSON object; None without any.
        notes: Codes of warnings.
        canonical: The whole event in a form that doesn't depend on how the caller wrote it down; for idempotency only.
    """

    event: Event
    custom_data: CustomData | None
    extra: dict[str, Json] | None
    notes: list[str]
    canonical: bytes


def decode_events(raws: list[bytes]) -> list[Decoded | Rejection]:
    """Decode each event alone; an event that can't be used comes back as its rejection. Same order and length."""
    decoded: list[Decoded | Rejection] = []
    strict: list[int] = []
    for index, raw in enumerate(raws):
        if len(raw) > MAX_EVENT_BYTES:
            decoded.append(Rejection("INVALID_REQUEST", f"The event is larger than {MAX_EVENT_BYTES:,} bytes."))
            continue
        try:
            decoded.append(_strictly(raw))
            strict.append(index)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            decoded.append(_carefully(raw))
    for index in _where_names_were_lost(raws, decoded, strict):
        decoded[index] = _carefully(raws[index])
    return decoded


def canonical_json(raw: bytes | msgspec.Raw) -> bytes:
    """JSON in a form that doesn't depend on how it was written down; as it is, when it can't be parsed.

    Numbers are doubles, as for RFC 8785: two that no double tells apart are the same.
    """
    try:
        tree = _decode_any(raw)
        return _encode_sorted(_as_doubles(tree) if _INEXACT_NUMBER.search(raw) else tree)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError, Rejection):
        return bytes(raw)


def _as_doubles(tree: Json) -> Json:
    if isinstance(tree, dict):
        return {name: _as_doubles(member) for name, member in tree.items()}
    if isinstance(tree, list):
        return [_as_doubles(member) for member in tree]
    return float(tree) if isinstance(tree, int) and abs(tree) > _LARGEST_EXACT else tree


def spell_out_half_pairs(text: bytes) -> bytes:
    """JSON whose escapes of half a surrogate pair became bytes that are no UTF-8.

    Where such an escape stands no member can be cut out; where such bytes stand it can, and is refused by itself.
    """
    return _ESCAPE.sub(_spelled_out, text)


def _spelled_out(escape: re.Match[bytes]) -> bytes:
    half: bytes | None = escape[1]
    return chr(int(half, 16)).encode("utf-8", "surrogatepass") if half else escape[0]


def names_in(text: bytes) -> int:
    """Count where a string ends before a colon: the member names of compact JSON, and those of json.dumps."""
    codes = np.frombuffer(text, np.uint8)
    pairs = 0
    for start in (0, 1):
        aligned = codes[start : start + (len(codes) - start) // 2 * 2].view(np.uint16)
        pairs += int(np.count_nonzero(aligned == 0x3A22))
    return pairs


def _strictly(raw: bytes) -> Decoded:
    event = _decode_event(raw)
    custom_data = None
    if event.custom_data:
        custom_data = _decode_custom_data(event.custom_data)
        encoded = _encode(custom_data)
        event.custom_data = NO_JSON if encoded == b"{}" else msgspec.Raw(encoded)
    return Decoded(event, custom_data, None, [], _encode(event))


def _where_names_were_lost(raws: list[bytes], decoded: list[Decoded | Rejection], strict: list[int]) -> list[int]:
    """Indexes of the strictly decoded events that have fewer names than they were sent with: null, or given twice."""
    sent = [raws[index] for index in strict]
    kept = [d.canonical for index in strict if isinstance(d := decoded[index], Decoded)]
    # Counting once over everything costs a tenth of counting in each event.
    if names_in(b"\n".join(sent)) == names_in(b"\n".join(kept)):
        return []
    return [index for index, s, k in zip(strict, sent, kept, strict=True) if s.count(b'":') != k.count(b'":')]


def _carefully(raw: bytes) -> Decoded | Rejection:
    try:
        return _repaired(parse_json(raw))
    except Rejection as rejection:
        return rejection


def _repaired(tree: Json) -> Decoded:
    if not isinstance(tree, dict):
        raise Rejection("INVALID_REQUEST", f"The event must be a JSON object, not {json_type(tree)}.")
    members = {name: value for name, value in tree.items() if value is not None}
    notes: list[str] = []
    sent_custom_data = _take_custom_data(members, notes)
    extra = {name: members.pop(name) for name in list(members) if name not in _EVENT_FIELDS}
    if isinstance(members.get("user_match"), dict):
        members["user_match"] = known_identifiers(members["user_match"], notes)
    event = _convert(members, Event, "")
    custom_data = None
    if sent_custom_data:
        custom_data, event.custom_data = _typed_custom_data(sent_custom_data)
    canonical = _encode(event) + (_encode_sorted(extra) if extra else b"")
    return Decoded(event, custom_data, extra or None, notes, canonical)


def _typed_custom_data(sent: dict[str, Json]) -> tuple[CustomData, msgspec.Raw]:
    """The members that AdCP knows, checked, and all of them as JSON."""
    try:
        strict = msgspec.convert(sent, StrictCustomData)
        return strict, msgspec.Raw(_encode(strict))
    except msgspec.ValidationError:
        return _convert(sent, CustomData, "custom_data"), msgspec.Raw(_encode_sorted(sent))


def _take_custom_data(members: dict[str, Json], notes: list[str]) -> dict[str, Json]:
    """Take custom_data out of the event, with what belongs there but was sent beside it."""
    custom_data = members.pop("custom_data", {})
    if not isinstance(custom_data, dict):
        raise Rejection(
            "INVALID_REQUEST", f"custom_data must be an object, not {json_type(custom_data)}.", "custom_data"
        )
    custom_data = {name: value for name, value in custom_data.items() if value is not None}
    for name in _MISPLACED:
        if name in members:
            custom_data.setdefault(name, members.pop(name))
            notes.append("MISPLACED_FIELD")
    return custom_data


def known_identifiers(user_match: dict[str, Json], notes: list[str]) -> dict[str, Json]:
    """Keep the identifiers that the schema names; others can't be matched and are never stored.

    Raises:
        Rejection: Another member holds personal data in the clear.
    """
    for name, value in user_match.items():
        if name in _USER_MATCH_FIELDS or name == "ext":
            continue
        if isinstance(value, str) and looks_personal(value):
            raise Rejection(
                "INVALID_REQUEST",
                "user_match holds an e-mail address or phone number in the clear. Hash it with SHA-256 and send it as "
                "hashed_email or hashed_phone; the value was not kept.",
                "user_match",
            )
        notes.append("UNKNOWN_IDENTIFIER")
    kept = {name: user_match[name] for name in _USER_MATCH_FIELDS if user_match.get(name) is not None}
    if isinstance(kept.get("uids"), list):
        kept["uids"] = [
            {name: uid[name] for name in ("type", "value") if name in uid} if isinstance(uid, dict) else uid
            for uid in kept["uids"]
        ]
    return kept


def _convert(members: dict[str, Json], shape: type, at: str) -> Any:
    try:
        return msgspec.convert(members, shape)
    except msgspec.ValidationError as error:
        _refuse(str(error), at)


_CLEARER = {
    "event_time": (
        "INVALID_EVENT_TIME",
        "must be an RFC 3339 date and time with a UTC offset, as 2026-01-15T10:30:00Z; "
        "numbers, dates that don't exist and times without an offset are not taken",
    ),
    "event_id": ("INVALID_REQUEST", "must be a string of 1 to 256 characters"),
    "event_type": ("INVALID_EVENT_TYPE", "must be a string, one of AdCP's event types"),
}


def _refuse(problem: str, at: str) -> NoReturn:
    """Turn msgspec's sentence, which holds no value, into a rejection with a path."""
    path, sentence = departure(problem)
    field = f"{at}{path}".lstrip(".")
    reason, clearer = _CLEARER.get(field, ("INVALID_REQUEST", ""))
    if sentence == "is required":
        reason = "INVALID_REQUEST"
    else:
        sentence = clearer or sentence
    raise Rejection(reason, f"{field} {'' if sentence.startswith(('is', 'must')) else 'is wrong: '}{sentence}.", field)


def parse_json(raw: bytes) -> Json:
    """Parse any JSON, whatever its shape.

    Raises:
        Rejection: It is ambiguous, nests too deep, or other parsers would choke on it.
    """
    try:
        tree = _decode_any(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        diagnose(raw)
        raise Rejection("INVALID_REQUEST", "The event holds a string or number that JSON can't carry.") from None
    if raw.count(b'":') != _encode(tree).count(b'":'):
        diagnose(raw)
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH or _LONG_NUMBER.search(raw):
        _check_tree(tree, MAX_DEPTH)
    return tree


def diagnose(raw: bytes) -> Json:
    """Find what msgspec refuses or passes over, with a parser that is slower but tells more.

    Returns:
        The JSON, if nothing is wrong with it.

    Raises:
        Rejection: Says what is wrong, if anything is.
    """
    try:
        tree = json.loads(raw, object_pairs_hook=_without_duplicates, parse_float=_finite, parse_int=_finite)
        json.dumps(tree, ensure_ascii=False).encode()
        return tree
    except RecursionError:
        raise _too_deep() from None
    except UnicodeEncodeError:
        raise Rejection(
            "INVALID_REQUEST", "A string holds half of a surrogate pair, which is not a character; send valid UTF-8."
        ) from None
    except ValueError:
        raise Rejection("INVALID_REQUEST", "The event is not valid JSON.") from None


def _without_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    known = twice if twice in _EVENT_FIELDS | _CUSTOM_DATA_FIELDS else "a member"
    raise Rejection("INVALID_REQUEST", f"The same name is given twice in one object: {known}. Send each name once.")


def _finite(text: str) -> float | int:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Rejection("INVALID_REQUEST", "A number is too large for IEEE 754 double precision.")
    return int(number) if number.is_integer() and abs(number) <= _LARGEST_EXACT else number


def _check_tree(tree: Json, levels: int) -> None:
    """Refuse what other JSON parsers, the event store's among them, choke on."""
    if levels == 0:
        raise _too_deep()
    if isinstance(tree, int) and not -(2**63) <= tree < 2**64:
        raise Rejection("INVALID_REQUEST", "An integer is too large for 64 bits; send it as a string.")
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list):
        for member in tree:
            _check_tree(member, levels - isinstance(member, dict | list))


def _too_deep() -> Rejection:
    return Rejection("INVALID_REQUEST", f"The event nests deeper than {MAX_DEPTH} levels.")


def json_type(value: Json) -> str:
    """A value's type, with its article."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
