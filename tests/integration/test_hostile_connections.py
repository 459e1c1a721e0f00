"""Connections that break HTTP, stall, or carry bombs: answered, closed, forgotten; and memory stays flat."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.acceptance.conversions import order

from postback.cli.serve import IDLE_SECONDS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Server, StartServer

_LIMIT = 64_000_000
_BODY = b'{"event_source_id":"website","events":[]}'


def _head(server: Server, *headers: bytes, path: bytes = b"/v1/log_event") -> bytes:
    lines = (b"POST %s HTTP/1.1" % path, b"Host: x", b"Authorization: Bearer " + server.key.encode(), *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _connect(server: Server) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=60)


def _exchange(server: Server, sent: bytes, *, hang_up: bool = False) -> bytes:
    """Send bytes, and perhaps the end of all bytes; returns what comes back until the server closes the connection."""
    with _connect(server) as connection:
        connection.sendall(sent)
        if hang_up:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def _check_refused_as_http(answer: bytes) -> None:
    """Check that the answer is a failure like any other, in JSON and with a request id."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.decode().splitlines()
    fields = dict(line.lower().split(": ", 1) for line in headers)
    assert status.startswith("HTTP/1.1 400")
    assert (fields["content-type"], fields["connection"]) == ("application/json", "close")
    failure = json.loads(body)
    assert failure["adcp_error"]["code"] == "INVALID_REQUEST"
    assert failure["ext"]["postback"]["request_id"] == fields["x-request-id"]


def _still_answers(server: Server) -> bool:
    return server.call("get_adcp_capabilities").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [b"Content-Length: -1"],
        [b"Content-Length: many"],
        [b"Content-Length: 99999999999999999999999"],
        [b"Content-Length: 41", b"Content-Length: 3"],
        [b"Content-Length: 41", b"Transfer-Encoding: chunked"],
        [b"Content-Length: 41", b"X: a\0b"],
        [b"Content-Length: 41", b"no colon"],
        [b"Content-Length: 41", b"transfer-encoding;: x"],
        [b"Content-Length: 41", b"Transfer-Encoding: ;"],
    ],
    ids=lambda headers: headers[-1].decode(),
)
def test_headers_that_contradict_http_are_refused(server: Server, headers: list[bytes]) -> None:
    _check_refused_as_http(_exchange(server, _head(server, *headers) + _BODY))
    assert _still_answers(server)


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 99, b"\0\xff" * 99 + b"\r\n\r\n"]
)
def test_what_is_not_http_is_refused(server: Server, sent: bytes) -> None:
    _check_refused_as_http(_exchange(server, sent))
    assert _still_answers(server)


def test_a_stranger_writes_no_line_into_the_log_by_what_is_not_http(server: Server) -> None:
    logged = server.log.read_text().count("WARNING")

    _exchange(server, b"hello\r\n\r\n")
    upgrade = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close, upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert _exchange(server, upgrade).startswith(b"HTTP/1.1 200")

    assert server.log.read_text().count("WARNING") == logged


def test_a_head_above_the_bound_is_refused_with_the_bound(server: Server) -> None:
    head, _, body = _exchange(server, b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 65_536).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400")
    assert "65,536 bytes" in json.loads(body)["adcp_error"]["message"]


@pytest.mark.parametrize("line", [b"X-Endless: ", b"POST /v1/"], ids=["header", "path"])
def test_a_head_that_does_not_end_is_cut_off(server: Server, line: bytes) -> None:
    head = b"" if line.startswith(b"POST") else _head(server)[:-2]

    with _connect(server) as connection, pytest.raises(ConnectionError):
        connection.sendall(head + line + b"x" * 50_000_000)

    assert _still_answers(server)


def test_a_head_of_ordinary_size_may_come_in_pieces(server: Server) -> None:
    head = _head(server, b"Content-Length: %d" % len(_BODY), b"X-Long: " + b"x" * 30_000, b"Connection: close")

    with _connect(server) as connection:
        for start in range(0, len(head), 5_000):
            connection.sendall(head[start : start + 5_000])
        connection.sendall(_BODY)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert b"events is empty" in answer


def test_a_length_too_short_is_answered_for_what_it_covers(server: Server) -> None:
    answer = _exchange(server, _head(server, b"Content-Length: %d" % (len(_BODY) - 1)) + _BODY)

    assert answer.startswith(b"HTTP/1.1 400")
    assert _still_answers(server)


def test_a_caller_that_promises_more_than_it_sends_costs_nothing(server: Server) -> None:
    assert _exchange(server, _head(server, b"Content-Length: %d" % (len(_BODY) + 1)) + _BODY, hang_up=True) == b""
    assert _still_answers(server)


def test_a_body_in_the_smallest_chunks_is_read(server: Server) -> None:
    body = json.dumps({"event_source_id": "website", "events": [order("chunked")]}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"

    answer = _exchange(server, _head(server, b"Transfer-Encoding: chunked", b"Connection: close") + chunks)

    assert b'"events_processed":1' in answer


@pytest.mark.parametrize("chunk", [b"zz\r\nabc\r\n", b"-1\r\n\r\n", b"ffffffffffffffffff\r\n", b"3\r\nabcdef\r\n"])
def test_chunks_that_are_none_end_the_exchange(server: Server, chunk: bytes) -> None:
    answer = _exchange(server, _head(server, b"Transfer-Encoding: chunked") + chunk)

    assert not answer.startswith(b"HTTP/1.1 2")
    assert _still_answers(server)


def test_a_body_that_never_ends_holds_up_nobody(server: Server) -> None:
    stalled = [_connect(server) for _ in range(50)]
    for connection in stalled:
        connection.sendall(_head(server, b"Content-Length: 1000") + b"{")

    assert _still_answers(server)

    for connection in stalled:
        connection.close()


def test_a_slow_body_is_answered_when_it_is_complete(server: Server) -> None:
    with _connect(server) as connection:
        connection.sendall(_head(server, b"Content-Length: %d" % len(_BODY), b"Connection: close"))
        for start in range(0, len(_BODY), 10):
            connection.sendall(_BODY[start : start + 10])
            time.sleep(0.05)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert b"events is empty" in answer


@pytest.mark.parametrize("path", [b"/v1/log_event", b"/mcp"])
def test_an_envelope_above_the_bound_is_refused_before_it_is_sent(server: Server, path: bytes) -> None:
    answer = _exchange(server, _head(server, b"Content-Length: 65000000", b"Connection: close", path=path))

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"larger than 64,000,000 bytes" in answer


def test_an_envelope_above_the_bound_in_chunks_is_refused_on_its_way(server: Server) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(66):
            yield b" " * 1_000_000

    with server.client() as client:
        response = client.post("/v1/log_event", content=body())

    assert response.status_code == 413


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "x" * 1_000, "gzip;q=1"])
@pytest.mark.parametrize("path", ["/v1/log_event", "/mcp"])
def test_an_unknown_coding_is_refused_with_those_that_work(server: Server, path: str, coding: str) -> None:
    with server.client(**{"Content-Encoding": coding}) as client:
        response = client.post(path, content=_BODY)

    assert response.status_code == 400
    assert "gzip, zstd" in response.json()["adcp_error"]["suggestion"]


def test_memory_stays_flat_under_bombs(start_server: StartServer) -> None:
    bombed = start_server()
    bombed.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()

    bombs = _bombs()

    for _ in range(2):  # what works in the background begins meanwhile, and takes memory of its own
        _throw(bombs, bombed)
    warm = resident(bombed)
    for _ in range(2):
        _throw(bombs, bombed)

    assert resident(bombed) < warm + 100_000_000
    assert resident(bombed, "VmHWM") < 1_000_000_000
    assert _still_answers(bombed)


def _bombs() -> list[tuple[int, bytes, str]]:
    """Small bodies that grow large, as the status that they get, the bytes, and the content coding."""
    event = json.dumps(order("bomb"))[:-1].encode()
    start = b'{"event_source_id":"website","events":['
    return [
        (413, gzip.compress(b" " * 2 * _LIMIT, 1), "gzip"),
        (413, zstd.compress(b" " * 4 * _LIMIT, 1), "zstd"),
        (413, gzip.compress(b'{"ext":[' + b"[]," * 20_000_000 + b"0]}", 1), "gzip"),
        (413, gzip.compress(b"{" + b",".join(b'"%d":0' % n for n in range(4_000_000)) + b"}", 1), "gzip"),
        (400, gzip.compress(start + b"0," * 30_000_000 + b"0]}", 1), "gzip"),
        (400, gzip.compress(b'{"ext":' + b"[" * 60_000_000, 1), "gzip"),
        (200, gzip.compress(start + event + b',"x":[' + b"[]," * 20_000_000 + b"0]}]}", 1), "gzip"),
        (200, gzip.compress(start + event + b',"x":"' + b"@" * 60_000_000 + b'"}]}', 1), "gzip"),
    ]


def _throw(bombs: list[tuple[int, bytes, str]], server: Server) -> None:
    for status, bomb, coding in bombs:
        with server.client(**{"Content-Encoding": coding}) as client:
            response = client.post("/v1/log_event", content=bomb)
        assert response.status_code == status, response.text
        if status == 200:
            assert response.json()["events_processed"] == 0


def resident(server: Server, line: str = "VmRSS") -> int:
    """The server's memory in bytes; of ``VmHWM``, the most that it ever was."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(rf"{line}:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def test_a_connection_outlasts_a_client_that_thinks_for_a_minute(server: Server) -> None:
    ask = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with _connect(server) as connection:
        for wait in (0, 6):  # longer than uvicorn's own limit
            time.sleep(wait)
            connection.sendall(ask)
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert (response.status, json.loads(response.read())) == (200, {"status": "ok"})
    assert IDLE_SECONDS > 60
