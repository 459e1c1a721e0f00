"""A test that another platform's field marks never counts as a conversion, and no experiment is taken for one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.test_value_corpus import DIGEST, NOW, logged

from postback.errors import InvalidRequest
from postback.event_sources.event_source import EventSource
from postback.events.identifiers import IdentifierHasher
from postback.events.request import LogEventRequest, refuse_test_marks
from postback.events.rules import EventRules
from postback.events.validate import validate_events

MARKS: list[dict[str, Any]] = [
    {"is_test_event": True},
    {"is_test_event": 1},
    {"is_test_event": "true"},
    {"is_test_event": "TEST1234"},
    {"isTestEvent": True},
    {"is_test": True},
    {"isTest": "1"},
    {"test": True},
    {"test_event": "yes"},
    {"test_mode": "on"},
    {"testMode": True},
    {"dry_run": True},
    {"dryRun": True},
    {"validate_only": True},
    {"validateOnly": True},
    {"livemode": False},
    {"testEventCode": "TEST1"},
    {"is_testing": True},
    {"isSandbox": "true"},
]
NO_MARKS: list[dict[str, Any]] = [
    {"is_test_event": False},
    {"is_test_event": None},
    {"is_test_event": 0},
    {"is_test_event": "false"},
    {"test": "blue button"},
    {"test": {"variant": "b"}},
    {"test_id": "exp-7"},
    {"test_group": "control"},
    {"ab_test": True},
    {"livemode": True},
    {"dry_run": ""},
    {"testimonial": True},
    {"is_tested": True},
]


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("within", ["", "custom_data.", "ext."])
def test_a_mark_inside_an_event_fails_that_event(mark: dict[str, Any], within: str) -> None:
    place = within.rstrip(".")
    [failed] = logged({"user_match": {"hashed_email": DIGEST}, **({place: mark} if place else mark)}, {}).failed

    assert failed.index == 0
    assert (failed.rejection.reason, failed.rejection.field) == ("INVALID_REQUEST", f"{within}{next(iter(mark))}")
    assert "test_event_code" in failed.rejection.message


@pytest.mark.parametrize("mark", [{"test_event_code": "TEST1"}])
def test_a_code_inside_an_event_is_in_the_wrong_place(mark: dict[str, Any]) -> None:
    [failed] = logged(mark).failed

    assert failed.rejection.field == "test_event_code"


@pytest.mark.parametrize("fields", NO_MARKS)
def test_what_marks_no_test_is_accepted(fields: dict[str, Any]) -> None:
    result = logged(
        {"user_match": {"hashed_email": DIGEST}, **fields, "custom_data": {"value": 1, "currency": "EUR"} | fields}
    )

    assert result.failed == []


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_at_the_top_fails_the_call(mark: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        refuse_test_marks(call(mark), request())

    assert caught.value.field == next(iter(mark))
    assert "test_event_code" in f"{caught.value.message} {caught.value.suggestion}"


@pytest.mark.parametrize("fields", [*NO_MARKS, {"sandbox": True}, {"adcp_version": "3.1"}])
def test_other_fields_at_the_top_are_passed_over(fields: dict[str, Any]) -> None:
    refuse_test_marks(call(fields), request())


def test_a_call_with_a_code_is_a_test_however_it_is_marked_besides() -> None:
    refuse_test_marks(call({"is_test_event": True, "test_event_code": "T1"}), request("T1"))
    source = EventSource(account_id="default", event_source_id="shop", seller_id="src_1")
    rules = EventRules.of(source, now=NOW, sandbox=False, max_age_days=90, require_user_match=False, test=True)
    event = {"event_id": "1", "event_type": "lead", "event_time": "2026-01-20T10:30:00Z", "is_test_event": True}
    result = validate_events([msgspec.Raw(msgspec.json.encode(event))], rules, IdentifierHasher(b"s" * 32))

    assert result.failed == []


def call(fields: dict[str, Any]) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}


def request(code: str | None = None) -> LogEventRequest:
    return LogEventRequest(event_source_id="shop", events=msgspec.Raw(b"[]"), test_event_code=code)
