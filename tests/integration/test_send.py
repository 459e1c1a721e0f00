"""A buyer's developer logs a file of events with `postback send`."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from postback.cli import main

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KEY = "pb_a_key_that_nobody_else_has"
EVENTS = [{"event_id": f"order_{n}", "event_type": "purchase", "custom_data": {"value": n}} for n in range(25)]

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Received:
    """A request, as the server saw it."""

    path: str
    authorization: str
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        return dict(json.loads(self.raw))

    @property
    def event_ids(self) -> list[str]:
        return [event["event_id"] for event in self.body["events"]]


@dataclass
class Server:
    """An HTTP server that keeps what it receives, and answers as the test says; else that all went well."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: list[Callable[[Received], Answer | None]] = field(default_factory=list)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            request = Received(self.path, self.headers["Authorization"], raw)
            state.received.append(request)
            answer = state.answers.pop(0)(request) if state.answers else accepted(request)
            if answer is None:
                self.close_connection = True
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


def accepted(request: Received, **members: Any) -> Answer:
    failures = members.get("partial_failures", [])
    received = len(request.body["events"])
    counts = {"events_received": received, "events_processed": received - len(failures)}
    return 200, {}, json.dumps({"status": "completed", **counts, **members}).encode()


def refused(status: int, **headers: str) -> Callable[[Received], Answer]:
    error = {"code": "SOME_CODE", "message": "A sentence.", "suggestion": "A remedy.", "recovery": "transient"}
    return lambda _: (status, headers, json.dumps({"status": "failed", "adcp_error": error}).encode())


def ndjson(*events: object) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events or EVENTS)


def send(server: Server, file: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["send", str(file), "--url", server.url, "--key", KEY, "--source", "web", *options])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "events.ndjson"
    path.write_bytes(ndjson())
    return path


def test_a_file_is_logged_in_batches_in_its_order(server: Server, file: Path) -> None:
    result = send(server, file, "--batch", "10")

    assert result.exit_code == 0
    assert "25 events: 25 accepted, 0 failed." in result.output
    assert [len(request.event_ids) for request in server.received] == [10, 10, 5]
    assert [event for request in server.received for event in request.body["events"]] == EVENTS
    assert {request.path for request in server.received} == {"/v1/log_event"}
    assert {request.authorization for request in server.received} == {f"Bearer {KEY}"}
    assert {request.body["event_source_id"] for request in server.received} == {"web"}


def test_account_and_test_event_code_are_passed_on(server: Server, file: Path) -> None:
    send(server, file, "--account", "acme", "--test-event-code", "TRY-1")

    (request,) = server.received
    assert request.body["account"] == {"account_id": "acme"}
    assert request.body["test_event_code"] == "TRY-1"


def test_a_gzipped_file_on_standard_input_is_read_too(server: Server) -> None:
    command = [sys.executable, "-m", "postback", "send", "-", "--url", server.url, "--key", KEY, "--source", "web"]

    run = subprocess.run(command, input=gzip.compress(ndjson()), capture_output=True, check=False)

    assert (run.returncode, run.stderr) == (0, b"")
    assert server.received[0].body["events"] == EVENTS


def test_a_file_of_another_system_is_read_without_its_marks(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\xef\xbb\xbf" + ndjson().replace(b"\n", b"\r\n\r\n"))

    assert send(server, file).exit_code == 0
    assert server.received[0].body["events"] == EVENTS


def test_an_empty_file_sends_nothing(server: Server, tmp_path: Path) -> None:
    (tmp_path / "empty.ndjson").touch()

    result = send(server, tmp_path / "empty.ndjson")

    assert (result.exit_code, server.received) == (0, [])
    assert "0 events: 0 accepted, 0 failed." in result.output


def test_the_same_file_has_the_same_idempotency_keys_in_every_run(server: Server, file: Path) -> None:
    for source in ("web", "web", "app"):
        send(server, file, "--batch", "20", "--source", source)

    first, second, again_first, again_second, other, _ = [r.body["idempotency_key"] for r in server.received]
    assert (first, second) == (again_first, again_second)
    assert len({first, second, other}) == 3
    assert re.fullmatch(r"[A-Za-z0-9_.:-]{16,255}", first)


def test_failures_are_told_by_reason_with_the_lines_of_the_file(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(ndjson(*EVENTS[:2]) + b'{"event_id": "cut\n\n' + ndjson(*EVENTS[2:4]))
    failure = {"index": 2, "reason": "INVALID_EVENT_TIME", "code": "VALIDATION_ERROR", "message": "Too old."}
    server.answers = [lambda request: accepted(request, partial_failures=[failure], warnings=["LOW: 3/4 events [0]"])]

    result = send(server, file)

    assert result.exit_code == 1
    assert server.received[0].body["events"] == EVENTS[:4]
    assert "5 events: 3 accepted, 2 failed." in result.output
    assert "INVALID_EVENT_TIME: 1\n    line 5: Too old." in result.output
    assert "MALFORMED_LINE: 1\n    line 3: " in result.output
    assert "LOW in 1 of 1 batches\n    lines 1-6: LOW: 3/4 events [0]" in result.output


@pytest.mark.parametrize("line", [b'{"value": NaN}', b'{"a": "\xff"}', b"{} {}", b"[" * 5000 + b"]" * 5000])
def test_a_line_that_is_not_json_does_not_spoil_its_batch(server: Server, tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(line + b"\n" + ndjson())

    assert "MALFORMED_LINE: 1\n    line 1: " in send(server, file).output
    assert server.received[0].body["events"] == EVENTS


def test_a_busy_server_gets_the_same_request_again(server: Server, file: Path) -> None:
    server.answers = [refused(503), refused(429, **{"Retry-After": "0"}), lambda _: None]

    result = send(server, file)

    assert result.exit_code == 0
    assert len(server.received) == 4
    assert len({request.raw for request in server.received}) == 1


def test_a_server_that_reads_less_gets_smaller_batches(server: Server, file: Path) -> None:
    server.answers = [refused(413)]

    result = send(server, file)

    assert result.exit_code == 0
    assert [len(request.event_ids) for request in server.received] == [25, 12, 13]
    assert "25 events: 25 accepted" in result.output


def test_an_event_that_is_too_large_alone_fails_and_the_rest_goes_on(server: Server, file: Path) -> None:
    server.answers = [refused(413)]

    result = send(server, file, "--batch", "1")

    assert result.exit_code == 1
    assert "25 events: 24 accepted, 1 failed." in result.output
    assert "REQUEST_TOO_LARGE: 1\n    line 1: " in result.output


def test_a_refused_request_stops_with_the_servers_words(server: Server, file: Path) -> None:
    server.answers = [accepted, refused(401)]

    result = send(server, file, "--batch", "10")

    assert result.exit_code == 2
    assert len(server.received) == 2
    assert "10 events: 10 accepted" in result.stdout
    assert "A sentence. A remedy." in result.stderr
    assert KEY not in result.output


def test_failures_of_an_earlier_run_are_judged_anew(server: Server, file: Path) -> None:
    old = [{"index": 0, "reason": "INVALID_EVENT_TYPE", "message": "Not taken then."}]
    server.answers = [lambda request: accepted(request, partial_failures=old, replayed=True)]

    result = send(server, file)

    assert result.exit_code == 0
    first, second = (request.body for request in server.received)
    assert first.pop("idempotency_key") != second.pop("idempotency_key")
    assert first == second


def test_a_server_of_something_else_is_not_believed(server: Server, file: Path) -> None:
    server.answers = [lambda _: (200, {}, b'{"ok": true}')]

    result = send(server, file)

    assert result.exit_code == 2
    assert "did not return a log_event response" in result.stderr
    assert "0 accepted" in result.stdout


def test_a_server_that_is_down_is_said_to_be(file: Path) -> None:
    result = send(Server(url="http://127.0.0.1:9"), file)

    assert result.exit_code == 2
    assert "Error: http://127.0.0.1:9 can't be reached" in result.stderr


@pytest.mark.parametrize("url", ["127.0.0.1:8787", "ftp://seller.example", "http://"])
def test_a_wrong_url_is_said_to_be(file: Path, url: str) -> None:
    result = send(Server(url=url), file)

    assert result.exit_code == 2
    assert "is not a valid URL" in result.stderr


def test_a_cut_archive_is_logged_up_to_the_cut(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson.gz"
    whole = gzip.compress(
        b"".join(ndjson({**event, "event_id": f"{event['event_id']}_{n}"}) for n in range(200) for event in EVENTS)
    )
    file.write_bytes(whole[: len(whole) // 2])

    result = send(server, file, "--batch", "100")

    assert result.exit_code == 2
    assert "can't be read after line" in result.stderr
    assert len(server.received) > 1


ORDERS = (
    "Bestellung;Datum;Summe;E-Mail;Status\r\n"
    "1001;25.11.2026 10:00;1.234,56;Ada@Buyer.example ;paid\r\n"
    "1002;25.11.2026 11:30;12,50;;paid\r\n"
    "1003;25.11.2026 11:30;zw\u00f6lf;;paid\r\n"
    "1004;25.11.2026\r\n"
    "1005;25.11.2026 11:30;7,00;;voided\r\n"
)
MAPPED = (
    *("--map", "event_id=Bestellung", "--map", "event_time=Datum", "--map", "custom_data.value=Summe"),
    *("--set", "event_type=purchase", "--set", "custom_data.currency=EUR", "--hash", "email"),
    *("--timezone", "Europe/Berlin", "--time-format", "%d.%m.%Y %H:%M", "--decimal", ",", "--where", "Status=paid"),
)
ADA = "5f393c37853104f6ddf83684b191ca0cdb7c2f173391ad8ec04e7cedfd41f1f7"


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    path = tmp_path / "orders.csv"
    path.write_bytes(ORDERS.encode("windows-1252"))
    return path


def test_the_rows_of_an_export_are_logged_as_events(server: Server, orders: Path) -> None:
    result = send(server, orders, *MAPPED)

    assert result.exit_code == 1, result.output
    (request,) = server.received
    assert request.body["events"] == [
        {
            "event_id": "1001",
            "event_type": "purchase",
            "event_time": "2026-11-25T10:00:00+01:00",
            "custom_data": {"currency": "EUR", "value": 1234.56},
            "user_match": {"hashed_email": ADA},
        },
        {
            "event_id": "1002",
            "event_type": "purchase",
            "event_time": "2026-11-25T11:30:00+01:00",
            "custom_data": {"currency": "EUR", "value": 12.5},
        },
    ]
    assert b"Ada" not in request.raw
    assert request.body["ext"] == {"postback": {"count_duplicates": "exact"}}
    assert "Read as CSV in Windows-1252, separated by semicolons." in result.output
    assert "4 events: 2 accepted, 2 failed." in result.output
    assert "E-mail addresses: 1 hashed, 1 row without one." in result.output
    assert "1 row was skipped. Only these are events: Status (paid)." in result.output
    rejected = orders.with_name("orders.csv.rejected.ndjson")
    noted = [json.loads(line) for line in rejected.read_text().splitlines()]
    assert [(line["row"], line["line"], line["field"]) for line in noted] == [(3, 4, "custom_data.value"), (4, 5, "")]
    assert "zw" not in rejected.read_text() + result.output


def test_a_table_without_a_mapping_is_told_what_to_say(server: Server, orders: Path) -> None:
    result = send(server, orders)

    assert (result.exit_code, server.received) == (2, [])
    assert "Say which column is event_id, event_type and event_time" in result.output
    assert "Its columns are 'Bestellung', 'Datum', 'Summe', 'E-Mail', 'Status'" in result.output


def test_a_dry_run_shows_the_first_events_and_sends_nothing(server: Server, orders: Path, tmp_path: Path) -> None:
    options = [*MAPPED, "--map", "user_match.click_id=Status", "--save-mapping", str(tmp_path / "shop.toml")]
    result = CliRunner().invoke(main, ["send", str(orders), "--dry-run", *options])
    again = CliRunner().invoke(main, ["send", str(orders), "--dry-run", "--mapping", str(tmp_path / "shop.toml")])

    assert (result.exit_code, server.received) == (1, [])
    assert '"event_id": "1001"' in result.output
    assert ADA in result.output
    assert '"click_id": "(SHA-256 ' in result.output
    assert "Ada" not in result.output
    assert "4 events: 2 would be accepted, 2 would fail." in result.output
    assert "Nothing was sent." in result.output
    assert again.stdout == result.stdout


@pytest.mark.parametrize("name", ["events.json", "events.parquet", "events.ndjson.zst"])
def test_events_are_read_from_files_of_other_kinds(server: Server, tmp_path: Path, name: str) -> None:
    content = {
        "events.json": json.dumps(EVENTS, indent=1).encode(),
        "events.ndjson.zst": zstd.compress(ndjson()),
    }
    (tmp_path / name).write_bytes(content.get(name, b""))
    if name == "events.parquet":
        pq.write_table(pa.Table.from_pylist(EVENTS), tmp_path / name)

    result = send(server, tmp_path / name)

    assert result.exit_code == 0, result.output
    assert server.received[0].body["events"] == EVENTS


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"PK\x03\x04" + bytes(500), "Excel workbook"),
        (bytes(range(256)) * 40, "is not text"),
        (b"\x1f\x8b\x08\x00 not gzip at all" * 10, "compressed data is damaged"),
    ],
    ids=["workbook", "bytes", "damaged"],
)
def test_what_holds_no_events_is_told_in_a_sentence(server: Server, tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "orders.csv").write_bytes(content)

    result = send(server, tmp_path / "orders.csv")

    assert (result.exit_code, server.received) == (2, [])
    assert told in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_a_folder_and_a_missing_file_are_told_in_a_sentence(server: Server, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.csv"):
        result = send(server, path)
        assert result.exit_code == 2
        assert isinstance(result.exception, SystemExit)


def test_the_file_itself_is_never_overwritten(server: Server, file: Path) -> None:
    result = send(server, file, "--rejects", str(file))

    assert result.exit_code == 2
    assert "would be overwritten" in result.output
    assert file.read_bytes() == ndjson()
