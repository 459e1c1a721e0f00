"""A system of the seller, that takes forwarded events or refuses them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Upstream", "upstream"]


@dataclass
class Upstream:
    """What it got, and how it answers: ``answers`` first, then 200."""

    port: int = 0
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where events are posted to."""
        return f"http://127.0.0.1:{self.port}/take"

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
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers = state.answers.pop(0) if state.answers else (200, {})
            state.requests.append({"body": body, "headers": dict(self.headers), "path": self.path, "status": status})
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    state.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
