"""Servers of other sellers, as the conformance suite meets them: a real one behind a proxy that changes its answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from tests.conftest import Server

__all__ = ["Call", "Dress", "Reply", "Way", "refused", "rest_seller", "stateful_seller", "wearing"]

_HTTP = httpx2.Client(timeout=60)


@dataclass(frozen=True)
class Reply:
    """What is answered."""

    status: int
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Call:
    """A call of a task, on its way to the real server."""

    server: Server
    task: str
    arguments: dict[str, Any]
    key: str | None

    @property
    def events(self) -> list[Any]:
        """The events that it logs."""
        return list(self.arguments.get("events", ()))

    def forward(self, key: str | None = None, **changed: Any) -> Reply:
        """What the real server says, with another key or other arguments; one that is None is left out."""
        told = {name: value for name, value in {**self.arguments, **changed}.items() if value is not None}
        headers = {"Authorization": said} if (said := key or self.key) else {}
        answer = _HTTP.post(f"{self.server.url}/v1/{self.task}", json=told, headers=headers)
        kept = {name: answer.headers[name] for name in ("WWW-Authenticate",) if name in answer.headers}
        return Reply(answer.status_code, kept, answer.json())


Way = Callable[[Call], Reply]
"""How a server answers a call."""

Dress = Callable[[dict[str, Any]], Reply]
"""How a server puts an answer into an MCP message."""


def refused(code: str) -> Reply:
    """A call that failed as a whole."""
    error = {"code": code, "message": "It failed.", "recovery": "correctable"}
    return Reply(400, {}, {"status": "failed", "adcp_error": error, "errors": [error]})


@contextmanager
def rest_seller(server: Server, way: Way) -> Iterator[str]:
    """A REST server that answers in some way; gives its URL."""

    def answer(handler: BaseHTTPRequestHandler, body: Any) -> Reply:
        task = handler.path.rpartition("/")[2]
        return way(Call(server, task, body, handler.headers["Authorization"]))

    with _listening(answer) as url:
        yield url


def wearing(server: Server, dress: Dress) -> AbstractContextManager[str]:
    """An MCP server without sessions that dresses its answers; gives its URL."""

    def answer(handler: BaseHTTPRequestHandler, body: Any) -> Reply:
        if body["method"] != "tools/call":
            return Reply(200, {}, {"jsonrpc": "2.0", "id": body["id"], "error": {"code": -32601, "message": "No."}})
        call = Call(server, body["params"]["name"], body["params"]["arguments"], handler.headers["Authorization"])
        reply = call.forward()
        return reply if reply.status == 401 else dress(reply.body)

    return _listening(answer)


def stateful_seller(server: Server) -> AbstractContextManager[str]:
    """An MCP server that wants a session to be opened first; gives its URL."""

    def answer(handler: BaseHTTPRequestHandler, body: Any) -> Reply:
        session = handler.headers["Mcp-Session-Id"]
        if body["method"] == "initialize":
            result = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
            return Reply(200, {"Mcp-Session-Id": "one"}, {"jsonrpc": "2.0", "id": body["id"], "result": result})
        if session != "one":
            return Reply(400, {}, {"jsonrpc": "2.0", "error": {"code": -32000, "message": "No session."}, "id": None})
        if body["method"] == "notifications/initialized":
            return Reply(202, {}, None)
        call = Call(server, body["params"]["name"], body["params"]["arguments"], handler.headers["Authorization"])
        result = {"structuredContent": call.forward().body, "content": []}
        return Reply(200, {}, {"jsonrpc": "2.0", "id": body["id"], "result": result})

    return _listening(answer)


@contextmanager
def _listening(answer: Callable[[BaseHTTPRequestHandler, Any], Reply]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reply = answer(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            told = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in ({"Content-Type": "application/json"} | reply.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def do_DELETE(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()
