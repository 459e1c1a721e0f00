"""Validation is one list of steps: each is timed, and each rejection names the step that it comes from."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from postback.event_sources.event_source import EventSource
from postback.events import steps
from postback.events.identifiers import IdentifierHasher
from postback.events.rules import EventRules
from postback.events.steps import STEPS
from postback.events.validate import ValidationResult, validate_events

_SOURCE = EventSource(account_id="default", event_source_id="shop", seller_id="src_1")
_RULES = EventRules.of(_SOURCE, now=datetime.now(UTC), sandbox=True, max_age_days=90, require_user_match=False)
_GOOD: dict[str, Any] = {"event_id": "order_1", "event_type": "purchase", "event_time": datetime.now(UTC).isoformat()}
_BAD: dict[str, dict[str, Any]] = {
    "identifiers": {"user_match": {"hashed_email": "jane@example.com"}},
    "rules": {"event_type": "buy"},
    "decode": {"event_time": 5},
}


def _validated(*events: dict[str, Any]) -> ValidationResult:
    raws = [msgspec.Raw(msgspec.json.encode(_GOOD | event)) for event in events]
    return validate_events(raws, _RULES, IdentifierHasher(b"s" * 32))


def test_the_steps_are_in_order() -> None:
    assert [name for name, _ in STEPS] == ["decode", "rules", "identifiers", "redaction", "columns"]


@pytest.mark.parametrize("step", _BAD)
def test_a_rejection_names_its_step(step: str) -> None:
    result = _validated({}, _BAD[step], {})

    assert [(failed.index, failed.step) for failed in result.failed] == [(1, step)]
    assert result.accepted.indexes == [0, 2]


def test_events_keep_their_order_whichever_step_rejects_them() -> None:
    events = [{}, *_BAD.values()] * 100  # more than are validated at a time

    result = _validated(*events)

    assert [failed.index for failed in result.failed] == [number for number in range(400) if number % 4]
    assert [failed.step for failed in result.failed] == [*_BAD] * 100
    assert result.accepted.indexes == list(range(0, 400, 4))


def test_the_time_of_a_batch_is_that_of_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(chunk: steps.Chunk, batch: steps.Batch) -> steps.Rejected:
        time.sleep(0.01)
        return []

    monkeypatch.setattr("postback.events.validate.STEPS", (*STEPS[:-1], ("redaction", slow), STEPS[-1]))
    started = time.perf_counter()
    result = _validated(*[{"event_id": f"order_{number}"} for number in range(300)])
    took = time.perf_counter() - started

    assert result.step_seconds.keys() == {name for name, _ in STEPS}
    assert all(seconds > 0 for seconds in result.step_seconds.values())
    assert 0.03 <= result.step_seconds["redaction"] <= sum(result.step_seconds.values()) <= took
