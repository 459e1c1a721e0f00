"""Personal data that a sender put where it does not belong is found; what only looks like it is kept."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.test_value_corpus import logged

from postback.events.personal_data import may_be_personal, redact

EMAIL = "jane.doe@shop.example"
DIGEST = sha256(EMAIL.encode()).hexdigest()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (f"write to <{EMAIL}>, or call +49 30 901000123", "write to <[redacted]>, or call [redacted]"),
        (f"sha256:{DIGEST.upper()}", "sha256:[redacted]"),
        ("jane.doe%40shop.example", "[redacted]"),
        (
            "https://shop.example/?gclid=Cj0KCQ&size=4#user_email=jane",
            "https://shop.example/?gclid=[redacted]&size=4#user_email=[redacted]",
        ),
        ("shop%3Ffbclid%3DIwAR%26size%3D4", "shop%3Ffbclid%3D[redacted]%26size%3D4"),
        ("81.2.69.142", "[redacted]"),
        ("2001:db8::1", "[redacted]"),
        ("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101", "[redacted]"),
        (
            {"clientIp": "unknown", "emailAddress": {"local": "jane"}, "phone": 12065551234},
            {"clientIp": "[redacted]", "emailAddress": "[redacted]", "phone": "[redacted]"},
        ),
        ({EMAIL: [DIGEST, 1]}, {"[redacted]": ["[redacted]", 1]}),
        ("jane.doe%2540shop.example", "[redacted]"),
        ("write to jane&#64;shop.example", "[redacted]"),
        ("jane.doe\uff20shop.example", "[redacted]"),
        ("jane@shop.xn--p1ai", "[redacted]"),
        ("/call/%2B12065551234", "[redacted]"),
        ("%252B12065551234", "[redacted]"),
        ("call +12065551234-20260115", "call [redacted]-20260115"),
        ("+49/30/901000123", "[redacted]"),
        (" 81.2.69.142 ", "[redacted]"),
        ("81.2.69.142, 10.0.0.1", "[redacted]"),
        ("81.2.69.142:443", "[redacted]"),
        ("2001%3Adb8%3A%3A1", "[redacted]"),
        ("Mozilla%2F5.0 (X11)", "[redacted]"),
        ("gclid=Cj0KCQ", "gclid=[redacted]"),
        ("Email=jane&size=4", "Email=[redacted]&size=4"),
        (
            {"User-Agent": "curl/8", "click-id": "Cj0KCQ", "E-Mail": "jane", "tel": "030 901000", "emails": ["jane"]},
            dict.fromkeys(("User-Agent", "click-id", "E-Mail", "tel", "emails"), "[redacted]"),
        ),
        ({"mobile": 12065551234.0, "uid": 42}, {"mobile": "[redacted]", "uid": "[redacted]"}),
    ],
)
def test_what_identifies_a_person_is_replaced(sent: Any, kept: Any) -> None:
    assert redact(sent) == (kept, True)


@pytest.mark.parametrize(
    "sent",
    [
        "C++ @ work, 1 + 1 = 2, 100% wool",
        "+1",
        "12:30:45",
        "16.5.1",
        DIGEST[:32],
        DIGEST + DIGEST,
        "https://shop.example/?size=4&zip=10115",
        {"hotel": "Adler", "chapel": 1, "phone model": "X", "email-opt-in": "yes", "tel_revenue": 149.5},
        {"email": True, "trip": "Rome", "relationship": "parent", "phone": None},
        {"revenue_phone": 149.5, "value_mobile": 1200, "sales_email": 12065551234, "ip": 0.5},
        "50%25 off, H&amp;M, 3 &lt; 5, a%20b",
        "1.2.3",
        "1, 2, 3",
        "T+90 and +1234",
        "https://shop.example/caf%C3%A9?q=%E2%9C%93",
    ],
)
def test_what_only_looks_like_it_is_kept(sent: Any) -> None:
    assert redact(sent) == (sent, False)


@pytest.mark.parametrize(
    "text",
    [
        *(EMAIL, "jane%40shop.example", f'"{DIGEST}"', "+49 30 901000123", "Mozilla/5.0", "?gclid=1"),
        *("81.2.69.142", "2001:db8::1", "::1", "jane\uff20shop.example", "jane&#64;shop.example"),
    ],
)
def test_no_text_that_needs_a_look_is_passed_over(text: str) -> None:
    assert may_be_personal(f'{{"order_id": "{text}"}}'.encode())


def test_an_ordinary_order_needs_no_look() -> None:
    assert not may_be_personal(b'{"value":139.12,"currency":"EUR","order_id":"order_98765","content_ids":["a-1"]}')


_PIECES = st.sampled_from(
    [
        *("jane", "@", "%40", "%2540", "&#64;", "\uff20", "shop.example", "+", "%2B", "12065551234", "49 30 901000123"),
        *(DIGEST, DIGEST.upper(), "81.2.69.142", "2001:db8::1", "::", ":", ".", ",", " ", "Mozilla/5.0", "Mozilla%2F"),
        *("?gclid=", "%3Fgclid%3D", "&email=", "x", "\u00e9", "-", "/", '"', "\\", "100"),
    ]
)


@settings(max_examples=500)
@given(st.lists(_PIECES, max_size=6).map("".join))
def test_nothing_is_found_that_the_first_look_passes_over(text: str) -> None:
    """Else an event's data would be removed or not as its neighbours in the batch are."""
    if redact({"search_string": text})[1]:
        assert may_be_personal(msgspec.json.encode({"search_string": text}))


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        ({"search_string": "81.2.69.142"}, {"search_string": "[redacted]"}),
        ({"content_name": "2001:db8::1"}, {"content_name": "[redacted]"}),
        ({"order_id": "%2B12065551234"}, {"order_id": "[redacted]"}),
        ({"content_ids": ["a-1", "jane%2540shop.example"]}, {"content_ids": ["a-1", "[redacted]"]}),
    ],
)
@pytest.mark.parametrize("neighbour", [None, {"search_string": "jane@shop.example"}])
def test_an_event_is_redacted_whatever_its_neighbours_are(
    data: dict[str, Any], kept: dict[str, Any], neighbour: dict[str, Any] | None
) -> None:
    matched = {"user_match": {"click_id": "click-1"}}
    result = logged(*[{"custom_data": sent, **matched} for sent in (data, neighbour) if sent])

    assert msgspec.json.decode(result.accepted.columns["custom_data"][0]) == kept
    assert 0 in result.warnings["REDACTED"]


@pytest.mark.parametrize(
    "path",
    [
        *("/call/%2B12065551234", "/call/%252B12065551234", "/call/+1-206-555-1234", "/u/jane%40shop.example/orders"),
        *("/u/81.2.69.142/thanks", "/u/2001:db8::1", "/u/2001%3Adb8%3A%3A1/x"),
        *("/thanks;email=jane", "/thanks/gclid;gclid=Cj0KCQ", f"/u/{DIGEST.upper()}", "/u/jane\uff20shop.example"),
    ],
)
def test_a_page_whose_path_tells_of_a_person_is_stored_without_it(path: str) -> None:
    result = logged({"event_source_url": f"https://shop.example{path}", "user_match": {"click_id": "click-1"}})

    assert result.accepted.columns["event_source_url"] == ["https://shop.example"]


@pytest.mark.parametrize(
    "path", ["/a/b.html", "/v1.2.3/thanks", "/caf%C3%A9", "/a+b", "/c++/d", "/1:2/x", "/~u/(1)!", "/50%25", "/a/b=c"]
)
def test_any_other_path_is_stored(path: str) -> None:
    result = logged({"event_source_url": f"https://shop.example{path}?q=1", "user_match": {"click_id": "click-1"}})

    assert result.accepted.columns["event_source_url"] == [f"https://shop.example{path}"]
