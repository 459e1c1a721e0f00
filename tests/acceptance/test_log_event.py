"""What becomes of each event: accepted, failed with a reason, warned about, or already known."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import DOORS, Door, ago, call, fresh_source, log, order
from tests.acceptance.official import unique_key

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

EMAIL = sha256(b"ada@buyer.example").hexdigest()

# What is wrong with an order → (reason, field).
FAILURES: list[tuple[dict[str, Any], str, str]] = [
    ({"event_id": None}, "INVALID_REQUEST", "event_id"),
    ({"event_id": ""}, "INVALID_REQUEST", "event_id"),
    ({"event_id": "x" * 257}, "INVALID_REQUEST", "event_id"),
    ({"event_id": "ada@buyer.example"}, "INVALID_REQUEST", "event_id"),
    ({"event_id": 17}, "INVALID_REQUEST", "event_id"),
    ({"event_type": None}, "INVALID_REQUEST", "event_type"),
    ({"event_type": "bought"}, "INVALID_EVENT_TYPE", "event_type"),
    ({"event_type": "custom"}, "INVALID_REQUEST", "custom_event_name"),
    ({"event_time": None}, "INVALID_REQUEST", "event_time"),
    ({"event_time": "2026-11-23T10:00:00"}, "INVALID_EVENT_TIME", "event_time"),
    ({"event_time": 1_795_000_000}, "INVALID_EVENT_TIME", "event_time"),
    ({"event_time": "2026-02-30T10:00:00Z"}, "INVALID_EVENT_TIME", "event_time"),
    ({"event_time": ago(days=91)}, "INVALID_EVENT_TIME", "event_time"),
    ({"event_time": "2099-01-15T14:30:00Z"}, "INVALID_EVENT_TIME", "event_time"),
    ({"action_source": "web"}, "INVALID_REQUEST", "action_source"),
    ({"event_source_url": "thanks.html"}, "INVALID_REQUEST", "event_source_url"),
    ({"custom_data": {"value": -1, "currency": "USD"}}, "INVALID_REQUEST", "custom_data.value"),
    ({"custom_data": {"value": "1", "currency": "USD"}}, "INVALID_REQUEST", "custom_data.value"),
    ({"custom_data": {"value": 1, "currency": "usd"}}, "INVALID_REQUEST", "custom_data.currency"),
    ({"custom_data": {"num_items": 1.5}}, "INVALID_REQUEST", "custom_data.num_items"),
    ({"custom_data": []}, "INVALID_REQUEST", "custom_data"),
    ({"user_match": {}}, "MISSING_USER_MATCH", "user_match"),
    ({"user_match": {"client_ip": "8.8.4.4"}}, "MISSING_USER_MATCH", "user_match"),
    ({"user_match": {"hashed_email": sha256(b"").hexdigest()}}, "MISSING_USER_MATCH", "user_match"),
    ({"user_match": {"hashed_email": "ada@buyer.example"}}, "INVALID_REQUEST", "user_match.hashed_email"),
    ({"user_match": {"hashed_phone": "+12065550199"}}, "INVALID_REQUEST", "user_match.hashed_phone"),
    ({"user_match": {"hashed_email": EMAIL, "email": "ada@buyer.example"}}, "INVALID_REQUEST", "user_match"),
    ({"user_match": {"uids": [{"type": "cookie", "value": "1"}]}}, "INVALID_REQUEST", "user_match.uids[0].type"),
    ({"user_match": EMAIL}, "INVALID_REQUEST", "user_match"),
]

# What is odd about an order that is accepted → the warning's code.
ODDITIES: list[tuple[dict[str, Any], str]] = [
    ({"user_match": None}, "MISSING_USER_MATCH"),
    ({"event_source_url": None}, "MISSING_EVENT_SOURCE_URL"),
    ({"custom_data": {"value": 3}}, "MISSING_CURRENCY"),
    ({"custom_data": {"order_id": "1"}}, "MISSING_VALUE"),
    ({"custom_data": None, "value": 3, "currency": "EUR"}, "MISPLACED_FIELD"),
    ({"user_match": {"hashed_email": f" {EMAIL.upper()} "}}, "REPAIRED_IDENTIFIER"),
    ({"user_match": {"hashed_email": f"sha256:{EMAIL}"}}, "REPAIRED_IDENTIFIER"),
    ({"user_match": {"hashed_email": EMAIL[:32], "click_id": "abc"}}, "UNSUPPORTED_HASH"),
    ({"user_match": {"hashed_email": sha256(b"null").hexdigest(), "click_id": "abc"}}, "JUNK_IDENTIFIER"),
    ({"user_match": {"hashed_email": EMAIL, "click_id": "{{gclid}}"}}, "UNEXPANDED_MACRO"),
    ({"user_match": {"hashed_email": "a" + "0" * 61 + "10"}}, "LOW_ENTROPY_IDENTIFIER"),
    (
        {"user_match": {"hashed_email": EMAIL, "client_ip": "192.168.0.7", "client_user_agent": "Mozilla/5.0"}},
        "PRIVATE_IP",
    ),
    ({"user_match": {"hashed_email": EMAIL, "client_ip": "8.8.4.4"}}, "INCOMPLETE_IP_MATCH"),
    ({"user_match": {"hashed_email": EMAIL, "cookie": "abc"}}, "UNKNOWN_IDENTIFIER"),
    ({"custom_data": {"value": 1, "currency": "EUR", "note": "for ada@buyer.example"}}, "REDACTED"),
]


def verdicts(server: Server, source: str, event_id: str, event_type: str = "purchase") -> list[dict[str, Any]]:
    with server.client() as client:
        return list(client.get(f"/v1/events/{source}/{event_type}/{event_id}").json()["statuses"])


@pytest.mark.parametrize("door", DOORS)
def test_each_event_fails_for_its_own_reason_and_the_others_are_taken(server: Server, door: Door) -> None:
    wrong = [order(f"wrong_{door}_{number}", **changes) for number, (changes, _, _) in enumerate(FAILURES)]
    batch = {"event_source_id": "website", "events": [*wrong, order(f"right_{door}")]}

    answer = call(server, door, "log_event", batch)

    assert (answer["events_received"], answer["events_processed"]) == (len(wrong) + 1, 1)
    told = [(f["index"], f["reason"], f["field"]) for f in answer["partial_failures"]]
    assert told == [(index, reason, f"events[{index}].{field}") for index, (_, reason, field) in enumerate(FAILURES)]
    for failure in answer["partial_failures"]:
        assert failure["message"].endswith(".")
        for secret in ("ada@", "5550199", EMAIL):
            assert secret not in str(failure)


def test_an_event_that_has_no_readable_id_is_told_by_its_place(server: Server) -> None:
    answer = log(server, "website", order("fine"), order("x", event_id=None), "no object", None)

    assert [failure["event_id"] for failure in answer["partial_failures"]] == ["index:1", "index:2", "index:3"]


def test_a_batch_that_fails_as_a_whole_is_still_answered_event_by_event(server: Server) -> None:
    answer = log(server, "website", order("1", event_time="noon"), order("2", event_type="bought"))

    assert (answer["status"], answer["events_processed"]) == ("completed", 0)
    assert len(answer["partial_failures"]) == 2


@pytest.mark.parametrize(("changes", "code"), ODDITIES)
def test_an_odd_event_is_taken_with_a_warning(server: Server, changes: dict[str, Any], code: str) -> None:
    event_id = unique_key()

    answer = log(server, "website", order(unique_key()), order(event_id, **changes))

    assert answer["events_processed"] == 2
    (warning,) = [w for w in answer["warnings"] if not w.startswith("LOW_MATCH_QUALITY")]
    assert warning.startswith(f"{code}: 1/2 events [1] ")
    assert ". Fix: " in warning or "; " in warning
    (verdict,) = verdicts(server, "website", event_id)
    assert (verdict["status"], verdict["warnings"]) == ("accepted", [code])


def test_warnings_are_grouped_so_that_many_events_make_one_sentence(server: Server) -> None:
    events = [order(f"grouped_{number}", user_match=None) for number in range(500)]

    warnings = log(server, "website", *events)["warnings"]

    assert [warning.split(" have ")[0] for warning in warnings][:1] == ["MISSING_USER_MATCH: 500/500 events [0,1,2,…]"]
    assert len(warnings) == 2


def test_the_quality_of_a_batch_is_what_its_identifiers_promise(server: Server) -> None:
    identified = {
        "hashed_email": {"hashed_email": EMAIL},
        "click_id": {"click_id": "EAIa", "click_id_type": "gclid"},
        "client_ip+client_user_agent": {"client_ip": "8.8.4.4", "client_user_agent": "Mozilla/5.0"},
    }
    events = [order(f"quality_{kind}", user_match=user_match) for kind, user_match in identified.items()]
    everything = order("quality_all", user_match={k: v for match in identified.values() for k, v in match.items()})

    answer = log(server, "website", *events, everything, order("quality_none", user_match=None))

    # The priors 0.8, 0.6 and 0.25; together 1 - 0.2 * 0.4 * 0.75 = 0.94.
    assert answer["match_quality"] == round((0.8 + 0.6 + 0.25 + 0.94 + 0) / 5, 3)
    assert answer["ext"]["postback"]["match_quality"]["coverage"] == dict.fromkeys(sorted(identified), 0.4)
    (verdict,) = verdicts(server, "website", "quality_all")
    assert sorted(verdict["identifiers"]) == sorted(identified)
    assert EMAIL not in str(verdict)


def test_the_first_copy_of_an_event_wins_inside_a_batch_and_across_batches(server: Server) -> None:
    first, second, third = ago(hours=3), ago(hours=2), ago(hours=1)

    inside = log(server, "website", order("copied", event_time=first), order("copied", event_time=second))
    (kept,) = verdicts(server, "website", "copied")
    across = log(server, "website", order("copied", event_time=third, user_match=None))

    assert (inside["events_processed"], across["events_processed"]) == (2, 1)
    assert inside["warnings"][0].startswith("DUPLICATE_DIFFERS: 1/2 events [1] ")
    assert any(warning.startswith("DUPLICATE_DIFFERS: 1/1 events [0] ") for warning in across["warnings"])
    assert kept["event_time"][:26] == first[:26]
    assert verdicts(server, "website", "copied") == [kept]


def test_the_same_id_is_another_event_in_another_type_or_source(server: Server) -> None:
    fresh_source(server, "second")
    log(server, "website", order("shared"), order("shared", event_type="refund"))
    log(server, "second", order("shared"))

    received = {
        verdicts(server, source, "shared", event_type)[0]["received_at"]
        for source, event_type in (("website", "purchase"), ("website", "refund"), ("second", "purchase"))
    }
    assert len(received) == 3


def test_an_event_that_failed_may_be_corrected_under_its_id(server: Server) -> None:
    log(server, "website", order("corrected", event_time="noon"))
    (rejected,) = verdicts(server, "website", "corrected")

    log(server, "website", order("corrected"))

    assert (rejected["status"], rejected["reason"]) == ("rejected", "INVALID_EVENT_TIME")
    assert [v["status"] for v in verdicts(server, "website", "corrected")] == ["accepted", "rejected"]


def test_test_events_stay_apart(server: Server) -> None:
    fresh_source(server, "tried")
    live_time, test_time = ago(hours=1), ago(hours=2)

    tested = log(server, "tried", order("o1", event_time=test_time), order("o2", event_time="x"), test_event_code="T1")
    log(server, "tried", order("o1"), test_event_code="T2")
    live = log(server, "tried", order("o1", event_time=live_time))
    log(server, "tried", order("o1", event_time=ago(hours=5)), test_event_code="T1")

    assert tested["events_processed"] == live["events_processed"] == 1
    assert tested["partial_failures"][0]["reason"] == "INVALID_EVENT_TIME"
    found = {v.get("test_event_code", "live"): v for v in verdicts(server, "tried", "o1")}
    assert found["live"]["event_time"][:26] == live_time[:26]
    assert found["T1"]["event_time"][:26] == test_time[:26]
    assert found.keys() == {"live", "T1", "T2"}
    source = next(
        source
        for source in call(server, "rest", "sync_event_sources", {})["event_sources"]
        if source["event_source_id"] == "tried"
    )
    assert source["health"]["events_received_24h"] == 1


def test_a_seller_may_require_to_know_who_acted(start_server: StartServer) -> None:
    strict = start_server(require_user_match=True)
    fresh_source(strict, "website")

    answer = log(strict, "website", order("known"), order("unknown", user_match=None))

    (failure,) = answer["partial_failures"]
    assert (failure["event_id"], failure["reason"]) == ("unknown", "MISSING_USER_MATCH")


def test_the_age_that_a_source_takes_can_be_changed_while_the_server_runs(server: Server) -> None:
    fresh_source(server, "archive")
    old = order("old", event_time=ago(days=400))
    assert log(server, "archive", old)["events_processed"] == 0

    server.command("sources", "set", "archive", "--account", "default", "--max-event-age-days", "500")
    fresh_source(server, "unrelated")  # a local change forgets what was looked up

    assert log(server, "archive", old)["events_processed"] == 1
