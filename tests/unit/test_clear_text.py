"""Personal data that a sender put where it does not belong is found; what only looks like it is kept."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from postback.ingest.clear_text import may_be_personal, redact

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
        {"email": True, "trip": "Rome", "relationship": "parent", "phone": None},
    ],
)
def test_what_only_looks_like_it_is_kept(sent: Any) -> None:
    assert redact(sent) == (sent, False)


@pytest.mark.parametrize(
    "text", [EMAIL, "jane%40shop.example", f'"{DIGEST}"', "+49 30 901000123", "Mozilla/5.0", "?gclid=1"]
)
def test_no_text_that_needs_a_look_is_passed_over(text: str) -> None:
    assert may_be_personal(f'{{"order_id": "{text}"}}'.encode())


def test_an_ordinary_order_needs_no_look() -> None:
    assert not may_be_personal(b'{"value":139.12,"currency":"EUR","order_id":"order_98765","content_ids":["a-1"]}')
