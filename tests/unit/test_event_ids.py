"""One order has one event_id, however it was typed; and no event_id tells of a person."""

from __future__ import annotations

import json
import unicodedata
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.test_value_corpus import logged

from postback.events.event_ids import is_ordinary_id
from postback.events.personal_data import looks_personal
from postback.protocol.characters import describe_unprintable
from postback.protocol.placeholders import ends_unfilled, is_unfilled

DIGEST = sha256(b"jane@shop.example").hexdigest()
CLICK_ID = "EAIaIQobChMI0123456789ab"


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("1001 ", "1001"),
        (" 1001", "1001"),
        ("\t1001\r\n", "1001"),
        ("cafe\u0301-1", "caf\u00e9-1"),
        ("1001" + " " * 300, "1001"),
        ("e\u0301" * 200, "\u00e9" * 200),
    ],
)
def test_an_id_is_the_same_however_it_was_typed(sent: str, stored: str) -> None:
    result = logged({"event_id": sent, "user_match": {"hashed_email": DIGEST}})

    assert result.accepted.columns["event_id"] == [stored]
    assert result.warnings == {"REPAIRED_EVENT_ID": [0]}


@pytest.mark.parametrize(
    ("sent", "described"),
    [
        ("1234\u200b", "U+200B (zero width space) at character 5"),
        ("1234\u00a0", "U+00A0 (no-break space) at character 5"),
        ("\ufeff1234", "U+FEFF (zero width no-break space) at character 1"),
        (" 12\u00ad34", "U+00AD (soft hyphen) at character 4"),
        ("12\n34", "U+000A (control character) at character 3"),
        ("1\u31642", "U+3164 (hangul filler) at character 2"),
        ("1\u28002", "U+2800 (braille pattern blank) at character 2"),
        ("\t\u2003x", "U+2003 (em space) at character 2"),
        ("x\ue000", "U+E000 (private-use character) at character 2"),
    ],
)
def test_what_cannot_be_seen_is_named_with_its_place(sent: str, described: str) -> None:
    [failed] = logged({"event_id": sent}).failed

    assert failed.rejection.message == f"event_id contains {described}. Use printable characters only."
    assert failed.event_id is None


@pytest.mark.parametrize("sent", ["5.72613E+12", "5,72613E+12", "1E+05", "order-5.72613E+12", "4.1e+15", " 5.7E+9"])
def test_an_id_that_a_spreadsheet_rounded_is_warned_of(sent: str) -> None:
    result = logged({"event_id": sent, "user_match": {"hashed_email": DIGEST}})

    assert result.failed == []
    assert "ROUNDED_EVENT_ID" in result.warnings


@pytest.mark.parametrize(
    ("event_id", "user_match"),
    [
        (DIGEST, {"hashed_email": DIGEST}),
        (DIGEST.upper(), {"hashed_email": DIGEST}),
        (DIGEST, {"hashed_email": f" {DIGEST.upper()}"}),
        (f"0x{DIGEST}", {"hashed_phone": DIGEST}),
        (f"purchase_{DIGEST.upper()}_1", {"hashed_email": DIGEST}),
        (CLICK_ID, {"click_id": CLICK_ID}),
        (f" {CLICK_ID}", {"click_id": CLICK_ID}),
        (CLICK_ID.lower(), {"click_id": f"{CLICK_ID}\n"}),
        (quote("Cj0/KQ+x=="), {"click_id": "Cj0/KQ+x=="}),
        ("203.0.113.7", {"client_ip": " 203.0.113.7", "client_user_agent": "x7"}),
        ("A4AAADt7C3aa5zHhsXY", {"uids": [{"type": "uid2", "value": "A4AAADt7C3aa5zHhsXY"}]}),
    ],
)
@pytest.mark.parametrize("more", [{}, {"event_time": "yesterday"}, {"custom_data": {"value": "12"}}])
def test_an_id_that_is_an_identifier_of_the_event_is_refused_and_not_repeated(
    event_id: str, user_match: dict[str, Any], more: dict[str, Any]
) -> None:
    [failed] = logged({"event_id": event_id, "user_match": user_match, **more}).failed

    assert failed.event_id is None
    assert more or failed.rejection.field == "event_id"
    assert event_id.strip() not in failed.rejection.message


@pytest.mark.parametrize(
    "event_id",
    [
        *("jane@shop.example", "order-jane@shop.example", "jane%40shop.example", "jane%2540shop.example"),
        *("jane&#64;shop.example", "jane\uff20shop.example", "jane@b\u00fccher.example", "jane@shop.xn--p1ai"),
        *("+12065551234", "%2B12065551234", "%252B12065551234", "order_+12065551234", "tel:+1-206-555-1234"),
        *("+12065551234-20260115", "+12065551234_7", "+49 30 901000123", "\uff0b12065551234"),
    ],
)
def test_an_id_that_tells_of_a_person_is_refused_whatever_its_encoding(event_id: str) -> None:
    [failed] = logged({"event_id": event_id}).failed

    assert (failed.event_id, failed.rejection.field) == (None, "event_id")
    assert "e-mail address or phone number" in failed.rejection.message


def test_an_event_that_fails_is_told_by_its_trimmed_id() -> None:
    [failed] = logged({"event_id": "1001\n", "event_type": "buy"}).failed

    assert failed.event_id == "1001"


@given(st.text(st.sampled_from("aNulndefioe0159_-.:/=~@+%${}<>[] \u00e9\u0301"), min_size=1, max_size=14))
def test_no_id_is_taken_for_plain_that_would_not_pass_the_other_checks(event_id: str) -> None:
    if is_ordinary_id(event_id):
        assert describe_unprintable(event_id) is None
        assert not looks_personal(event_id)
        assert not is_unfilled(event_id)
        assert not ends_unfilled(event_id)
        assert event_id == unicodedata.normalize("NFC", event_id).strip()


def order(event_id: str, order_id: str | None, event_type: str = "purchase") -> dict[str, Any]:
    data = {"value": 5, "currency": "USD"} | ({"order_id": order_id} if order_id else {})
    return {
        "event_id": event_id,
        "event_type": event_type,
        "user_match": {"hashed_email": DIGEST},
        "custom_data": data,
    }


@pytest.mark.parametrize(
    ("events", "same"),
    [
        ([order("px-77", "77"), order("srv-77", "77"), order("1", "78")], [0, 1]),
        ([order("a", "77"), order("b", "77"), order("c", "77")], [0, 1, 2]),
        ([order("a", "77"), order("a", "77")], []),
        ([order("a", "77"), order("b", "77", "add_to_cart")], []),
        ([order("a", "77", "refund"), order("b", "77", "refund")], []),
        ([order("a", None), order("b", None)], []),
        ([order("a", "undefined"), order("b", "undefined")], []),
        ([order("a", "0"), order("b", "0")], []),
        ([order("a", "jane@shop.example"), order("b", "jane@shop.example")], []),
        ([order("a", "77"), {**order("b", "77"), "event_time": "yesterday"}], []),
        ([*(order(str(n), f"o{n}") for n in range(300)), order("b", "o7")], [7, 300]),
    ],
)
def test_an_order_under_several_event_ids_is_pointed_out(events: list[dict[str, Any]], same: list[int]) -> None:
    result = logged(*events)

    assert result.warnings.get("SAME_ORDER_ID", []) == same
    stored = result.accepted.columns["warnings"]
    assert [at for at, codes in zip(result.accepted.indexes, stored, strict=True) if "SAME_ORDER_ID" in codes] == same


def test_a_warning_of_a_repaired_id_quotes_nothing() -> None:
    assert "1001" not in json.dumps(logged({"event_id": "1001 "}).warnings)
