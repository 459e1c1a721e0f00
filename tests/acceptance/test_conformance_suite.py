"""A server is held to the suite: Postback passes it, and one that does a single thing wrong is found out."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from postback.errors import StartupError
from postback.suite.check import CHECKS
from postback.suite.run import Outcome, prepare, run
from postback.suite.seller import Seller

if TYPE_CHECKING:
    from tests.conftest import Server

ROOT = Path(__file__).parents[2]
Fault = Callable[[dict[str, Any], dict[str, Any]], None]


def outcomes(url: str, key: str) -> list[Outcome]:
    with Seller(url, key) as seller:
        prepare(seller)
        return list(run(seller))


@pytest.mark.parametrize("path", ["", "/mcp"], ids=["rest", "mcp"])
def test_postback_passes(server: Server, path: str) -> None:
    failed = [outcome for outcome in outcomes(f"{server.url}{path}", server.key) if outcome.result != "passed"]

    assert failed == []


def forget_context(_: dict[str, Any], answer: dict[str, Any]) -> None:
    answer.pop("context", None)


def fail_the_batch(_: dict[str, Any], answer: dict[str, Any]) -> None:
    if answer.get("partial_failures"):
        error = {"code": "INVALID_REQUEST", "message": "An event is wrong.", "recovery": "correctable"}
        answer.clear()
        answer.update(status="failed", adcp_error=error, errors=[error])


def repeat_what_was_sent(request: dict[str, Any], answer: dict[str, Any]) -> None:
    answer["message"] = json.dumps(request.get("events", [])[:2])


def count_duplicates_out(request: dict[str, Any], answer: dict[str, Any]) -> None:
    events = [event for event in request.get("events", []) if isinstance(event, dict)]
    if "events_processed" in answer and len({json.dumps(event) for event in events}) < len(events):
        answer["events_processed"] -= 1


def forget_replays(_: dict[str, Any], answer: dict[str, Any]) -> None:
    answer.pop("replayed", None)


def accept_every_test_event(request: dict[str, Any], answer: dict[str, Any]) -> None:
    if "test_event_code" in request:
        answer.pop("partial_failures", None)


def accept_everything(_: dict[str, Any], answer: dict[str, Any]) -> None:
    if answer.pop("partial_failures", None):
        answer["events_processed"] = answer["events_received"]


def speak_one_vocabulary(_: dict[str, Any], answer: dict[str, Any]) -> None:
    if answer.get("adcp_error", {}).get("code") in {"EVENT_SOURCE_NOT_FOUND", "REFERENCE_NOT_FOUND"}:
        answer["adcp_error"]["code"] = answer["errors"][0]["code"] = "NOT_FOUND"


FAULTS: dict[Fault, set[str]] = {
    forget_context: {"calls/context", "idempotency/replay"},
    fail_the_batch: {"partial/one-bad-event", "partial/all-failed", "time/naive", "test-events/same-answer"},
    repeat_what_was_sent: {"identifiers/clear-email"},
    count_duplicates_out: {"duplicates/counted-as-processed"},
    forget_replays: {"idempotency/replay"},
    accept_every_test_event: {"test-events/same-answer"},
    accept_everything: {"partial/one-bad-event", "types/unknown", "money/negative-value", "identifiers/malformed-hash"},
    speak_one_vocabulary: {"calls/unknown-source"},
}


@contextmanager
def faulty(server: Server, fault: Fault) -> Iterator[str]:
    """A server that answers as the real one does, but for one fault."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name: self.headers[name] for name in ("Authorization",) if name in self.headers}
            real = httpx2.post(f"{server.url}{self.path}", content=body, headers=headers, timeout=60)
            answer = real.json()
            fault(json.loads(body), answer)
            told = json.dumps(answer).encode()
            self.send_response(real.status_code)
            for name in ("WWW-Authenticate", "Content-Type"):
                if name in real.headers:
                    self.send_header(name, real.headers[name])
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_server_that_does_one_thing_wrong_is_found_out(server: Server, fault: Fault) -> None:
    with faulty(server, fault) as url:
        failed = {outcome.check.check_id for outcome in outcomes(url, server.key) if outcome.result == "failed"}

    assert failed >= FAULTS[fault]


def test_a_wrong_key_is_told_at_once(server: Server) -> None:
    with Seller(server.url, "wrong") as seller, pytest.raises(StartupError, match="Check --key"):
        prepare(seller)


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with Seller("http://127.0.0.1:9", "key") as seller, pytest.raises(StartupError, match="can't be reached"):
        prepare(seller)


def test_the_command_tells_programs(server: Server) -> None:
    command = [sys.executable, "-m", "postback", "conformance", f"{server.url}/mcp", "--key", server.key, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    rows = json.loads(done.stdout)
    assert done.returncode == 0
    assert [row["check"] for row in rows] == [check.check_id for check in CHECKS]
    assert {row["result"] for row in rows} == {"passed"}


def test_every_check_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "conformance-suite.md").read_text()

    assert [line for line in page.splitlines() if line.startswith("| `")] == [
        f"| `{check.check_id}` | {check.level} | {check.demand} |" for check in CHECKS
    ]
