"""A file's rows get the verdicts that POST /v1/exposures gives, whichever way they are judged."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from postback.events.identifiers import IdentifierHasher
from postback.exposures.exposure import Exposure
from postback.exposures.file_reader import FIELDS
from postback.exposures.validate import validate_exposures
from postback.exposures.validate_columns import _of_a_table, validate_block
from postback.store.rows import Rows, arrow_stream

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
HASHER = IdentifierHasher(bytes(32))
_RECEIVED_AT = 1_000
DIGESTS = [sha256(text.encode()).hexdigest() for text in ("ada", "grace", "null", "")]

JUNK = [sha256(text.encode()).hexdigest() for text in ("+49", "\\N", "{{email}}", sha256(b"").hexdigest())]
UNFILLED = [
    *("null", "{{gclid}}", "$CLICK_ID", "fb.1.1554763741205.undefined", "fb.1.1554763741205.", "GCL.1736935800.null"),
    *("fb.1.1554763741205.IwAR0123456789", "msclickid_clid=null", "some_click_id=====", "GCL.1736935800.Cj0KCQ"),
    *("00000000-0000-0000-0000-000000000000", "undefined-undefined", "NullNullNullNullNull", "0000-0123456789abc"),
]
_IDS = st.sampled_from(
    [
        *("i1", "i2", "x" * 256, "x" * 257, "a@b.example", "", "a b", "é", DIGESTS[0], DIGESTS[0].upper()),
        *("gclid-0123456789abc", "GCLID-0123456789ABC", "A4AAAA0123456789", "a4aaaa0123456789"),
        *("undefined", "imp_null", "imp.NaN", "__IMP_ID__", "imp-__ID__", "---", "NULL", "deadbeefdeadbeef-7", "0"),
        *("550e8400-e29b-41d4-a716-44665544000a", "imp_none", f"imp_{DIGESTS[0]}", "order_id", "-" * 20, "x-7"),
        *("NULL-NULL", "undefinedundefined", "transaction-id", "nonenone", "NULL7"),
    ]
)
_VALUES: dict[str, st.SearchStrategy[str | None]] = {
    "exposure_id": _IDS,
    "kind": st.sampled_from(["click", "impression", "impression", "view", ""]),
    "occurred_at": st.sampled_from(
        [
            "2026-10-31T23:59:59Z",
            "2026-02-29T00:00:00Z",
            "2026-02-28T00:00:00.5Z",
            "2026-10-30T01:02:03.123456+02:00",
            "2026-11-01T12:09:59Z",
            "2026-11-01T12:10:01Z",
            "2026-10-01",
            "1768483800",
        ]
    ),
    "media_buy_id": st.sampled_from(["m", "m" * 300, "a@b.example"]),
    "package_id": st.sampled_from(["p", "p q"]),
    "creative_id": st.sampled_from([None, "c", "c\u0007"]),
    "cost": st.sampled_from(
        [None, "0", "0.0035", "1e3", "01", "-1", "1.0000000001", "999999999999999.999999999", "x", "NaN"]
    ),
    "currency": st.sampled_from([None, "USD", "EUR", "usd", "USD "]),
    "user_match.hashed_email": st.sampled_from(
        [None, *DIGESTS, DIGESTS[0].upper(), "a" * 64, "ada@b.example", "0" * 32, "NULL", "{{email}}", *JUNK]
    ),
    "user_match.hashed_phone": st.sampled_from([None, DIGESTS[1], *JUNK]),
    "user_match.click_id": st.sampled_from([None, "gclid-0123456789abc", "short", *UNFILLED]),
    "user_match.client_ip": st.sampled_from([None, "8.8.4.4", "10.0.0.1", "8.8.4.4:443", "10.0.0.1, 8.8.4.4", "null"]),
    "user_match.client_user_agent": st.sampled_from([None, "Mozilla/5.0", "undefined"]),
    "user_match.uid.uid2": st.sampled_from([None, "A4AAAA0123456789", "A4AAAA0123456789==", *UNFILLED]),
    "user_match.uid.maid": st.sampled_from([None, "AAAAAAAA-0123-4567-89AB-CDEF01234567", "1" * 32]),
}
_ROWS = st.lists(st.fixed_dictionaries(_VALUES), min_size=1, max_size=8)


Outcome = tuple[list[Any], int, list[tuple[int, str, str, str]], dict[str, int]]
"""The rows to store, how many were accepted, place and reason of those that were not, and the warnings by code."""


def in_a_block(rows: list[dict[str, str | None]]) -> Outcome:
    table = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in _VALUES})
    found = validate_block(table, "default", HASHER, NOW, sandbox=False)
    rejected = sorted((place, r.reason, r.field, r.message) for place, r in found.rejected)
    return stored(found.rows), found.accepted, rejected, found.warnings


def one_by_one(rows: list[dict[str, str | None]]) -> Outcome:
    found = validate_exposures(list(map(as_sent, rows)), HASHER, NOW, sandbox=False)
    columns: dict[str, Any] = {
        name: [getattr(exposure, name) for exposure in found.accepted] for name in Exposure.__struct_fields__
    }
    columns |= {"account_id": ["default"] * len(found.indexes), "place": found.indexes}
    told = [(f.index, _of_a_table(f.rejection)) for f in found.failed]  # of an amount that is text
    rejected = [(index, r.reason, r.field, r.message) for index, r in told]
    warnings = {code: len(places) for code, places in found.warnings.items()}
    return stored([Rows("exposure", columns)] if found.accepted else []), len(found.accepted), rejected, warnings


def stored(rows: list[Rows]) -> list[Any]:
    if not rows:
        return []
    stream = pa.ipc.open_stream(arrow_stream("exposure", [part.received(_RECEIVED_AT) for part in rows])[1]).read_all()
    return sorted(stream.to_pylist(), key=lambda row: row["received_at"])


def as_sent(row: dict[str, str | None]) -> msgspec.Raw:
    """A row as the exposure that an ad server posts for it."""
    exposure: dict[str, Any] = {}
    user_match: dict[str, Any] = {}
    for name in _VALUES:  # of several mistakes the first is reported
        *above, field = name.split(".")
        if (value := row[name]) is None:
            continue
        if above == ["user_match", "uid"]:
            user_match.setdefault("uids", []).append({"type": field, "value": value})
        elif above:
            user_match[field] = value
        else:
            exposure[field] = as_number(value) if field == "cost" else value
    return msgspec.Raw(msgspec.json.encode(exposure | ({"user_match": user_match} if user_match else {})))


def as_number(text: str) -> msgspec.Raw:
    """A JSON number with all its digits, or else the text."""
    try:
        number = isinstance(json.loads(text, parse_constant=str), int | float)
    except ValueError:
        number = False
    return msgspec.Raw(text.encode() if number else msgspec.json.encode(text))


@settings(max_examples=200)
@given(rows=_ROWS)
def test_rows_that_are_plainly_right_are_judged_as_all_others_are(rows: list[dict[str, str | None]]) -> None:
    assert rows[0].keys() <= set(FIELDS)
    assert in_a_block(rows) == one_by_one(rows)
