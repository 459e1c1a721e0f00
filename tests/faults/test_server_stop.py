"""SIGTERM under load: every call that was answered is stored, and nobody can keep the server from stopping."""

from __future__ import annotations

import socket
from contextlib import closing
from urllib.parse import urlsplit

from tests.conftest import Server, StartServer
from tests.faults.buyers import Buyers, sent_events, stored_events


def test_a_stop_under_load_loses_nothing(start_server: StartServer) -> None:
    server = start_server()
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    buyers = Buyers(server)
    with buyers.sending(persistently=False):
        buyers.wait_for_answers(30)
        server.stop()

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
        assert idle.recv(12) == b"HTTP/1.1 200"

        server.stop()


def connection(server: Server) -> socket.socket:
    url = urlsplit(server.url)
    return socket.create_connection((url.hostname, url.port), timeout=30)
