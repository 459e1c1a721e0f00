"""Validating exposures by the block: rows that are plainly right as whole columns, the others one by one.

Both ways come to the same results. A row is plain when nothing about it could be repaired, warned about or rejected;
any other is validated as POST /v1/exposures validates it, and so is every line of NDJSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from postback.events.identifier_columns import any_looks_typed, looks_typed
from postback.events.identifiers import KINDS, IdentifierHasher
from postback.events.junk_digests import JUNK_DIGESTS
from postback.events.rejection import Rejection
from postback.exposures.exposure import Exposure
from postback.exposures.line_columns import LineColumns
from postback.exposures.validate import FUTURE_TOLERANCE, ExposureValidationResult, validate_each
from postback.protocol.currencies import CURRENCIES
from postback.store.rows import Rows

__all__ = ["ValidatedBlock", "validate_block", "validate_lines"]

_NAMES = ("exposure_id", "media_buy_id", "package_id", "creative_id")
_PLAIN_NAME = r"^[A-Za-z0-9_.:~-]{1,256}$"
_PLAIN_TIME = (
    r"^20\d\d-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?Z$"
)
_PLAIN_COST = r"^(0|[1-9]\d{0,13})(\.\d{1,9})?$"
_PLAIN_DIGEST = r"^[0-9a-f]{64}$"
_PLAIN_OPAQUE = r"^[A-Za-z0-9][A-Za-z0-9._~/*-]{15,253}={0,2}$"
_SUSPECT = r"^(?i:fb\.|GCL\.|0000|unde|null|none)"
_HAS_DIGEST = r"[0-9A-Fa-f]{64}"
_PLAIN_KINDS = {f"user_match.{name.replace('uid:', 'uid.')}": number for number, name in KINDS.items()}
_DIGESTS = ("user_match.hashed_email", "user_match.hashed_phone")
_NEVER_PLAIN = (
    "user_match.client_ip",
    "user_match.client_user_agent",
    "user_match.uid.maid",
    "user_match.uid.hashed_email",
)
_MONEY = pa.decimal128(38, 9)
_CURRENCIES = pa.array(sorted(CURRENCIES))
_JUNK = pa.array(sorted(JUNK_DIGESTS))


@dataclass(frozen=True, slots=True)
class ValidatedBlock:
    """What became of a block's rows.

    Attributes:
        rows: What to store.
        accepted: How many were accepted.
        rejected: Place in the block and reason of those that were not.
        warnings: Code → how many accepted rows it is about.
    """

    rows: list[Rows]
    accepted: int
    rejected: list[tuple[int, Rejection]]
    warnings: dict[str, int]


def validate_block(
    table: pa.Table,
    account_id: str,
    identifiers: IdentifierHasher,
    now: datetime,
    *,
    sandbox: bool,
) -> ValidatedBlock:
    """Validate a block of rows. The store receives them in their order."""
    plain = _plain(table, now, sandbox=sandbox)
    places, rest = _places(plain), pc.invert(plain)
    block = _by_row(
        validate_each(_as_json(table.filter(rest)), identifiers, now, sandbox=sandbox),
        _places(rest),
        account_id,
    )
    block = replace(block, rejected=[(place, _of_a_table(rejection)) for place, rejection in block.rejected])
    if len(places):
        columns, unmatched = _columns(table.filter(plain), identifiers)
        block.rows.insert(0, Rows("exposure", columns | _common(account_id, places)))
        if unmatched:
            block.warnings["MISSING_USER_MATCH"] = block.warnings.get("MISSING_USER_MATCH", 0) + unmatched
    return replace(block, accepted=block.accepted + len(places))


def validate_lines(
    lines: Sequence[bytes],
    columns: LineColumns,
    account_id: str,
    identifiers: IdentifierHasher,
    now: datetime,
    *,
    sandbox: bool,
) -> ValidatedBlock:
    """Validate a block of NDJSON. The store receives the lines in their order.

    Raises:
        StartupError: A column that was named is in none of the lines.
    """
    result = validate_each(lines, identifiers, now, sandbox=sandbox, columns=columns)
    columns.require_found()
    return _by_row(result, pa.array(range(len(lines)), pa.int64()), account_id)


def _of_a_table(rejection: Rejection) -> Rejection:
    """The same for someone who has a table, not JSON: the sign of its amounts is an option."""
    if rejection.field != "cost" or "JSON number" not in rejection.message:
        return rejection
    return Rejection(
        rejection.reason,
        "cost must be a number with a point before the decimals, for example 12.50. If the file has a comma there, "
        "add --decimal ,.",
        "cost",
    )


def _by_row(result: ExposureValidationResult, places: pa.Array, account_id: str) -> ValidatedBlock:
    """What became of rows that were validated one by one, and stand at these places."""
    rows: list[Rows] = []
    if result.accepted:
        stored = places.take(pa.array(result.indexes))
        rows.append(Rows("exposure", _listed(result.accepted) | _common(account_id, stored)))
    warnings = {code: len(indexes) for code, indexes in result.warnings.items()}
    rejected = [(places[failed.index].as_py(), failed.rejection) for failed in result.failed]
    return ValidatedBlock(rows, len(result.accepted), rejected, warnings)


def _plain(table: pa.Table, now: datetime, *, sandbox: bool) -> Any:
    """Which rows are plainly right, as booleans without a null."""
    fits = [_matches(table, name, _PLAIN_NAME, needed=name != "creative_id") for name in _NAMES]
    fits += [_matches_not(table, name, _HAS_DIGEST) for name in _NAMES]
    fits.append(_plain_exposure_id(table["exposure_id"]))
    fits.append(pc.fill_null(pc.is_in(table["kind"], pa.array(["impression", "click"])), False))
    fits.append(_matches(table, "occurred_at", _PLAIN_TIME, needed=True))
    newest = pa.scalar((now + FUTURE_TOLERANCE).strftime("%Y-%m-%dT%H:%M:%SZ"))
    if not sandbox:
        fits.append(pc.fill_null(pc.less(table["occurred_at"], newest), False))
    fits += [_matches(table, name, _PLAIN_DIGEST) for name in _DIGESTS]
    opaque = [name for name in table.column_names if name in _opaque()]
    fits += [_matches(table, name, _PLAIN_OPAQUE) for name in opaque]
    fits += [_matches_not(table, name, _SUSPECT) for name in opaque]
    fits += [pc.is_null(table[name]) for name in _NEVER_PLAIN if name in table.column_names]
    fits += [
        pc.fill_null(pc.not_equal(pc.ascii_lower(table[identifier]), pc.ascii_lower(table[name])), True)
        for identifier in opaque
        for name in _NAMES
        if name in table.column_names
    ]
    fits.append(_matches(table, "cost", _PLAIN_COST))
    if "currency" in table.column_names:
        fits.append(pc.or_(pc.is_null(table["currency"]), pc.is_in(table["currency"], _CURRENCIES)))
    if "cost" in table.column_names:
        currency = table["currency"] if "currency" in table.column_names else pa.nulls(len(table), pa.string())
        fits.append(pc.or_(pc.is_null(table["cost"]), pc.is_valid(currency)))
    for name in _DIGESTS:
        if name in table.column_names:
            fits.append(pc.invert(pc.is_in(table[name], _JUNK)))
            fits.append(pc.invert(_typed(table[name])))
    return _whole(reduce(pc.and_, fits))


def _places(rows: Any) -> Any:
    """The places of the rows that are true."""
    return pc.indices_nonzero(rows).cast(pa.int64())


def _typed(column: Any) -> Any:
    """Where a digest looks typed: none, almost always, and then none is looked at again."""
    digests = [digest if digest and len(digest) == 64 else None for digest in column.to_pylist()]
    if not any_looks_typed(digest for digest in digests if digest):
        return pa.repeat(pa.scalar(False), len(digests))
    return pa.array([digest is not None and looks_typed(digest) for digest in digests], pa.bool_())


def _opaque() -> list[str]:
    return [name for name in _PLAIN_KINDS if name not in (*_DIGESTS, *_NEVER_PLAIN)]


def _matches(table: pa.Table, name: str, pattern: str, *, needed: bool = False) -> Any:
    """Where a column fits a pattern; without a value it does unless one is needed."""
    if name not in table.column_names:
        return pa.repeat(pa.scalar(not needed), len(table))
    return pc.fill_null(pc.match_substring_regex(table[name], pattern), not needed)


def _matches_not(table: pa.Table, name: str, pattern: str) -> Any:
    """Where a column doesn't fit a pattern, or has no value."""
    if name not in table.column_names:
        return pa.repeat(pa.scalar(True), len(table))
    return pc.fill_null(pc.invert(pc.match_substring_regex(table[name], pattern)), True)


def _plain_exposure_id(column: Any) -> Any:
    """Where an exposure_id ends with a digit, or is a UUID or another number in hex: not a word, not a macro."""
    return pc.fill_null(pc.match_substring_regex(column, r"[0-9]$|^[0-9A-Fa-f][0-9A-Fa-f-]{15,}$"), False)


def _columns(table: pa.Table, identifiers: IdentifierHasher) -> tuple[dict[str, Any], int]:
    """The columns to store of plain rows, and how many have no identifier."""
    keys = [b""] * len(table)
    for name in sorted(set(table.column_names) & _PLAIN_KINDS.keys(), key=lambda name: _PLAIN_KINDS[name]):
        hashed = identifiers.keys_of(_PLAIN_KINDS[name], table[name].to_pylist())
        keys = [key + more for key, more in zip(keys, hashed, strict=True)]
    empty = pa.repeat(pa.scalar(""), len(table))
    has_cost = "cost" in table.column_names
    columns: dict[str, Any] = {
        **{name: _whole(table[name]) for name in ("exposure_id", "kind", "media_buy_id", "package_id")},
        **{
            name: _whole(pc.fill_null(table[name], "")) if name in table.column_names else empty
            for name in ("creative_id", "currency")
        },
        "occurred_at": _whole(table["occurred_at"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())),
        "match_keys": pa.array(keys, pa.binary()),
        "cost": _whole(table["cost"].cast(_MONEY)) if has_cost else pa.nulls(len(table), _MONEY),
    }
    return columns, keys.count(b"")


def _listed(accepted: Sequence[Exposure]) -> dict[str, Any]:
    return {name: [getattr(exposure, name) for exposure in accepted] for name in Exposure.__struct_fields__}


def _common(account_id: str, places: Any) -> dict[str, Any]:
    return {"account_id": pa.repeat(pa.scalar(account_id), len(places)), "place": places}


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _as_json(table: pa.Table) -> list[bytes]:
    return [_object(row) for row in table.to_pylist()]


def _object(row: dict[str, str | None]) -> bytes:
    """A row as the JSON object that POST /v1/exposures would take for it."""
    plain: dict[str, Any] = {}
    user_match: dict[str, Any] = {}
    uids: list[dict[str, str]] = []
    for name, value in row.items():
        if value is None:
            continue
        if name.startswith("user_match.uid."):
            uids.append({"type": name.removeprefix("user_match.uid."), "value": value})
        elif name.startswith("user_match."):
            user_match[name.removeprefix("user_match.")] = value
        else:  # an amount, too, which is read from text as exactly as from a number
            plain[name] = value
    if uids:
        user_match["uids"] = uids
    if user_match:
        plain["user_match"] = user_match
    return msgspec.json.encode(plain)
