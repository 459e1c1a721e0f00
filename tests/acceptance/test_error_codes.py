"""A program reads errors in the words of the release that it pins; ``reason`` is the same word in all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import DOORS, Door, ago, call, error_of, fresh_source, log, order
from tests.acceptance.official import DIALECTS, error_codes, pinned, refuse_unless_valid, unique_key

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

# The vocabulary: reason → its code in each of DIALECTS.
CODES = {
    "EVENT_SOURCE_NOT_FOUND": ("EVENT_SOURCE_NOT_FOUND", *["REFERENCE_NOT_FOUND"] * 3),
    "INVALID_EVENT_TYPE": (*["INVALID_EVENT_TYPE"] * 3, "VALIDATION_ERROR"),
    "INVALID_EVENT_TIME": (*["INVALID_EVENT_TIME"] * 3, "VALIDATION_ERROR"),
    "MISSING_USER_MATCH": (*["MISSING_USER_MATCH"] * 3, "VALIDATION_ERROR"),
    "BATCH_TOO_LARGE": (*["BATCH_TOO_LARGE"] * 3, "INVALID_REQUEST"),
    "INVALID_REQUEST": ("INVALID_REQUEST",) * 4,
    "RATE_LIMIT_EXCEEDED": ("RATE_LIMIT_EXCEEDED", *["RATE_LIMITED"] * 3),
}
EVENTS = {
    "INVALID_EVENT_TYPE": order("wrong", event_type="lead"),
    "INVALID_EVENT_TIME": order("wrong", event_time=ago(days=91)),
    "MISSING_USER_MATCH": order("wrong", user_match={"hashed_email": ""}),
    "INVALID_REQUEST": order("wrong", custom_data={"value": "12,50"}),
}
REQUESTS: dict[str, dict[str, Any]] = {
    "EVENT_SOURCE_NOT_FOUND": {"event_source_id": "nowhere", "events": [order("lost")]},
    "BATCH_TOO_LARGE": {"event_source_id": "website", "events": [{}] * 10_001},
    "INVALID_REQUEST": {"event_source_id": "website"},
}


@pytest.fixture(scope="module")
def purchases(server: Server) -> str:
    """A source that takes purchases only."""
    fresh_source(server, "purchases", event_types=["purchase"])
    return "purchases"


@pytest.mark.parametrize("release", DIALECTS)
@pytest.mark.parametrize("reason", EVENTS)
def test_an_event_fails_in_the_words_of_the_release(
    server: Server, purchases: str, reason: str, release: str | None
) -> None:
    answer = log(server, purchases, EVENTS[reason], release=release)

    (failure,) = answer["partial_failures"]
    assert failure["reason"] == reason
    assert failure["code"] == CODES[reason][DIALECTS.index(release)]
    assert failure["retryable"] is False


@pytest.mark.parametrize("release", DIALECTS)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("reason", REQUESTS)
def test_a_call_fails_in_the_words_of_the_release(server: Server, reason: str, door: Door, release: str | None) -> None:
    error = error_of(call(server, door, "log_event", pinned(release) | REQUESTS[reason]))

    assert error["details"]["reason"] == reason
    assert error["code"] == CODES[reason][DIALECTS.index(release)]
    assert error["recovery"] == "correctable"


def test_too_many_events_are_refused_in_the_words_of_the_release(start_server: StartServer) -> None:
    limited = start_server(rate_limit=1_000, rate_limit_events=2)
    batch = {"event_source_id": "website", "events": [order("1"), order("2")]}
    call(limited, "rest", "sync_event_sources", {"event_sources": [{"event_source_id": "website"}]})
    call(limited, "rest", "log_event", batch)

    for release, code in zip(DIALECTS, CODES["RATE_LIMIT_EXCEEDED"], strict=True):
        with limited.client() as client:
            response = client.post("/v1/log_event", json=pinned(release) | batch)
        error = error_of(response.json())
        assert response.status_code == 429
        assert (error["code"], error["recovery"]) == (code, "transient")
        assert int(response.headers["Retry-After"]) == error["retry_after"]


@pytest.mark.parametrize("release", DIALECTS[1:])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"account": {"account_id": "globex"}}, "ACCOUNT_NOT_FOUND"),
        ({"idempotency_key": None}, "INVALID_REQUEST"),
    ],
)
def test_codes_are_standard_ones(server: Server, release: str, arguments: dict[str, Any], code: str) -> None:
    error = error_of(call(server, "rest", "sync_event_sources", pinned(release) | arguments))

    assert error["code"] == code
    assert code in error_codes(release)


@pytest.mark.parametrize(
    ("pin", "served"),
    [
        ({}, "3.2"),
        ({"adcp_version": "3.0"}, "3.0"),
        ({"adcp_version": "3.2"}, "3.2"),
        ({"adcp_version": "3.5"}, "3.2"),
        ({"adcp_major_version": 3}, "3.2"),
        ({"adcp_version": "3.1", "adcp_major_version": 3}, "3.1"),
        ({"adcp_version": None, "adcp_major_version": None}, "3.2"),
    ],
)
@pytest.mark.parametrize("door", DOORS)
def test_a_pin_is_served_the_highest_release_that_fits(
    server: Server, door: Door, pin: dict[str, Any], served: str | None
) -> None:
    answer = call(server, door, "get_adcp_capabilities", pin)

    assert answer["status"] == "completed"
    assert answer.get("adcp_version") == served


@pytest.mark.parametrize(
    "pin",
    [
        {"adcp_version": "4.0"},
        {"adcp_version": "3.2-beta"},
        {"adcp_version": "2.5"},
        {"adcp_major_version": 4},
        {"adcp_version": "3.2-rc.1", "adcp_major_version": 3},
    ],
)
@pytest.mark.parametrize("door", DOORS)
def test_a_pin_that_nothing_fits_is_answered_with_what_does(server: Server, door: Door, pin: dict[str, Any]) -> None:
    answer = call(server, door, "get_adcp_capabilities", pin | {"context": {"trace": 1}})

    error = error_of(answer)
    assert error["code"] == "VERSION_UNSUPPORTED"
    assert error["details"]["supported_versions"] == ["3.0", "3.1", "3.2"]
    assert error["details"]["supported_majors"] == [3]
    name, value = next(iter(pin.items()))
    assert error["details"][name] == value
    refuse_unless_valid("get_adcp_capabilities", answer, None)
    assert answer["context"] == {"trace": 1}


@pytest.mark.parametrize("pin", [{"adcp_version": "3.1.0-beta.1"}, {"adcp_version": "3.1.0"}])
def test_a_version_of_the_schemas_is_no_release_and_is_answered_with_what_is(
    server: Server, pin: dict[str, Any]
) -> None:
    error = error_of(call(server, "rest", "log_event", pin))

    assert error["code"] == "VERSION_UNSUPPORTED"
    assert error["details"]["supported_versions"] == ["3.0", "3.1", "3.2"]
    assert "adcp_version" not in error["details"]


def test_both_pins_must_be_served(server: Server) -> None:
    error = error_of(call(server, "rest", "log_event", {"adcp_version": "3.2", "adcp_major_version": 4}))

    assert (error["code"], error["field"]) == ("VERSION_UNSUPPORTED", "adcp_major_version")
    assert error["details"]["adcp_major_version"] == 4


@pytest.mark.parametrize("release", DIALECTS)
def test_capabilities_that_fail_are_valid_too(server: Server, release: str | None) -> None:
    answer = call(server, "rest", "get_adcp_capabilities", pinned(release) | {"idempotency_key": "short"})

    assert error_of(answer)["field"] == "idempotency_key"
    refuse_unless_valid("get_adcp_capabilities", answer, release)


def test_a_body_that_is_too_large_is_refused_in_the_words_of_the_release(server: Server) -> None:
    answer = call(server, "rest", "log_event", pinned("3.2") | {"ext": {"pad": "x" * 4_000_000}})

    assert error_of(answer)["code"] == "INVALID_REQUEST"
    assert answer["adcp_version"] == "3.2"


@pytest.mark.parametrize("pin", [{"adcp_version": "three"}, {"adcp_version": 3.1}, {"adcp_major_version": "3"}])
def test_a_pin_that_is_none_is_refused(server: Server, pin: dict[str, Any]) -> None:
    error = error_of(call(server, "rest", "get_adcp_capabilities", pin))

    assert error["code"] == "INVALID_REQUEST"
    assert error["field"] in pin
    assert error["details"]["supported_versions"] == ["3.0", "3.1", "3.2"]


@pytest.mark.parametrize("release", DIALECTS)
@pytest.mark.parametrize("task", ["log_event", "sync_event_sources"])
def test_the_idempotency_key_is_required_from_3_0_on(server: Server, task: str, release: str | None) -> None:
    batch = {"event_source_id": "website", "events": [order(unique_key())]} if task == "log_event" else {}

    answer = call(server, "rest", task, batch | ({"adcp_version": release} if release else {}))

    assert answer["status"] == ("failed" if release else "completed")
    if release:
        assert error_of(answer)["field"] == "idempotency_key"


def test_an_agent_of_3_0_is_offered_only_words_that_it_knows(server: Server) -> None:
    old, new = (call(server, "rest", "get_adcp_capabilities", pinned(release)) for release in ("3.0", "3.2"))

    types = [answer["media_buy"]["conversion_tracking"]["supported_event_types"] for answer in (old, new)]
    assert set(types[1]) - set(types[0]) == {"follow", "content_view", "watch_milestone"}
