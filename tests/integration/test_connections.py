"""Connections of strangers: they are bounded, they have deadlines, and they keep nobody else out."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.acceptance.conversions import order
from tests.conftest import free_port

from postback.transports.connections import BODY_GRACE_SECONDS, HEAD_SECONDS

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

_DESCRIPTORS = 1024
_LIMITED = ("sh", "-c", f'ulimit -n {_DESCRIPTORS} && exec "$@"', "sh")


@pytest.fixture(scope="module")
def bounded(start_server: StartServer) -> Server:
    """A server that may open 1,024 files, with a source."""
    running = start_server(*_LIMITED)
    running.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    return running


def connect(server: Server) -> socket.socket:
    url = urlsplit(server.url)
    return socket.create_connection((url.hostname, url.port), timeout=60)


def logged(server: Server, event_id: str) -> bool:
    with server.client() as client:
        sent = client.post("/v1/log_event", json={"event_source_id": "website", "events": [order(event_id)]})
        found = client.get(f"/v1/events/website/purchase/{event_id}")
    return sent.status_code == found.status_code == 200


def closed(connection: socket.socket) -> bytes:
    """What is still to be read; returns when the server has closed the connection."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def answered(answer: bytes) -> tuple[bytes, str]:
    """The status of a response in JSON, and its reason."""
    head, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)["adcp_error"]
    return head.split(b" ")[1], error.get("details", {}).get("reason", error["code"])


def test_connections_that_send_nothing_stop_nobody(bounded: Server) -> None:
    """957 of them left a query of the engine hanging for good."""
    with ExitStack() as stack:
        opened = [stack.enter_context(connect(bounded)) for _ in range(957)]
        assert logged(bounded, "among_many")
        assert len(list(Path(f"/proc/{bounded.process.pid}/fd").iterdir())) < _DESCRIPTORS
        assert opened

    assert logged(bounded, "after_many")


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/v1/log_event", ""),
        ("/v1/log_event", "Content-Length: 64000000\r\n\r\n{"),
        ("/mcp", "Content-Length: 64000\r\n\r\n{"),
    ],
    ids=["half a head", "a body that was refused", "a body without a key"],
)
def test_calls_get_through_while_strangers_take_every_place(bounded: Server, path: str, sent: str) -> None:
    with ExitStack() as stack:
        for _ in range(600):
            stack.enter_context(connect(bounded)).sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{sent}".encode())
        for number in range(5):
            assert logged(bounded, f"between_{path}_{len(sent)}_{number}")
            for _ in range(50):
                stack.enter_context(connect(bounded))


Awaited = dict[str, Future[tuple[bytes, float]]]
"""The answers of some callers, and after how many seconds they got them."""


@pytest.fixture(scope="module")
def awaited(bounded: Server) -> Iterator[Awaited]:
    """Callers who take their time. All begin at once, since each waits for a deadline."""
    head = f"POST /v1/log_event HTTP/1.1\r\nHost: x\r\nx-adcp-auth: {bounded.key}\r\nConnection: close\r\n"
    body = json.dumps({"event_source_id": "website", "events": [order("slow_body")]}).encode()
    spaces, seconds = b" " * 2_000, BODY_GRACE_SECONDS + 3
    slowly = [f"{head}Content-Length: {seconds * len(spaces) + len(body)}\r\n\r\n".encode(), *[spaces] * seconds, body]
    sent = {
        "nothing": [],
        "half a head": [b"POST /v1/log_event HTTP/1.1\r\nHost: x\r\n"],
        "half a body": [f"{head}Content-Length: 100000\r\n\r\n{{".encode()],
        "a slow body": slowly,
    }

    def converse(pieces: list[bytes]) -> tuple[bytes, float]:
        started = time.monotonic()
        with connect(bounded) as connection:
            for piece in pieces:
                connection.sendall(piece)
                if piece is spaces:
                    time.sleep(1)
            return closed(connection), time.monotonic() - started

    with ThreadPoolExecutor(len(sent)) as callers:
        yield {name: callers.submit(converse, pieces) for name, pieces in sent.items()}


def test_a_head_has_a_deadline(awaited: Awaited) -> None:
    silent, _ = awaited["nothing"].result()
    slow, seconds = awaited["half a head"].result()

    assert silent == b""
    assert answered(slow) == (b"408", "REQUEST_TIMEOUT")
    assert seconds > HEAD_SECONDS - 1


def test_a_body_that_stalls_has_a_deadline_and_a_slow_one_has_not(awaited: Awaited) -> None:
    stalled, _ = awaited["half a body"].result()
    slow, seconds = awaited["a slow body"].result()

    assert answered(stalled) == (b"408", "REQUEST_TIMEOUT")
    assert slow.startswith(b"HTTP/1.1 200")
    assert seconds > BODY_GRACE_SECONDS


def test_a_server_with_too_few_descriptors_says_so(tmp_path: Path) -> None:
    limited = ("sh", "-c", 'ulimit -n 1000 && exec "$@"', "sh")
    command = [*limited, sys.executable, "-m", "postback", "serve", "--data", str(tmp_path), "--port", str(free_port())]

    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert refused.returncode == 2
    assert "1,000 files" in refused.stderr
    assert "ulimit -n" in refused.stderr


def test_the_soft_limit_is_raised(start_own_server: StartServer) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = start_own_server("sh", "-c", 'ulimit -S -n 512 && exec "$@"', "sh")

    assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[0] == min(hard, 65_536)
