"""Judging exposures: each becomes a row to store or a failure to report."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import msgspec

from postback.exposures.exposure import Exposure, SentExposure, micros
from postback.ingest.clear_text import looks_personal
from postback.ingest.decode import MAX_EVENT_BYTES, canonical_json, json_type, known_identifiers, parse_json
from postback.ingest.identifiers import IdentifierHasher
from postback.ingest.rejection import Rejection
from postback.protocol.currencies import CURRENCIES
from postback.shapes import departure
from postback.times import rfc3339

__all__ = ["ExposureVerdicts", "FailedExposure", "check_money", "check_name", "judge_exposures", "read_carefully"]

FUTURE_TOLERANCE = timedelta(minutes=10)
_LAST_TIME = datetime(2105, 12, 31, tzinfo=UTC)
"""Reports count by hours that end soon after."""

_FIRST_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MONEY = Decimal(10) ** 15
_SMALLEST_MONEY = Decimal("1E-9")
_MONEY = ("cost", "spend")

_CLEARER = {
    "kind": "must be impression or click",
    "occurred_at": "must be an RFC 3339 date and time with a UTC offset, as 2026-01-15T10:30:00Z",
    "hour": "must be a full hour with a UTC offset, as 2026-01-15T10:00:00Z",
}

_decode = msgspec.json.Decoder(SentExposure).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class FailedExposure:
    """An exposure that failed; ``exposure_id`` is None when it can't be read or must not be repeated."""

    index: int
    exposure_id: str | None
    rejection: Rejection


@dataclass(slots=True)
class ExposureVerdicts:
    """What became of a batch.

    Attributes:
        accepted: The exposures to store, in order.
        indexes: Their places in the batch.
        failed: Those that failed, in order.
        warnings: Code → places of the accepted exposures that it is about.
        fingerprint: SHA-256 over all of them, as they were sent but for how they were written down.
    """

    accepted: list[Exposure] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    failed: list[FailedExposure] = field(default_factory=list)
    warnings: dict[str, list[int]] = field(default_factory=dict)
    fingerprint: bytes = b""


def judge_exposures(
    raws: list[msgspec.Raw], identifiers: IdentifierHasher, now: datetime, *, sandbox: bool
) -> ExposureVerdicts:
    """Judge each exposure of a batch by itself. CPU only: no I/O, safe in a thread.

    Args:
        raws: The bytes of each.
        identifiers: Makes match keys of identifiers.
        now: The time, UTC; nothing may lie more than 10 minutes ahead of it,
        sandbox: unless the account is a sandbox.
    """
    verdicts, said = ExposureVerdicts(), sha256()
    newest = _LAST_TIME if sandbox else now + FUTURE_TOLERANCE
    for index, raw in enumerate(map(bytes, raws)):
        # Of what was sent and not of the verdict, which the time may change.
        said.update((canonical_json(raw) if len(raw) <= MAX_EVENT_BYTES else raw) + b"\n")
        notes: list[str] = []
        try:
            verdicts.accepted.append(_accept(_read(raw, notes), identifiers, newest, notes))
        except Rejection as rejection:
            verdicts.failed.append(FailedExposure(index, _told_id(raw, rejection), rejection))
            continue
        verdicts.indexes.append(index)
        for code in dict.fromkeys(notes):
            verdicts.warnings.setdefault(code, []).append(index)
    verdicts.fingerprint = said.digest()
    return verdicts


def check_money(amount: Decimal | None, currency: str | None, name: str) -> Decimal | None:
    """The amount as it is stored, with exactly 9 decimals.

    Raises:
        Rejection: The amount or its currency isn't right.
    """
    if currency is not None and currency not in CURRENCIES:
        raise Rejection(
            "INVALID_REQUEST", "currency is no ISO 4217 code. Send three capital letters, as USD.", "currency"
        )
    if amount is None:
        return None
    if not (amount.is_finite() and 0 <= amount < _MAX_MONEY):
        raise Rejection("INVALID_REQUEST", f"{name} must be a number from 0 to below 10^15.", name)
    # What JSON allows as an exponent, the store's column would choke on.
    stored = amount.quantize(_SMALLEST_MONEY)
    if stored != amount:
        raise Rejection("INVALID_REQUEST", f"{name} has more than 9 decimals. Round it to 9 at most.", name)
    if currency is None:
        raise Rejection(
            "INVALID_REQUEST", f"currency is required with {name}; send an ISO 4217 code, as USD.", "currency"
        )
    return stored


def read_carefully(raw: bytes, shape: type, notes: list[str]) -> Any:
    """Read an object that the strict decoder refuses or may misread: drop what isn't known, name what is wrong.

    Raises:
        Rejection: It can't be used.
    """
    if len(raw) > MAX_EVENT_BYTES:
        raise Rejection("INVALID_REQUEST", f"It is larger than {MAX_EVENT_BYTES:,} bytes.")
    tree = parse_json(raw)
    if not isinstance(tree, dict):
        raise Rejection("INVALID_REQUEST", f"It must be a JSON object, not {json_type(tree)}.")
    known = set(shape.__struct_fields__)  # type: ignore[attr-defined] # a msgspec.Struct
    members = {name: value for name, value in tree.items() if value is not None and name in known}
    if tree.keys() - known - {"ext"}:
        notes.append("UNKNOWN_FIELD")
    if isinstance(members.get("user_match"), dict):
        members["user_match"] = known_identifiers(members["user_match"], notes)
    try:
        # Through text, since only there an amount is as exact as it was sent.
        sent = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        pieces = [
            _encode(name) + b":" + (bytes(sent[name]) if name in _MONEY else _encode(value))
            for name, value in members.items()
        ]
        return msgspec.json.decode(b"{" + b",".join(pieces) + b"}", type=shape)
    except msgspec.ValidationError as error:
        path, sentence = departure(str(error))
        name = path.lstrip(".")
        sentence = sentence if sentence == "is required" else _CLEARER.get(name, sentence)
        be = "" if sentence.startswith(("is", "must")) else "is wrong: "
        raise Rejection("INVALID_REQUEST", f"{name or 'It'} {be}{sentence}.", name) from None


def _read(raw: bytes, notes: list[str]) -> SentExposure:
    try:
        sent = _decode(raw)
        # A name that is given twice, or a null, makes fewer names than were sent.
        if len(raw) <= MAX_EVENT_BYTES and raw.count(b'":') == _encode(sent).count(b'":'):
            return sent
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    careful: SentExposure = read_carefully(raw, SentExposure, notes)
    return careful


def _accept(sent: SentExposure, identifiers: IdentifierHasher, newest: datetime, notes: list[str]) -> Exposure:
    who = sent.user_match
    for name in ("exposure_id", "media_buy_id", "package_id", "creative_id"):
        value = getattr(sent, name)
        check_name(name, value)
        if who and value and value in (who.hashed_email, who.hashed_phone, who.click_id):
            raise Rejection(
                "INVALID_REQUEST",
                f"{name} repeats an identifier of user_match. Use an identifier of your own; the value was not kept.",
                name,
            )
    if sent.occurred_at > newest:
        raise Rejection(
            "INVALID_REQUEST",
            f"occurred_at is in the future; the newest taken now is {rfc3339(newest)}. "
            "Check the sender's clock and UTC offset.",
            "occurred_at",
        )
    if sent.occurred_at < _FIRST_TIME:
        raise Rejection("INVALID_REQUEST", "occurred_at lies before 1970.", "occurred_at")
    cost = check_money(sent.cost, sent.currency, "cost")
    if who is None:
        notes.append("MISSING_USER_MATCH")
    keys = identifiers.match(who, notes).keys if who else b""
    return Exposure(
        exposure_id=sent.exposure_id,
        kind=sent.kind,
        occurred_at=micros(sent.occurred_at),
        media_buy_id=sent.media_buy_id,
        package_id=sent.package_id,
        creative_id=sent.creative_id or "",
        match_keys=keys,
        cost=cost,
        currency=sent.currency or "",
    )


def check_name(name: str, value: str | None) -> None:
    """See that an identifier of the seller's is printable and holds no personal data.

    Raises:
        Rejection: It isn't.
    """
    if value is None:
        return
    if not value.isprintable():
        raise Rejection("INVALID_REQUEST", f"{name} holds a control character.", name)
    if ("@" in value or "%40" in value or value[0] == "+") and looks_personal(value):
        raise Rejection(
            "INVALID_REQUEST",
            f"{name} holds an e-mail address or phone number. Use an identifier of your own; the value was not kept.",
            name,
        )


class _Named(msgspec.Struct):
    exposure_id: str


def _told_id(raw: bytes, rejection: Rejection) -> str | None:
    """The id of an exposure that failed, if it may be told: short, printable, and no personal data."""
    try:
        told = msgspec.json.decode(raw, type=_Named).exposure_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    fit = 0 < len(told) <= 256 and told.isprintable() and not looks_personal(told)
    return told if fit and rejection.field != "exposure_id" else None
