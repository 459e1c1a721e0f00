"""A server is held to the suite: Postback passes it, and one that does a single thing wrong is found out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from tests.acceptance.conversions import ago
from tests.acceptance.other_sellers import Call, Dress, Reply, Way, refused, rest_seller, stateful_seller, wearing

from postback.conformance.check import CHECKS
from postback.conformance.run import CheckOutcome, prepare, run
from postback.conformance.seller import Seller
from postback.conformance.transports import TransportName, open_transport
from postback.errors import StartupError

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

ROOT = Path(__file__).parents[2]
QUICK = {check.check_id for check in CHECKS if "thousand" not in check.check_id and "too-many" not in check.check_id}


@pytest.fixture(scope="module")
def sandbox(start_server: StartServer) -> Server:
    return start_server(sandbox="true")


def outcomes(url: str, key: str, names: set[str], transport: TransportName | None = None) -> dict[str, CheckOutcome]:
    """What becomes of some checks."""
    with Seller(open_transport(url, transport), key) as seller:
        prepare(seller)
        chosen = [check for check in CHECKS if check.check_id in names]
        return {outcome.check.check_id: outcome for outcome in run(seller, chosen)}


@pytest.mark.parametrize("path", ["", "/mcp"], ids=["rest", "mcp"])
def test_postback_passes(sandbox: Server, path: str) -> None:
    found = outcomes(f"{sandbox.url}{path}", sandbox.key, {check.check_id for check in CHECKS})

    assert [outcome for outcome in found.values() if outcome.result != "passed"] == []
    assert len(found) == len(CHECKS)


def test_what_counts_is_skipped_where_it_can_not_be_seen(server: Server) -> None:
    found = outcomes(server.url, server.key, QUICK)

    skipped = {name for name, outcome in found.items() if outcome.result == "skipped"}
    assert skipped == {name for name in QUICK if name.startswith("counted/")}


def changing_answers(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Way:
    """A server that changes what the real one answers, by the call's arguments."""

    def way(call: Call) -> Reply:
        reply = call.forward()
        change(call.arguments, reply.body)
        return reply

    return way


def changing_events(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Way:
    """A server that takes each event for another one."""

    def way(call: Call) -> Reply:
        if call.task != "log_event":
            return call.forward()
        return call.forward(events=[change(event) if isinstance(event, dict) else event for event in call.events])

    return way


def answer_strangers(call: Call) -> Reply:
    return call.forward(key=f"Bearer {call.server.key}")


def serve_any_version(call: Call) -> Reply:
    return call.forward(adcp_version=None, adcp_major_version=None)


def take_a_thousand_events(call: Call) -> Reply:
    return refused("INVALID_REQUEST") if len(call.events) > 1_000 else call.forward()


def take_any_number_of_events(call: Call) -> Reply:
    if call.task == "log_event" and not call.events:
        return Reply(200, {}, {"status": "completed", "events_received": 0, "events_processed": 0})
    return call.forward(events=call.events[:10_000] or None)


def forget_keys(call: Call) -> Reply:
    return call.forward(idempotency_key=str(uuid4()))


def keep_keys_of_failures() -> Way:
    kept: set[str] = set()

    def way(call: Call) -> Reply:
        key = str(call.arguments.get("idempotency_key"))
        if key in kept:
            return refused("IDEMPOTENCY_CONFLICT")
        reply = call.forward()
        if reply.body["status"] == "failed":
            kept.add(key)
        return reply

    return way


def refuse_known_events(*, that_failed: bool) -> Way:
    """A server that holds an event_id against its event: every one that it knows, or one that failed."""
    known: set[str] = set()

    def way(call: Call) -> Reply:
        if call.task != "log_event":
            return call.forward()
        names = [event["event_id"] for event in call.events]
        repeated = [name for position, name in enumerate(names) if name in known or name in names[:position]]
        reply = call.forward()
        failed = {failure["event_id"] for failure in reply.body.get("partial_failures", ())}
        known.update(failed if that_failed else names)
        if repeated:
            reply.body["partial_failures"] = [{"event_id": name, "code": "X", "message": "Known."} for name in repeated]
        return reply

    return way


def take_an_id_for_one_event() -> Way:
    """A server that knows events by their event_id alone."""
    types: dict[str, str] = {}
    return changing_events(
        lambda event: event | {"event_type": types.setdefault(event["event_id"], event["event_type"])}
    )


def guess_times(event: dict[str, Any]) -> dict[str, Any]:
    try:
        if datetime.fromisoformat(event["event_time"]).tzinfo:
            return event
    except (TypeError, ValueError):
        pass
    return event | {"event_time": ago(minutes=5)}


def know_no_offsets(event: dict[str, Any]) -> dict[str, Any]:
    return event if event["event_time"].endswith("Z") else event | {"event_time": "yesterday"}


def take_any_type(event: dict[str, Any]) -> dict[str, Any]:
    return event | {"event_type": "purchase"}


def know_purchases_only(event: dict[str, Any]) -> dict[str, Any]:
    return event if event["event_type"] == "purchase" else event | {"event_type": "unknown"}


def forget_events(event: dict[str, Any]) -> dict[str, Any]:
    return event | {"event_id": f"{event['event_id']}-{uuid4()}"}


def take_test_events_for_live_ones(call: Call) -> Reply:
    return call.forward(test_event_code=None)


def forget_context(_: dict[str, Any], answer: dict[str, Any]) -> None:
    answer.pop("context", None)


def tell_errors_once(_: dict[str, Any], answer: dict[str, Any]) -> None:
    answer.pop("adcp_error", None)


def forget_replays(_: dict[str, Any], answer: dict[str, Any]) -> None:
    answer.pop("replayed", None)


def fail_the_batch(_: dict[str, Any], answer: dict[str, Any]) -> None:
    if answer.get("partial_failures"):
        answer.clear()
        answer |= refused("INVALID_EVENT_TYPE").body


def name_no_event(_: dict[str, Any], answer: dict[str, Any]) -> None:
    for failure in answer.get("partial_failures", ()):
        failure["event_id"] = "one of them"


def accept_everything(_: dict[str, Any], answer: dict[str, Any]) -> None:
    if answer.pop("partial_failures", None):
        answer["events_processed"] = answer["events_received"]


def accept_every_test_event(arguments: dict[str, Any], answer: dict[str, Any]) -> None:
    if "test_event_code" in arguments:
        accept_everything(arguments, answer)


def count_duplicates_out(arguments: dict[str, Any], answer: dict[str, Any]) -> None:
    events = [json.dumps(event) for event in arguments.get("events", ())]
    if "events_processed" in answer:
        answer["events_processed"] -= len(events) - len(set(events))


def repeat_what_was_sent(arguments: dict[str, Any], answer: dict[str, Any]) -> None:
    answer["message"] = json.dumps(arguments.get("events", [])[:2])


def return_unknown_codes(_: dict[str, Any], answer: dict[str, Any]) -> None:
    for told in [answer.get("adcp_error", {}), *answer.get("partial_failures", ())]:
        told["code"] = "WRONG"


_NO_PARTIAL_FAILURES = {"partial/one-bad-event", "partial/names-the-event", "types/not-of-the-source"}
_ERROR_CODES = {check.check_id for check in CHECKS if check.check_id.startswith("error-codes/")}

FAULTS: dict[str, tuple[Way, set[str]]] = {
    "answers strangers": (answer_strangers, {"calls/no-key", "calls/wrong-key"}),
    "serves any version": (serve_any_version, {"calls/version-unsupported", "calls/version-echo"}),
    "takes a thousand events": (take_a_thousand_events, {"calls/ten-thousand-events"}),
    "takes any number of events": (
        take_any_number_of_events,
        {"calls/no-events", "calls/too-many-events", "error-codes/too-many-events"},
    ),
    "forgets keys": (forget_keys, {"idempotency/replay", "idempotency/conflict", "idempotency/required"}),
    "keeps keys of failures": (keep_keys_of_failures(), {"idempotency/failure-frees-key"}),
    "refuses known events": (
        refuse_known_events(that_failed=False),
        {"duplicates/same-batch", "duplicates/later-batch"},
    ),
    "refuses events that failed": (refuse_known_events(that_failed=True), {"duplicates/failed-event"}),
    "takes an id for one event": (take_an_id_for_one_event(), {"counted/other-type"}),
    "guesses times": (
        changing_events(guess_times),
        {"time/naive", "time/epoch", "time/impossible", "counted/failed-event"},
    ),
    "knows no offsets": (changing_events(know_no_offsets), {"time/offset"}),
    "takes any type": (
        changing_events(take_any_type),
        {"types/unknown", "error-codes/event-type"} | _NO_PARTIAL_FAILURES,
    ),
    "knows purchases only": (changing_events(know_purchases_only), {"types/named-custom", "types/refund"}),
    "forgets events": (changing_events(forget_events), {"counted/duplicate", "partial/names-the-event"}),
    "takes test events for live ones": (take_test_events_for_live_ones, {"counted/test-event"}),
    "forgets the context": (changing_answers(forget_context), {"calls/context", "idempotency/replay"}),
    "tells errors once": (changing_answers(tell_errors_once), {"calls/error-shape"}),
    "forgets that it replays": (changing_answers(forget_replays), {"idempotency/replay"}),
    "fails the batch": (
        changing_answers(fail_the_batch),
        {"partial/all-failed", "test-events/same-answer"} | _NO_PARTIAL_FAILURES,
    ),
    "names no event": (changing_answers(name_no_event), {"partial/names-the-event"}),
    "accepts everything": (
        changing_answers(accept_everything),
        {"identifiers/malformed-hash", "identifiers/empty", "money/negative-value"} | _NO_PARTIAL_FAILURES,
    ),
    "accepts every test event": (changing_answers(accept_every_test_event), {"test-events/same-answer"}),
    "counts duplicates out": (changing_answers(count_duplicates_out), {"duplicates/counted-as-processed"}),
    "repeats what was sent": (changing_answers(repeat_what_was_sent), {"identifiers/unhashed-email"}),
    "returns unknown codes": (changing_answers(return_unknown_codes), _ERROR_CODES),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_does_one_thing_wrong_is_found_out(sandbox: Server, fault: str) -> None:
    way, found_by = FAULTS[fault]
    with rest_seller(sandbox, way) as url:
        found = outcomes(url, sandbox.key, found_by)

    assert {name for name, outcome in found.items() if outcome.result == "failed"} == found_by


def test_every_required_check_has_a_fault_that_it_finds() -> None:
    required = {check.check_id for check in CHECKS if check.level == "required"}

    assert required - set().union(*(found_by for _, found_by in FAULTS.values())) == set()


def as_events(answer: dict[str, Any]) -> Reply:
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "Working."}}
    told = {"jsonrpc": "2.0", "id": 1, "result": {"structuredContent": answer, "content": []}}
    text = "".join(f"event: message\ndata: {json.dumps(message)}\n\n" for message in (note, told))
    return Reply(200, {"Content-Type": "text/event-stream"}, f": hello\n\n{text}".encode())


def as_text(answer: dict[str, Any]) -> Reply:
    content = [{"type": "text", "text": "This is what came of it:"}, {"type": "text", "text": json.dumps(answer)}]
    return Reply(200, {}, {"jsonrpc": "2.0", "id": 1, "result": {"content": content}})


def as_rpc_errors(answer: dict[str, Any]) -> Reply:
    if answer["status"] != "failed":
        return as_text(answer)
    error = {"code": -32602, "message": "It failed.", "data": answer}
    return Reply(200, {}, {"jsonrpc": "2.0", "id": 1, "error": error})


def as_plain_errors(answer: dict[str, Any]) -> Reply:
    if answer["status"] != "failed":
        return as_text(answer)
    result = {"content": [{"type": "text", "text": "It failed."}], "isError": True}
    return Reply(200, {}, {"jsonrpc": "2.0", "id": 1, "result": result})


_READ = {"calls/no-key", "calls/context", "calls/error-shape", "calls/no-events", "partial/one-bad-event"}


@pytest.mark.parametrize("dress", [as_events, as_text, as_rpc_errors])
def test_mcp_is_understood_in_each_of_its_dresses(sandbox: Server, dress: Dress) -> None:
    with wearing(sandbox, dress) as url:
        found = outcomes(url, sandbox.key, _READ, "mcp")

    assert {outcome.result for outcome in found.values()} == {"passed"}


def test_an_error_in_plain_text_is_a_failure_without_a_code(sandbox: Server) -> None:
    with wearing(sandbox, as_plain_errors) as url:
        found = outcomes(url, sandbox.key, _READ, "mcp")

    assert {name for name in found if found[name].result == "failed"} == {"calls/context", "calls/error-shape"}
    assert "It failed." in found["calls/error-shape"].got


def test_a_session_is_opened_where_the_server_wants_one(sandbox: Server) -> None:
    with stateful_seller(sandbox) as url:
        found = outcomes(url, sandbox.key, {"calls/context", "idempotency/replay"}, "mcp")

    assert {outcome.result for outcome in found.values()} == {"passed"}


_LOGGING = {name for name in QUICK if not name.startswith("counted/")} | {"counted/duplicate"}
_COUNTS = {"events_received": 3, "events_processed": 2}
ODD_ANSWERS: dict[str, Any] = {
    "null": None,
    "a list": [1],
    "no JSON": b"<html>Bad gateway</html>",
    "no text": b"\xff\xfe",
    "endless nesting": b"[" * 100_000,
    "nothing in it": {},
    "half a surrogate pair": {"status": "\ud800"},
    "infinity": b'{"events_received": 1e999}',
    "failures are null": {**_COUNTS, "partial_failures": [None]},
    "failures are an object": {**_COUNTS, "partial_failures": {"a": 1}},
    "failures are text": {**_COUNTS, "partial_failures": "none"},
    "failures are a number": {**_COUNTS, "partial_failures": 5},
    "failures say nothing": {**_COUNTS, "partial_failures": [{}, {}]},
    "failures have odd members": {"partial_failures": [{"event_id": [1], "code": ["x"], "message": {}}]},
    "errors are an object": {"errors": {"x": 1}},
    "errors are null": {"errors": [None]},
    "errors are text": {"errors": "oops"},
    "the error is text": {"adcp_error": "oops"},
    "the error has odd members": {"adcp_error": {"code": ["x"], "recovery": {}}, "errors": [{"code": {}}]},
}


@pytest.mark.parametrize("odd", ODD_ANSWERS)
def test_an_odd_answer_fails_the_checks_that_get_it_and_ends_nothing(sandbox: Server, odd: str) -> None:
    def way(call: Call) -> Reply:
        return Reply(200, {}, ODD_ANSWERS[odd]) if call.task == "log_event" else call.forward()

    with rest_seller(sandbox, way) as url:
        found = outcomes(url, sandbox.key, _LOGGING)

    assert set(found) == _LOGGING
    assert found["partial/one-bad-event"].result == "failed"


def test_a_connection_that_breaks_off_fails_its_check_only(sandbox: Server) -> None:
    def way(call: Call) -> Reply:
        if len(call.events) == 3:
            raise ConnectionAbortedError
        return call.forward()

    with rest_seller(sandbox, way) as url:
        found = outcomes(url, sandbox.key, {"partial/one-bad-event", "partial/names-the-event"})

    assert found["partial/one-bad-event"].expected == "a response"
    assert found["partial/names-the-event"].result == "passed"


def test_a_server_that_goes_away_fails_what_is_left(sandbox: Server) -> None:
    with rest_seller(sandbox, Call.forward) as url:
        seller = Seller(open_transport(url), sandbox.key)
        prepare(seller)
    with seller:
        found = list(run(seller, [check for check in CHECKS if check.check_id in _READ]))

    assert [outcome.result for outcome in found] == ["failed"] * len(_READ)


@pytest.mark.parametrize(
    ("options", "account"),
    [
        (["--account", "acc_1"], {"account_id": "acc_1"}),
        (
            ["--brand", "acme.example", "--operator", "agency.example"],
            {"brand": {"domain": "acme.example"}, "operator": "agency.example"},
        ),
    ],
    ids=["by its id", "by its brand and operator"],
)
def test_the_account_that_is_named_is_sent_along(server: Server, options: list[str], account: dict[str, Any]) -> None:
    told: list[Any] = []

    def way(call: Call) -> Reply:
        told.append(call.arguments.get("account"))
        return call.forward() if call.task == "get_adcp_capabilities" else refused("ACCOUNT_NOT_FOUND")

    with rest_seller(server, way) as url:
        command = [sys.executable, "-m", "postback", "conformance", url, "--key", server.key, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert told == [None, account]


def test_a_wrong_key_is_told_at_once(server: Server) -> None:
    with (
        Seller(open_transport(server.url), "wrong") as seller,
        pytest.raises(StartupError, match="Check --key"),
    ):
        prepare(seller)


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with (
        Seller(open_transport("http://127.0.0.1:9"), "key") as seller,
        pytest.raises(StartupError, match="can't be reached"),
    ):
        prepare(seller)


def test_a_server_of_something_else_is_told_at_once(server: Server) -> None:
    with rest_seller(server, lambda _: Reply(200, {}, b"<html>Hello</html>")) as url:
        seller = Seller(open_transport(url), "key")
        with seller, pytest.raises(StartupError, match="does not respond like an AdCP server"):
            prepare(seller)


def test_the_newest_release_is_pinned_that_both_know(server: Server) -> None:
    def way(call: Call) -> Reply:
        reply = call.forward()
        if call.task == "get_adcp_capabilities":
            reply.body["adcp"]["supported_versions"] = ["3.0", "3.10", "3.1"]
        return reply

    with rest_seller(server, way) as url, Seller(open_transport(url), server.key) as seller:
        prepare(seller)

    assert seller.release == "3.1"


def test_the_command_tells_programs_that_postback_passes_over_a2a_too(sandbox: Server) -> None:
    command = [sys.executable, "-m", "postback", "conformance", f"{sandbox.url}/a2a", "--key", sandbox.key, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    rows = json.loads(done.stdout)
    assert done.returncode == 0
    assert [row["check"] for row in rows] == [check.check_id for check in CHECKS]
    assert {row["result"] for row in rows} == {"passed"}


def test_every_check_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "conformance-suite.md").read_text()

    assert [line for line in page.splitlines() if line.startswith("| `")] == [
        f"| `{check.check_id}` | {check.level} | {check.requirement} |" for check in CHECKS
    ]
