"""A line of an NDJSON file gets what POST /v1/exposures would answer for the same exposure."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from postback.errors import StartupError
from postback.events.identifiers import IdentifierHasher
from postback.exposures.file_reader import ExposureFile
from postback.exposures.line_columns import LineColumns
from postback.exposures.validate import validate_exposures
from postback.exposures.validate_columns import ValidatedBlock, validate_lines

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
HASHER = IdentifierHasher(bytes(32))
DIGEST = sha256(b"ada").hexdigest()
GOOD = {
    "exposure_id": "i1",
    "kind": "click",
    "occurred_at": "2026-10-31T10:00:00Z",
    "media_buy_id": "mb",
    "package_id": "p",
}
_OPEN = json.dumps(GOOD)[:-1]


def read(
    *lines: str | bytes, columns: Mapping[str, str] | None = None, constants: Mapping[str, str] | None = None
) -> ValidatedBlock:
    raws = [line.encode() if isinstance(line, str) else line for line in lines]
    arranged = LineColumns(columns or {}, constants or {})
    return validate_lines(raws, arranged, "default", HASHER, NOW, sandbox=False)


def stored(block: ValidatedBlock) -> dict[str, list[Any]]:
    (rows,) = block.rows
    return {
        name: values.to_pylist() if hasattr(values, "to_pylist") else list(values)
        for name, values in rows.columns.items()
    }


@pytest.mark.parametrize(
    "line",
    [
        f'{_OPEN},"cost":0.0035,"currency":"USD","user_match":{{"hashed_email":"{DIGEST}"}}}}',
        f'{_OPEN},"cost":0.1000000001,"currency":"USD"}}',
        f'{_OPEN},"cost":5.0,"currency":"USD"}}',
        f'{_OPEN},"cost":1e-400,"currency":"USD"}}',
        f'{_OPEN},"cost":1e-9999999999999999999,"currency":"USD"}}',
        f'{_OPEN},"cost":5,"cost" :6,"currency":"USD"}}',
        f'{_OPEN},"user_match":{{"hashed_email":"{DIGEST}","hashed_email":null}}}}',
        f'{_OPEN},"creative_id":5}}',
        f'{_OPEN},"creative_id":null,"zone":"north"}}',
        f'{_OPEN},"cost":1e400,"currency":"USD"}}',
        f'{_OPEN},"user_match":{{"email":"ada@buyer.example"}}}}',
        f'{_OPEN},"x":{"[" * 40}{"]" * 40}}}',
        f'{_OPEN},"creative_id":"\\ud800"}}',
        "{}",
        "[]",
        '"exposure"',
    ],
)
def test_a_line_is_accepted_rejected_and_warned_of_as_in_a_call(line: str) -> None:
    block = read(line)
    called = validate_exposures([msgspec.Raw(line.encode())], HASHER, NOW, sandbox=False)

    rejected = [(place, r.reason, r.field, r.message) for place, r in block.rejected]
    assert rejected == [(f.index, f.rejection.reason, f.rejection.field, f.rejection.message) for f in called.failed]
    assert block.warnings == {code: len(at) for code, at in called.warnings.items()}
    if called.accepted:
        found = stored(block)
        assert {name: found[name][0] for name in msgspec.structs.asdict(called.accepted[0])} == msgspec.structs.asdict(
            called.accepted[0]
        )


@pytest.mark.parametrize("line", ["{", '{"exposure_id": NaN}', b'{"exposure_id": "\xff"}', "not JSON"])
def test_a_line_that_is_not_json_is_rejected_alone(line: str | bytes) -> None:
    block = read(json.dumps(GOOD), line, json.dumps({**GOOD, "exposure_id": "i3"}))

    assert [(place, rejection.field) for place, rejection in block.rejected] == [(1, "")]
    assert "JSON" in block.rejected[0][1].message
    assert stored(block)["exposure_id"] == ["i1", "i3"]
    assert stored(block)["place"] == [0, 2]


def test_columns_and_constants_say_what_the_fields_of_a_line_are() -> None:
    line = (
        '{"imp":"i7","when":"2026-10-31T10:00:00Z","media_buy_id":"mb","package_id":"p","price":123456789012.123456789,'
        f'"email":"{DIGEST}","user_match":{{"uids":[{{"type":"uid2","value":"A4AAAA0123456789"}}]}}}}'
    )
    columns = {
        "exposure_id": "imp",
        "occurred_at": "when",
        "cost": "price",
        "user_match.hashed_email": "email",
        "user_match.uid.rampid": "user_match.uid.uid2",
    }

    block = read(line, columns=columns, constants={"kind": "click", "currency": "USD"})

    found = stored(block)
    assert (found["exposure_id"], found["kind"]) == (["i7"], ["click"])
    assert found["cost"] == [Decimal("123456789012.123456789")]
    assert block.warnings == {}
    (same,) = validate_exposures(
        [
            msgspec.Raw(
                msgspec.json.encode(
                    {
                        **GOOD,
                        "user_match": {
                            "hashed_email": DIGEST,
                            "uids": [{"type": "rampid", "value": "A4AAAA0123456789"}],
                        },
                    }
                )
            )
        ],
        HASHER,
        NOW,
        sandbox=False,
    ).accepted
    assert found["match_keys"] == [same.match_keys]


@pytest.mark.parametrize("spelled", ["999999999999999.0000001", "100000000000000.000000001", "5.0", "0.0", "1e3"])
@pytest.mark.parametrize("more", ["", ',"zone":null'])
def test_an_amount_is_stored_as_exactly_as_it_was_sent(spelled: str, more: str) -> None:
    block = read(f'{_OPEN},"cost":{spelled},"currency":"USD"{more}}}')

    assert stored(block)["cost"] == [Decimal(spelled)]


@pytest.mark.parametrize("spelled", ["1e-400", "0.0000000001", "1e-9999999999999999999"])
def test_an_amount_that_cannot_be_stored_exactly_is_rejected(spelled: str) -> None:
    ((_, rejection),) = read(f'{_OPEN},"cost":{spelled},"currency":"USD","zone":null}}').rejected

    assert "9 decimal places" in rejection.message


def test_dotted_names_are_fields_of_user_match() -> None:
    line = {**GOOD, "user_match.hashed_email": DIGEST, "user_match.uid.uid2": "A4AAAA0123456789"}
    call = {
        **GOOD,
        "user_match": {"hashed_email": DIGEST, "uids": [{"type": "uid2", "value": "A4AAAA0123456789"}]},
    }

    assert stored(read(json.dumps(line))) == stored(read(json.dumps(call)))


def test_a_column_that_no_line_has_is_named() -> None:
    with pytest.raises(StartupError, match="No line has a field 'nope'"):
        read(json.dumps(GOOD), columns={"creative_id": "nope"})

    assert read(json.dumps({**GOOD, "nope": None}), columns={"creative_id": "nope"}).accepted == 1
    assert len(read("{", columns={"creative_id": "nope"}).rejected) == 1, "a line that can't be read has no fields"


def test_a_person_may_have_two_universal_ids_of_a_type() -> None:
    uids = [{"type": "rampid", "value": f"XY1000bbtZ{n}ABCDEF012345"} for n in "AB"]
    line = json.dumps({**GOOD, "user_match": {"uids": uids}})
    other_type = json.dumps({**GOOD, "user_match": {"uids": [{**uid, "type": "uid2"} for uid in uids]}})
    one_beside = json.dumps({**GOOD, "user_match": {"uids": uids[1:]}, "ramp": uids[0]["value"]})

    expected = set(_keys(read(line)))
    assert len(expected) == 2
    assert set(_keys(read(line, columns={"user_match.uid.rampid": "user_match.uid.rampid"}))) == expected
    assert set(_keys(read(line, constants={"currency": "USD"}))) == expected
    assert set(_keys(read(other_type, columns={"user_match.uid.rampid": "user_match.uid.uid2"}))) == expected
    assert set(_keys(read(one_beside, columns={"user_match.uid.rampid": "ramp"}))) == expected


def _keys(block: ValidatedBlock) -> list[bytes]:
    (keys,) = stored(block)["match_keys"]
    return [keys[at : at + 16] for at in range(0, len(keys), 16)]


def test_a_file_is_read_line_by_line(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n  \n" + json.dumps(GOOD).encode()
    (tmp_path / "log.ndjson").write_bytes(text)
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress(text))

    for name in ("log.ndjson", "log.jsonl.gz"):
        (block,) = ExposureFile(tmp_path / name, None, {}, {}).blocks()
        assert [json.loads(line) for line in block.records] == [GOOD, GOOD]
        assert list(block.lines) == [1, 4]
