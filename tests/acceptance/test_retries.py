"""A buyer's agent that isn't sure whether a call arrived makes it again, and nothing happens twice."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import DOORS, Door, call, error_of, fresh_source, log, order
from tests.acceptance.official import pinned, unique_key

if TYPE_CHECKING:
    from tests.conftest import Server


@pytest.fixture
def batch() -> dict[str, Any]:
    """A call that was never made before."""
    return {
        "event_source_id": "website",
        "events": [order(unique_key()), order("wrong", event_time="noon")],
        "idempotency_key": unique_key(),
    }


@pytest.mark.parametrize("release", [None, "3.2"])
def test_a_retry_gets_the_first_answer_with_its_own_context(
    server: Server, batch: dict[str, Any], release: str | None
) -> None:
    batch |= {"adcp_version": release} if release else {}

    first = call(server, "rest", "log_event", batch | {"context": {"try": 1}})
    second = call(server, "mcp", "log_event", batch | {"context": {"try": 2}, "context_id": "c2"})

    assert (first.pop("context"), second.pop("context")) == ({"try": 1}, {"try": 2})
    assert "replayed" not in first
    assert second.pop("replayed") is True
    assert first["ext"]["postback"].pop("request_id") != second["ext"]["postback"].pop("request_id")
    assert first == second
    assert len(first["partial_failures"]) == 1


def test_a_retry_may_be_written_differently(server: Server, batch: dict[str, Any]) -> None:
    batch["events"][0]["custom_data"] = {"currency": "USD", "value": 20}
    call(server, "rest", "log_event", batch)
    event, wrong = batch["events"]
    rewritten = {
        "events": [dict(reversed(event.items())) | {"custom_data": {"value": 20.0, "currency": "USD"}}, wrong],
        "idempotency_key": batch["idempotency_key"],
        "event_source_id": "website",
    }

    with server.client() as client:
        answer = client.post("/v1/log_event", content=json.dumps(rewritten, indent=2).replace("USD", "\\u0055SD"))

    assert answer.json()["replayed"] is True


@pytest.mark.parametrize("change", [{"events": [order("other")]}, {"test_event_code": "T1"}])
def test_the_key_of_another_call_is_refused_and_tells_nothing_of_that_call(
    server: Server, batch: dict[str, Any], change: dict[str, Any]
) -> None:
    call(server, "rest", "log_event", batch)

    with server.client() as client:
        response = client.post("/v1/log_event", json=batch | change)

    error = response.json()["adcp_error"]
    assert (response.status_code, error["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert error.keys() == {"code", "message"}
    assert batch["events"][0]["event_id"] not in response.text


def test_the_key_of_another_task_is_refused(server: Server, batch: dict[str, Any]) -> None:
    call(server, "rest", "log_event", batch)

    answer = call(server, "rest", "sync_event_sources", {"idempotency_key": batch["idempotency_key"]})

    assert answer["adcp_error"]["code"] == "IDEMPOTENCY_CONFLICT"


@pytest.mark.parametrize("door", DOORS)
def test_of_calls_made_at_once_one_is_done_and_the_others_repeat_its_answer(
    server: Server, batch: dict[str, Any], door: Door
) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: call(server, door, "log_event", batch), range(8)))

    assert [answer["status"] for answer in answers] == ["completed"] * 8
    assert sum("replayed" not in answer for answer in answers) == 1
    assert {answer["events_processed"] for answer in answers} == {1}


def test_a_call_that_failed_may_be_corrected_under_its_key(server: Server, batch: dict[str, Any]) -> None:
    batch["event_source_id"] = unique_key()
    assert error_of(call(server, "rest", "log_event", batch))["code"] == "EVENT_SOURCE_NOT_FOUND"
    fresh_source(server, batch["event_source_id"])

    answer = call(server, "rest", "log_event", batch)

    assert answer["status"] == "completed"
    assert "replayed" not in answer


def test_a_call_is_validated_before_its_key_is_looked_up(server: Server, batch: dict[str, Any]) -> None:
    call(server, "rest", "log_event", batch)

    answer = call(server, "rest", "log_event", batch | {"events": []})

    assert error_of(answer)["code"] == "INVALID_REQUEST"


def test_a_key_counts_for_one_caller_only(server: Server, batch: dict[str, Any]) -> None:
    colleague = replace(server, key=server.command("keys", "create", "--account", "default"))
    call(server, "rest", "log_event", batch)

    answer = call(colleague, "rest", "log_event", batch)

    assert "replayed" not in answer


def test_a_key_counts_for_one_account_only(server: Server, batch: dict[str, Any]) -> None:
    for account in ("retries-a", "retries-b"):
        server.command("accounts", "create", account)
    agency = replace(server, key=server.command("keys", "create", "--account", "retries-a", "--account", "retries-b"))
    sync = {"idempotency_key": unique_key(), "event_sources": [{"event_source_id": "shop"}]}

    answers = [
        call(agency, "rest", "sync_event_sources", sync | {"account": {"account_id": account}})
        for account in ("retries-a", "retries-b", "retries-b")
    ]

    assert [answer["event_sources"][0]["action"] for answer in answers] == ["created"] * 3
    assert [answer.get("replayed", False) for answer in answers] == [False, False, True]


def test_a_sync_is_repeated_too(server: Server) -> None:
    sync = pinned("3.1") | {
        "account": {"account_id": "default"},
        "event_sources": [{"event_source_id": unique_key()}],
    }

    first, second = (call(server, "rest", "sync_event_sources", sync) for _ in range(2))

    assert second["replayed"] is True
    assert first["event_sources"] == second["event_sources"]


def test_without_a_key_events_are_still_logged_once(server: Server) -> None:
    event = order(unique_key())

    answers = [log(server, "website", event) for _ in range(2)]

    assert [answer["events_processed"] for answer in answers] == [1, 1]
    assert not any("replayed" in answer for answer in answers)
