"""A system of the seller, that takes forwarded events or refuses them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Upstream", "upstream"]


@dataclass
class Upstream:
    """What it got, and how it answers events: with ``answers`` first, then with 200; those that it holds, never."""

    port: int = 0
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    holds: Callable[[dict[str, Any]], bool] = lambda _body: False
    body: Iterable[bytes] = ()
    received: list[dict[str, Any]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The requests with events."""
        return [request for request in self.received if "event_sources" not in request["body"]]

    @property
    def declarations(self) -> list[dict[str, Any]]:
        """The requests with declarations of sources."""
        return [request for request in self.received if "event_sources" in request["body"]]

    @property
    def url(self) -> str:
        """Where events are posted to."""
        return f"http://127.0.0.1:{self.port}/take"

    def seller_config(self, event_source_id: str) -> str:
        """The seller's file by which events of this source are forwarded here."""
        return (
            f'[[forwards]]\nname = "crm"\nevent_source_id = "{event_source_id}"\nurl = "{self.url}"\n'
            "allow_private = true\n"
        )

    def event_ids(self) -> set[str]:
        """The events that it took."""
        taken = [request for request in self.requests if request["status"] == 200]
        return {event["event_id"] for request in taken for event in request["body"]["events"]}


@contextmanager
def upstream(port: int = 0) -> Iterator[Upstream]:
    """Runs one, on any port or on this."""
    state = Upstream()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            if len(sent) < int(self.headers["Content-Length"]):  # the server was killed meanwhile
                return
            body = json.loads(sent)
            status, headers = state.answers.pop(0) if state.answers and "event_sources" not in body else (200, {})
            state.received.append({"body": body, "headers": dict(self.headers), "path": self.path, "status": status})
            if state.holds(body):
                state.closing.wait()
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            with suppress(ConnectionError):
                self.end_headers()
                for part in state.body:
                    self.wfile.write(part)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    state.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        state.closing.set()
        server.shutdown()
        server.server_close()
