"""What official runners are told of the traffic to upstreams, by the rules of compliance/comply-test-controller."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from postback.forwarding.sent_requests import SentCall
from postback.sandbox.traffic import canonical, fits, recorded_call

_numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53) + 1, 2**53 - 1)
_json = st.recursive(
    st.none() | st.booleans() | st.text() | _numbers,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def sent(body: Any, url: str = "https://crm.example/take") -> SentCall:
    return SentCall("key", url, json.dumps(body).encode(), 200, datetime(2026, 1, 15, 10, 30, tzinfo=UTC))


@given(_json)
def test_the_digest_is_of_the_canonical_form(value: Any) -> None:
    assert canonical(value).encode() == rfc8785.dumps(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_written_as_ecmascript_does(number: float) -> None:
    assert canonical(number).encode() == rfc8785.dumps(number)


def test_secrets_are_redacted_before_anything_is_told_of_a_payload() -> None:
    call = sent({"events": [{"ext": {"API_Key": "s3cr3t", "tokens": 1, "Set-Cookie": {"a": 1}}, "n": 1e21}]})
    shown: Any = {"events": [{"ext": {"API_Key": "[redacted]", "tokens": 1, "Set-Cookie": "[redacted]"}, "n": 1e21}]}

    raw = recorded_call(call, "raw", [])
    digest = recorded_call(call, "digest", [sha256(b"s3cr3t").hexdigest()])

    assert raw["payload"] == shown
    assert raw["payload_length"] == digest["payload_length"] == len(rfc8785.dumps(shown))
    assert digest["payload_digest_sha256"] == sha256(rfc8785.dumps(shown)).hexdigest()
    assert digest["identifier_match_proofs"][0]["found"] is False


def test_a_large_payload_is_told_by_its_digest() -> None:
    told = recorded_call(sent({"a": "x" * 70_000}), "raw", [])

    assert told["attestation_mode"] == "digest"
    assert "payload" not in told


@pytest.mark.parametrize(
    ("pattern", "fitting"),
    [
        ("*", True),
        ("POST *", True),
        ("POST */take", True),
        ("POST https://crm.example/take", True),
        ("post *", False),
        ("POST https://crm.example/t", False),
        ("POST https://crm.example/tak?", False),
        ("POST https://crm.example/[t]ake", False),
    ],
)
def test_only_an_asterisk_is_a_wildcard(pattern: str, fitting: bool) -> None:
    assert fits(sent({}), pattern) is fitting
