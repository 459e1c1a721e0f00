"""Every answer is what the official schemas of the release that it claims say, through every door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import DOORS, Door, ago, call, error_of, order
from tests.acceptance.official import DIALECTS, pinned, refuse_unless_valid, unique_key

if TYPE_CHECKING:
    from tests.conftest import Server

BROKEN = [
    order("broken_1", event_time="yesterday"),
    order("broken_2", event_type="refund_of_sorts"),
    order("broken_3", user_match={"hashed_email": "ada@buyer.example"}),
    order("broken_4", custom_data={"value": -1, "currency": "USD"}),
    {"event_type": "purchase"},
    17,
]
ODD = [
    order("odd_1", user_match=None),
    order("odd_2", custom_data={"value": 3}, event_source_url=None),
    order("odd_3", user_match={"click_id": "{{gclid}}", "uids": [{"type": "uid2", "value": " A4AAA "}]}),
]
ACCOUNT = {"account": {"account_id": "default"}}

SUCCESSES: dict[str, tuple[str, dict[str, Any]]] = {
    "capabilities": ("get_adcp_capabilities", {}),
    "discovery": ("sync_event_sources", ACCOUNT),
    "entries good and bad": (
        "sync_event_sources",
        ACCOUNT
        | {
            "event_sources": [
                {
                    "event_source_id": "schemas",
                    "name": "Shop",
                    "event_types": ["purchase", "lead"],
                    "value_currencies": ["USD", "EUR"],
                    "action_source": "website",
                    "allowed_domains": ["shop.example"],
                },
                {"event_source_id": "schemas"},
                {"event_source_id": "schemas_2", "event_types": ["purchases"], "allowed_domains": ["https://a/"]},
                {"name": "no id"},
            ]
        },
    ),
    "events": ("log_event", {"event_source_id": "website", "events": [order("good")]}),
    "events good, odd and broken": (
        "log_event",
        {"event_source_id": "website", "events": [order("good"), *ODD, *BROKEN]},
    ),
    "all events broken": ("log_event", {"event_source_id": "website", "events": BROKEN}),
    "test events": ("log_event", {"event_source_id": "website", "events": [order("try")], "test_event_code": "T1"}),
}
FAILURES: dict[str, tuple[str, dict[str, Any]]] = {
    "unknown source": ("log_event", {"event_source_id": "nowhere", "events": [order("lost")]}),
    "no events": ("log_event", {"event_source_id": "website", "events": []}),
    "too many events": ("log_event", {"event_source_id": "website", "events": [{}] * 10_001}),
    "events of the wrong type": ("log_event", {"event_source_id": "website", "events": {"0": order("lost")}}),
    "no source": ("log_event", {"events": [order("lost")]}),
    "somebody else's account": ("sync_event_sources", {"account": {"account_id": "globex"}}),
    "no entries": ("sync_event_sources", ACCOUNT | {"event_sources": []}),
    "idempotency key too short": ("sync_event_sources", ACCOUNT | {"idempotency_key": "short"}),
    "context of the wrong type": ("sync_event_sources", ACCOUNT | {"context": "abc"}),
}


@pytest.mark.parametrize("release", DIALECTS)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("what", SUCCESSES)
def test_a_success_is_valid(server: Server, what: str, door: Door, release: str | None) -> None:
    task, arguments = SUCCESSES[what]

    answer = call(server, door, task, pinned(release) | arguments | {"context": {"trace": 1}})

    assert answer["status"] == "completed", answer
    assert answer["context"] == {"trace": 1}
    refuse_unless_valid(task, answer, release)


@pytest.mark.parametrize("release", DIALECTS)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("what", FAILURES)
def test_a_failure_is_valid(server: Server, what: str, door: Door, release: str | None) -> None:
    task, arguments = FAILURES[what]

    answer = call(server, door, task, pinned(release) | arguments)

    error_of(answer)
    refuse_unless_valid(task, answer, release)


@pytest.mark.parametrize("release", DIALECTS)
def test_a_replay_and_a_conflict_are_valid(server: Server, release: str | None) -> None:
    key = {"idempotency_key": unique_key()}
    batch = pinned(release) | key | {"event_source_id": "website", "events": [order("again")]}

    call(server, "rest", "log_event", batch)
    replay = call(server, "rest", "log_event", batch)
    conflict = call(server, "rest", "log_event", batch | {"events": [order("other")]})

    assert replay["replayed"] is True
    refuse_unless_valid("log_event", replay, release)
    assert conflict["adcp_error"]["code"] == "IDEMPOTENCY_CONFLICT"
    refuse_unless_valid("log_event", conflict, release)


def test_the_answer_to_a_wrong_key_is_valid(server: Server) -> None:
    answer = call(server, "rest", "log_event", {}, Authorization="Bearer pb_unknown")

    error_of(answer)
    refuse_unless_valid("log_event", answer, None)


@pytest.mark.parametrize("release", DIALECTS)
def test_a_source_in_use_is_described_validly(server: Server, release: str | None) -> None:
    entry = {"event_source_id": f"in_use_{release}"}
    call(server, "rest", "sync_event_sources", {"event_sources": [entry]})
    call(server, "rest", "log_event", {**entry, "events": [order("1"), order("2", event_time=ago(days=365))]})

    answer = call(server, "rest", "sync_event_sources", pinned(release) | ACCOUNT | {"event_sources": [entry]})

    assert answer["event_sources"][0]["health"]["events_received_24h"] == 2
    refuse_unless_valid("sync_event_sources", answer, release)
