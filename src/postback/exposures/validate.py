"""Validating exposures: each becomes a row to store or a rejection to report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import msgspec

from postback.events.decode import known_identifiers
from postback.events.event import UserMatch
from postback.events.event_ids import is_ordinary_id, is_unfilled_id
from postback.events.identifiers import IdentifierHasher
from postback.events.personal_data import looks_personal
from postback.events.rejection import Rejection, repeats_sent_identifier
from postback.events.repeated_identifiers import repeats_identifier
from postback.events.warnings import warning_codes
from postback.exposures.exposure import Exposure, SentExposure
from postback.exposures.line_columns import LineColumns
from postback.protocol.canonical_json import canonical_json
from postback.protocol.characters import describe_unprintable
from postback.protocol.currencies import CURRENCIES
from postback.protocol.json_size import size_problem
from postback.protocol.strict_json import (
    UNREADABLE,
    InvalidJson,
    json_type,
    parse_json,
    same_fields,
)
from postback.protocol.timestamps import micros, rfc3339
from postback.protocol.type_errors import describe_validation_error

__all__ = [
    "ExposureValidationResult",
    "RejectedExposure",
    "check_money",
    "check_name",
    "read_carefully",
    "trimmed_currency",
    "validate_each",
    "validate_exposures",
]

FUTURE_TOLERANCE = timedelta(minutes=10)
_LAST_TIME = datetime(2105, 12, 31, tzinfo=UTC)
"""Reports count by hours that end soon after."""

_FIRST_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MONEY = Decimal(10) ** 15
_SMALLEST_MONEY = Decimal("1E-9")

_CLEARER = {
    "kind": "must be impression or click",
    "occurred_at": "must be an RFC 3339 date and time with a UTC offset, for example 2026-01-15T10:30:00Z",
    "hour": "must be a full hour with a UTC offset, for example 2026-01-15T10:00:00Z",
}

_CHUNK = 128
"""Exposures that are in memory as objects at a time, beside those that were accepted."""

_decode = msgspec.json.Decoder(SentExposure).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, slots=True)
class RejectedExposure:
    """An exposure that failed; ``exposure_id`` is None when it can't be read or must not be repeated."""

    index: int
    exposure_id: str | None
    rejection: Rejection


@dataclass(slots=True)
class ExposureValidationResult:
    """What became of a batch.

    Attributes:
        accepted: The exposures to store, in order.
        indexes: Their places in the batch.
        failed: Those that failed, in order.
        warnings: Code → places of the accepted exposures that it is about.
        subjects: Code → the fields that it is about.
        fingerprint: SHA-256 over all of them, as they were sent but for how they were written down.
    """

    accepted: list[Exposure] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    failed: list[RejectedExposure] = field(default_factory=list)
    warnings: dict[str, list[int]] = field(default_factory=dict)
    subjects: dict[str, set[str]] = field(default_factory=dict)
    fingerprint: bytes = b""


def validate_exposures(
    raws: list[msgspec.Raw], identifiers: IdentifierHasher, now: datetime, *, sandbox: bool
) -> ExposureValidationResult:
    """Validate each exposure of a batch by itself. CPU only: no I/O, safe in a thread.

    Args:
        raws: The bytes of each.
        identifiers: Makes match keys of identifiers.
        now: The time, UTC; nothing may lie more than 10 minutes ahead of it,
        sandbox: unless the account is a sandbox.
    """
    sent = [bytes(raw) for raw in raws]
    result, fingerprint = validate_each(sent, identifiers, now, sandbox=sandbox), sha256()
    for raw in sent:
        # Of what was sent and not of the result, which the time may change.
        fingerprint.update((raw if size_problem(raw, "") else canonical_json(raw)) + b"\n")
    result.fingerprint = fingerprint.digest()
    return result


def validate_each(
    raws: Sequence[bytes],
    identifiers: IdentifierHasher,
    now: datetime,
    *,
    sandbox: bool,
    columns: LineColumns | None = None,
) -> ExposureValidationResult:
    """The same without a fingerprint; ``columns`` arranges lines of a file as a call sends its exposures."""
    result = ExposureValidationResult()
    newest = _LAST_TIME if sandbox else now + FUTURE_TOLERANCE
    for start in range(0, len(raws), _CHUNK):
        chunk = raws[start : start + _CHUNK]
        quickly = _read_strictly(chunk) if columns is None or columns.plain else [None] * len(chunk)
        for index, (raw, quick) in enumerate(zip(chunk, quickly, strict=True), start):
            warnings: list[str] = []
            try:
                sent = quick or read_carefully(raw, SentExposure, "The exposure", warnings, columns)
                result.accepted.append(_accept(sent, identifiers, newest, warnings))
            except Rejection as rejection:
                result.failed.append(RejectedExposure(index, _told_id(raw, rejection), rejection))
                continue
            result.indexes.append(index)
            _collect_warnings(result, index, warnings)
    return result


def _collect_warnings(result: ExposureValidationResult, index: int, warnings: Sequence[str]) -> None:
    for warning in warnings:
        code, _, subject = warning.partition(" ")
        if subject:
            result.subjects.setdefault(code, set()).add(subject)
    for code in warning_codes(warnings):
        result.warnings.setdefault(code, []).append(index)


def _read_strictly(raws: Sequence[bytes]) -> list[SentExposure | None]:
    """Those exposures that are exactly what their schema says; None for any other."""
    read = [_decoded(raw) for raw in raws]
    sent = [exposure for exposure in read if exposure]
    if len(sent) == len(raws) and same_fields(b"[%b]" % b",".join(raws), _encode(sent)):
        return read
    return [
        exposure if exposure and same_fields(raw, _encode(exposure)) else None
        for raw, exposure in zip(raws, read, strict=True)
    ]


def _decoded(raw: bytes) -> SentExposure | None:
    try:
        exposure = None if size_problem(raw, "") else _decode(raw)
    except UNREADABLE:
        return None
    if exposure and exposure.cost and not exposure.cost.is_finite():
        return None  # the text NaN: no JSON can be written of it
    return exposure


def check_money(amount: Decimal | None, currency: str | None, name: str) -> Decimal | None:
    """The amount as it is stored, with exactly 9 decimals.

    Raises:
        Rejection: The amount or its currency is invalid.
    """
    if currency is not None and currency not in CURRENCIES:
        raise Rejection(
            "INVALID_REQUEST", "currency is not an ISO 4217 currency code. Send a code such as USD.", "currency"
        )
    if amount is None:
        return None
    if not (amount.is_finite() and 0 <= amount < _MAX_MONEY):
        raise Rejection("INVALID_REQUEST", f"{name} must be at least 0 and less than 10^15.", name)
    # JSON allows exponents that the store's column can't represent.
    stored = amount.quantize(_SMALLEST_MONEY)
    if stored != amount:
        raise Rejection("INVALID_REQUEST", f"{name} has more than 9 decimal places. Round it.", name)
    if currency is None:
        raise Rejection(
            "INVALID_REQUEST", f"currency is required with {name}. Send an ISO 4217 code, for example USD.", "currency"
        )
    return stored


def read_carefully(raw: bytes, shape: type, what: str, warnings: list[str], columns: LineColumns | None = None) -> Any:
    """Parse an object that the strict decoder refuses or may misread: ignore unknown fields, describe errors.

    Args:
        raw: The JSON.
        shape: The struct to read it into.
        what: Its name at the beginning of messages.
        warnings: Collects warnings: codes, some with a subject.
        columns: Arranges a line of a file first.

    Raises:
        Rejection: It is invalid.
    """
    if problem := size_problem(raw, what):
        raise Rejection("INVALID_REQUEST", problem)
    known = frozenset(shape.__struct_fields__)  # type: ignore[attr-defined] # a msgspec.Struct
    try:
        tree = parse_json(raw, known, what=what, decimals=True)
    except InvalidJson as error:
        raise Rejection("INVALID_REQUEST", error.message) from None
    tree = columns.arrange(tree) if columns else tree
    if not isinstance(tree, dict):
        raise Rejection("INVALID_REQUEST", f"{what} must be a JSON object, not {json_type(tree)}.")
    fields = {name: value for name, value in tree.items() if value is not None and name in known}
    if tree.keys() - known - {"ext"}:
        warnings.append("UNKNOWN_FIELD")
    if isinstance(fields.get("user_match"), dict):
        fields["user_match"] = known_identifiers(fields["user_match"], warnings)
    try:
        return msgspec.convert(fields, shape)
    except msgspec.ValidationError as error:
        path, sentence = describe_validation_error(str(error))
        name = path.lstrip(".")
        sentence = sentence if sentence == "is required" else _CLEARER.get(name, sentence)
        raise Rejection("INVALID_REQUEST", f"{name or what} {sentence}.", name) from None


def _accept(sent: SentExposure, identifiers: IdentifierHasher, newest: datetime, warnings: list[str]) -> Exposure:
    who = sent.user_match
    _check_names(sent, who)
    if sent.occurred_at > newest:
        raise Rejection(
            "INVALID_REQUEST",
            f"occurred_at is in the future. The latest accepted time is now {rfc3339(newest)}. "
            "Check the sender's clock and UTC offset.",
            "occurred_at",
        )
    if sent.occurred_at < _FIRST_TIME:
        raise Rejection("INVALID_REQUEST", "occurred_at must not be before 1970.", "occurred_at")
    currency = trimmed_currency(sent.currency, warnings)
    cost = check_money(sent.cost, currency, "cost")
    keys = identifiers.match(who, warnings, required=False) if who else b""
    if not keys:
        warnings.append("MISSING_USER_MATCH")
    return Exposure(
        exposure_id=sent.exposure_id,
        kind=sent.kind,
        occurred_at=micros(sent.occurred_at),
        media_buy_id=sent.media_buy_id,
        package_id=sent.package_id,
        creative_id=sent.creative_id or "",
        match_keys=keys,
        cost=cost,
        currency=currency or "",
    )


def _check_names(sent: SentExposure, who: UserMatch | None) -> None:
    for name in ("exposure_id", "media_buy_id", "package_id", "creative_id"):
        value = getattr(sent, name)
        check_name(name, value)
        if who and value and repeats_identifier(value, who):
            raise Rejection(
                "INVALID_REQUEST",
                f"{name} repeats an identifier of user_match. Use an id of your own. The value was not stored.",
                name,
            )
    if is_unfilled_id(sent.exposure_id):
        raise Rejection(
            "INVALID_REQUEST",
            "exposure_id looks like a variable that nobody filled in. Send an id that only this exposure has.",
            "exposure_id",
        )


def trimmed_currency(currency: str | None, warnings: list[str]) -> str | None:
    """A currency without surrounding white space, of which ``warnings`` then tells; unchanged if it is no currency."""
    if currency is None or currency in CURRENCIES or currency.strip() not in CURRENCIES:
        return currency
    warnings.append("REPAIRED_CURRENCY")
    return currency.strip()


def check_name(name: str, value: str | None) -> None:
    """Check that a seller's id is printable and contains no personal data.

    Raises:
        Rejection: It is unprintable or personal.
    """
    if value is None or is_ordinary_id(value):
        return
    if unprintable := describe_unprintable(value):
        raise Rejection("INVALID_REQUEST", f"{name} contains {unprintable}. Use printable characters only.", name)
    if looks_personal(value):
        raise Rejection(
            "INVALID_REQUEST",
            f"{name} contains an e-mail address or phone number. Use an id of your own. The value was not stored.",
            name,
        )


class _Named(msgspec.Struct):
    exposure_id: str


def _told_id(raw: bytes, rejection: Rejection) -> str | None:
    """The id of an exposure that failed, if it may be told: short, printable, and no personal data."""
    try:
        told = msgspec.json.decode(raw, type=_Named).exposure_id
    except UNREADABLE:
        return None
    fit = 0 < len(told) <= 256 and told.isprintable() and not looks_personal(told)
    fit = fit and rejection.field != "exposure_id" and not repeats_sent_identifier(told, raw)
    return told if fit else None
