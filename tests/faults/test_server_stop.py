"""SIGTERM under load: every call that was answered is stored, and nobody can keep the server from stopping."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from tests.acceptance.conversions import order
from tests.conftest import Server, StartServer, eventually
from tests.faults.buyers import Buyers, sent_events, stored_events
from tests.faults.kills import inserting, suspended_during
from tests.metrics import stages


def test_a_stop_under_load_loses_nothing(start_server: StartServer) -> None:
    server = start_server()
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    buyers = Buyers(server)
    with buyers.sending(persistently=False):
        buyers.wait_for_answers(30)
        with suspended_during(server.process, inserting(server.data, "event"), "an insert"):
            eventually(lambda: buyers.unanswered, "a call that is not answered")
            server.process.terminate()
        assert server.process.wait(timeout=60) == 0

    stored = stored_events(server)
    for body, _ in buyers.acknowledged.values():
        assert sent_events([body]).items() <= stored.items()
    assert len(stored) % len(sent_events([body])) == 0, "a call was stored by half"


def test_a_caller_that_never_finishes_does_not_hold_up_the_stop(start_server: StartServer) -> None:
    server = start_server()
    head = f"POST /v1/log_event HTTP/1.1\r\nHost: server\r\nx-adcp-auth: {server.key}\r\nContent-Length: 9\r\n\r\n"
    with closing(connection(server)) as idle, closing(connection(server)) as uploading:
        uploading.sendall(head.encode() + b'{"ev')
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: server\r\n\r\n")
        assert idle.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"

        server.stop()


def test_a_validation_worker_that_hangs_does_not_hold_up_the_stop(start_own_server: StartServer) -> None:
    server = start_own_server(validation_workers=1)
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    events = [order(f"hung_{number}") for number in range(60)]
    server.call("log_event", event_source_id="website", events=events).raise_for_status()
    [worker] = workers(server)
    os.kill(worker, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor() as caller:
            parsed = stages(server, "request")["parse"]
            call = caller.submit(server.call, "log_event", event_source_id="website", events=events)
            # What follows the parsing of its arguments is the worker's.
            eventually(lambda: stages(server, "request")["parse"] > parsed, "the validation of the call")

            server.process.terminate()

            assert server.process.wait(timeout=60) == 1
            assert call.result().status_code == 500, "the call was not at work"
        assert "The stop takes longer than 9 s" in server.log.read_text()
    finally:
        os.kill(worker, signal.SIGKILL)


def workers(server: Server) -> list[int]:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [int(child) for child in children if b"validation_worker" in Path(f"/proc/{child}/cmdline").read_bytes()]


def connection(server: Server) -> socket.socket:
    url = urlsplit(server.url)
    return socket.create_connection((url.hostname, url.port), timeout=60)
