"""Judging exposures by the block: rows that are plainly right as whole columns, the others one by one.

Both ways come to the same verdicts. A row is plain when nothing about it could be repaired, warned about or refused;
any other goes through the judge of POST /v1/exposures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postback.exposures.exposure import Exposure
from postback.exposures.judge import FUTURE_TOLERANCE, judge_exposures
from postback.ingest.identifiers import JUNK_DIGESTS, KINDS, IdentifierHasher, looks_typed
from postback.ingest.rejection import Rejection
from postback.protocol.currencies import CURRENCIES
from postback.store.rows import Rows

__all__ = ["JudgedBlock", "judge_block"]

_NAMES = ("exposure_id", "media_buy_id", "package_id", "creative_id")
_PLAIN_NAME = r"^[A-Za-z0-9_.:~-]{1,256}$"
_PLAIN_TIME = (
    r"^20\d\d-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?Z$"
)
_PLAIN_COST = r"^(0|[1-9]\d{0,13})(\.\d{1,9})?$"
_PLAIN_DIGEST = r"^[0-9a-f]{64}$"
_PLAIN_OPAQUE = r"^[A-Za-z0-9][A-Za-z0-9._~=/*-]{15,255}$"
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
class JudgedBlock:
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


def judge_block(
    table: pa.Table, account_id: str, identifiers: IdentifierHasher, now: datetime, first_stamp: int, *, sandbox: bool
) -> JudgedBlock:
    """Judge a block of ``ExposureFile.blocks``. The row at place n gets the received_at ``first_stamp`` + n."""
    plain = _plain(table, now, sandbox=sandbox)
    places = np.flatnonzero(plain)
    rows: list[Rows] = []
    warnings: dict[str, int] = {}
    if len(places):
        columns, unmatched = _columns(table.take(pa.array(places)), identifiers)
        rows.append(Rows("exposure", columns | _common(account_id, places, first_stamp)))
        if unmatched:
            warnings["MISSING_USER_MATCH"] = unmatched
    others = np.flatnonzero(~plain)
    verdicts = judge_exposures(_as_json(table.take(pa.array(others))), identifiers, now, sandbox=sandbox)
    if verdicts.accepted:
        taken = others[verdicts.indexes]
        rows.append(Rows("exposure", _listed(verdicts.accepted) | _common(account_id, taken, first_stamp)))
    for code, at in verdicts.warnings.items():
        warnings[code] = warnings.get(code, 0) + len(at)
    rejected = [(int(others[failed.index]), failed.rejection) for failed in verdicts.failed]
    return JudgedBlock(rows, len(places) + len(verdicts.accepted), rejected, warnings)


def _plain(table: pa.Table, now: datetime, *, sandbox: bool) -> Any:
    """Which rows are plainly right, as an array of truth values."""
    fits = [_matches(table, name, _PLAIN_NAME, needed=name != "creative_id") for name in _NAMES]
    fits.append(pc.fill_null(pc.is_in(table["kind"], pa.array(["impression", "click"])), False))
    fits.append(_matches(table, "occurred_at", _PLAIN_TIME, needed=True))
    newest = pa.scalar((now + FUTURE_TOLERANCE).strftime("%Y-%m-%dT%H:%M:%SZ"))
    if not sandbox:
        fits.append(pc.fill_null(pc.less(table["occurred_at"], newest), False))
    fits += [_matches(table, name, _PLAIN_DIGEST) for name in _DIGESTS]
    fits += [_matches(table, name, _PLAIN_OPAQUE) for name in table.column_names if name in _opaque()]
    fits += [pc.is_null(table[name]) for name in _NEVER_PLAIN if name in table.column_names]
    fits += [
        pc.fill_null(pc.not_equal(table[identifier], table[name]), True)
        for identifier in (*_DIGESTS, "user_match.click_id")
        for name in _NAMES
        if {identifier, name} <= set(table.column_names)
    ]
    fits.append(_matches(table, "cost", _PLAIN_COST))
    if "currency" in table.column_names:
        fits.append(pc.or_(pc.is_null(table["currency"]), pc.is_in(table["currency"], _CURRENCIES)))
    if "cost" in table.column_names:
        currency = table["currency"] if "currency" in table.column_names else pa.nulls(len(table), pa.string())
        fits.append(pc.or_(pc.is_null(table["cost"]), pc.is_valid(currency)))
    plain = np.ones(len(table), bool)
    for fit in fits:
        plain &= np.asarray(fit)
    for name in _DIGESTS:
        if name in table.column_names:
            plain &= ~np.asarray(pc.is_in(table[name], _JUNK))
            plain &= ~np.fromiter(map(_typed, table[name].to_pylist()), bool, len(table))
    return plain


def _typed(digest: str | None) -> bool:
    return digest is not None and len(digest) == 64 and looks_typed(digest)


def _opaque() -> list[str]:
    return [name for name in _PLAIN_KINDS if name not in (*_DIGESTS, *_NEVER_PLAIN)]


def _matches(table: pa.Table, name: str, pattern: str, *, needed: bool = False) -> Any:
    """Where a column fits a pattern; without a value it does unless one is needed."""
    if name not in table.column_names:
        return np.full(len(table), not needed)
    return pc.fill_null(pc.match_substring_regex(table[name], pattern), not needed)


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


def _common(account_id: str, places: Any, first_stamp: int) -> dict[str, Any]:
    return {
        "account_id": pa.repeat(pa.scalar(account_id), len(places)),
        "received_at": pa.array(places + first_stamp, pa.int64()),
    }


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


def _as_json(table: pa.Table) -> list[msgspec.Raw]:
    return [msgspec.Raw(_object(row)) for row in table.to_pylist()]


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
        elif name != "cost":
            plain[name] = value
    if uids:
        user_match["uids"] = uids
    if user_match:
        plain["user_match"] = user_match
    encoded = msgspec.json.encode(plain)
    if (cost := row.get("cost")) is None:
        return encoded
    # A number as it stands, so that no digit is lost; anything else as text, which the judge refuses by name.
    number = cost if _is_number(cost) else msgspec.json.encode(cost).decode()
    return encoded[:-1] + b"," * (len(encoded) > 2) + b'"cost":' + number.encode() + b"}"


def _is_number(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text.encode()), int | float)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return False
