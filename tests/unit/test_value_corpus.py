"""Values of many shops and platforms are never refused; what their templates leave unfilled always is.

Both go the way of log_event and of POST /v1/exposures: from JSON to columns.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postback.event_sources.event_source import EventSource
from postback.events.identifiers import KEY_BYTES, IdentifierHasher
from postback.events.rules import EventRules
from postback.events.validate import ValidationResult, validate_events
from postback.exposures.validate import ExposureValidationResult, validate_exposures
from postback.protocol.placeholders import DELIMITERS, NAME_DELIMITERS, ends_unfilled, is_macro, is_unfilled

NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
HASHER = IdentifierHasher(b"s" * 32)
DATA = Path(__file__).parents[1] / "data"
GOOD: dict[str, dict[str, list[str]]] = json.loads((DATA / "good_values.json").read_text())
BAD: dict[str, list[str]] = json.loads((DATA / "bad_values.json").read_text())
DIGEST = "5f3c1c1d5a8c1dd0e8c3f3d56ad2e6ac8f2b3c7d9e0a1b2c3d4e5f60718293a4"
IP = "203.0.113.7"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0"
UUID = "550e8400-e29b-41d4-a716-446655440000"


def good(kind: str) -> list[str]:
    return [value for values in GOOD[kind].values() for value in values]


def logged(*events: dict[str, Any]) -> ValidationResult:
    source = EventSource(account_id="default", event_source_id="shop", seller_id="src_1")
    rules = EventRules.of(source, now=NOW, sandbox=False, max_age_days=90, require_user_match=False)
    order = {"event_id": "1", "event_type": "purchase", "event_time": "2026-01-20T10:30:00Z", "action_source": "app"}
    paid = {"custom_data": {"value": 10, "currency": "USD"}}
    return validate_events(_raws({**order, **paid, **event} for event in events), rules, HASHER)


def exposed(*exposures: dict[str, Any]) -> ExposureValidationResult:
    click = {"exposure_id": "1", "kind": "click", "occurred_at": "2026-01-20T10:30:00Z"}
    where = {"media_buy_id": "mb", "package_id": "p"}
    return validate_exposures(_raws({**click, **where, **e} for e in exposures), HASHER, NOW, sandbox=False)


def _raws(sent: Iterable[dict[str, Any]]) -> list[msgspec.Raw]:
    return [msgspec.Raw(json.dumps(item).encode()) for item in sent]


def people(kind: str, values: list[str]) -> list[dict[str, Any]]:
    """One user_match for each value."""
    if kind == "click_ids":
        return [{"click_id": value} for value in values]
    if kind == "uids":
        return [{"uids": [{"type": "other", "value": value}]} for value in values]
    return [{"client_ip": IP, "client_user_agent": value} for value in values]


def test_a_good_event_id_is_stored_as_it_is() -> None:
    sent = good("event_ids")
    result = logged(*[{"event_id": event_id, "user_match": {"hashed_email": DIGEST}} for event_id in sent])

    assert [(sent[failed.index], failed.rejection.message) for failed in result.failed] == []
    assert result.warnings == {}
    assert result.accepted.columns["event_id"] == sent


def test_a_good_id_is_good_for_an_exposure() -> None:
    sent = good("event_ids")
    result = exposed(*[{"exposure_id": event_id, "user_match": {"hashed_email": DIGEST}} for event_id in sent])

    assert [(sent[failed.index], failed.rejection.message) for failed in result.failed] == []
    assert [exposure.exposure_id for exposure in result.accepted] == sent


@pytest.mark.parametrize("kind", ["click_ids", "uids", "user_agents"])
def test_a_good_identifier_is_used(kind: str) -> None:
    sent = good(kind)
    matched = people(kind, sent)
    events = logged(*[{"event_id": str(n), "user_match": user_match} for n, user_match in enumerate(matched)])
    exposures = exposed(*[{"exposure_id": str(n), "user_match": user_match} for n, user_match in enumerate(matched)])

    assert [(sent[failed.index], failed.rejection.message) for failed in events.failed] == []
    assert {code: [sent[at] for at in places] for code, places in events.warnings.items()} == {}
    assert (exposures.failed, exposures.warnings) == ([], {})
    assert [exposure.match_keys for exposure in exposures.accepted] == events.accepted.columns["match_keys"]
    assert len(set(events.accepted.columns["match_keys"])) == len(set(sent))


@pytest.mark.parametrize("event_id", BAD["event_ids"])
def test_an_id_that_nobody_filled_in_fails_alone(event_id: str) -> None:
    result = logged({}, {"event_id": event_id}, {"event_id": "2"})
    exposures = exposed({"exposure_id": event_id})

    [failed] = result.failed
    assert (failed.index, failed.event_id, failed.rejection.reason) == (1, None, "INVALID_REQUEST")
    assert failed.rejection.field == "event_id"
    assert "looks like a variable that nobody filled in" in failed.rejection.message
    assert result.accepted.indexes == [0, 2]
    if event_id.strip() == event_id:  # only ids of events are trimmed
        assert [f.rejection.field for f in exposures.failed] == ["exposure_id"]


@pytest.mark.parametrize(("code", "kind"), [("UNEXPANDED_MACRO", "macros"), ("JUNK_IDENTIFIER", "junk")])
def test_an_identifier_that_nobody_filled_in_is_dropped(code: str, kind: str) -> None:
    for value in BAD[kind]:
        for user_match in ({"click_id": value}, {"uids": [{"type": "id5", "value": value}]}):
            events = logged({"user_match": {"hashed_email": DIGEST, **user_match}})
            exposures = exposed({"user_match": {"hashed_email": DIGEST, **user_match}})

            assert events.warnings == exposures.warnings == {code: [0]}, value
            assert [len(keys) for keys in events.accepted.columns["match_keys"]] == [KEY_BYTES]
            assert [len(exposure.match_keys) for exposure in exposures.accepted] == [KEY_BYTES]


@pytest.mark.parametrize(
    "user_agent", ["undefined", "{{User Agent}}", "null", "-", "%USER_AGENT%", "<user-agent>", "0"]
)
def test_a_user_agent_that_nobody_filled_in_is_dropped(user_agent: str) -> None:
    [failed] = logged({"user_match": {"client_ip": IP, "client_user_agent": user_agent}}).failed

    assert failed.rejection.reason == "MISSING_USER_MATCH"
    assert "client_user_agent" in failed.rejection.message


@pytest.mark.parametrize(
    "text",
    [
        *("{{" * 256, "$" * 512, "__" * 256, "{$" * 255 + "}", "%%" * 255 + "x", "__a_" * 128, "{a}" * 170 + "x"),
        *("$a-" * 170, "#a#" * 170 + "x", "[a " * 170 + "]", "a_" * 255 + "__", "%25" * 170, "{a{" * 170 + "}"),
    ],
    ids=lambda text: text[:4],
)
def test_no_text_takes_long_to_look_at(text: str) -> None:
    started = time.process_time()
    is_macro(text)
    ends_unfilled(text[:256])

    assert time.process_time() - started < 1


@given(
    st.sampled_from([*DELIMITERS, *NAME_DELIMITERS]),
    st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,14}", fullmatch=True),
)
def test_any_name_within_any_delimiters_is_a_macro(delimiters: tuple[str, str], name: str) -> None:
    macro = name.join(delimiters)

    assert is_macro(macro)
    assert ends_unfilled(f"order-{macro}")


@pytest.mark.parametrize("delimiters", [*DELIMITERS, *NAME_DELIMITERS])
@pytest.mark.parametrize("content", [UUID, UUID.upper(), UUID.replace("-", "")])
def test_a_uuid_is_never_a_macro(delimiters: tuple[str, str], content: str) -> None:
    text = content.join(delimiters)

    assert not is_unfilled(text)
    assert not ends_unfilled(f"order-{text}")
