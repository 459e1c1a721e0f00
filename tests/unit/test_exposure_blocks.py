"""A file's rows get the verdicts that POST /v1/exposures gives, whichever way they are judged."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postback.exposures import blocks
from postback.exposures.files import FIELDS
from postback.ingest.identifiers import IdentifierHasher
from postback.store.rows import arrow_stream

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
HASHER = IdentifierHasher(bytes(32))
DIGESTS = [sha256(text.encode()).hexdigest() for text in ("ada", "grace", "null", "")]

_IDS = st.sampled_from(
    ["i1", "i2", "x" * 256, "x" * 257, "a@b.example", "", "a b", "é", DIGESTS[0], "gclid-0123456789abc"]
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
    "currency": st.sampled_from([None, "USD", "EUR", "usd"]),
    "user_match.hashed_email": st.sampled_from(
        [None, *DIGESTS, DIGESTS[0].upper(), "a" * 64, "ada@b.example", "0" * 32]
    ),
    "user_match.hashed_phone": st.sampled_from([None, DIGESTS[1]]),
    "user_match.click_id": st.sampled_from([None, "gclid-0123456789abc", "{{gclid}}", "short"]),
    "user_match.client_ip": st.sampled_from([None, "8.8.4.4", "10.0.0.1"]),
    "user_match.client_user_agent": st.sampled_from([None, "Mozilla/5.0"]),
    "user_match.uid.uid2": st.sampled_from([None, "A4AAAA0123456789", "null"]),
    "user_match.uid.maid": st.sampled_from([None, "AAAAAAAA-0123-4567-89AB-CDEF01234567"]),
}
_ROWS = st.lists(st.fixed_dictionaries(_VALUES), min_size=1, max_size=8)


def judged(table: pa.Table) -> tuple[Any, ...]:
    found = blocks.judge_block(table, "default", HASHER, NOW, 1000, sandbox=False)
    stored: list[Any] = []
    if found.rows:
        stream = pa.ipc.open_stream(arrow_stream("exposure", found.rows)[1]).read_all()
        stored = sorted(stream.to_pylist(), key=lambda row: row["received_at"])
    rejected = sorted((place, r.reason, r.field, r.message) for place, r in found.rejected)
    return stored, found.accepted, rejected, Counter(found.warnings)


@settings(max_examples=200, deadline=None)
@given(rows=_ROWS)
def test_rows_that_are_plainly_right_are_judged_as_all_others_are(rows: list[dict[str, str | None]]) -> None:
    assert rows[0].keys() <= set(FIELDS)
    table = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in _VALUES})
    fast = judged(table)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_plain", lambda table, now, sandbox: np.zeros(len(table), bool))
        slow = judged(table)
    assert fast == slow
