"""A proxy before ClickHouse or PostgreSQL that fails in the ways of networks and load balancers, when a test says so.

To ClickHouse a request is one of HTTP; to PostgreSQL it is whatever a client sends at once.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Fault", "FaultProxy"]

_CHUNK = 1 << 16
_MID_BODY = 300
"""Bytes of an insert's body that arrive before it is cut: the stream's schema, and nothing of its rows' end."""

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Fault:
    """What befalls requests.

    Attributes:
        kind: *refuse*: connections are closed at once. *busy*: the proxy itself answers 503. *cut*: the connection
            breaks in the middle of the body. *lose*: the server does what is asked, and its answer is lost. *delay*:
            the answer comes ``seconds`` later. *freeze*: nothing passes while it lasts, and everything afterwards.
        only: Bytes that the request's first line has; others pass.
        every: Of those only each so-manieth.
        seconds: Of the delay.
    """

    kind: Literal["refuse", "busy", "cut", "lose", "delay", "freeze"]
    only: bytes = b""
    every: int = 1
    seconds: float = 1.0


class FaultProxy:
    """Passes connections on to a port of this machine, until it is closed.

    Args:
        port: Where it listens.
        target: Where the server listens: a port of this machine, or a socket in the file system, as PostgreSQL's.
        tls: With a certificate: it speaks TLS to its clients.

    Attributes:
        fault: What befalls requests from now on; None for nothing.
        hits: How many requests something befell.
    """

    def __init__(self, port: int, target: int | Path, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self._http = isinstance(target, int)
        self._melted = threading.Event()
        self._melted.set()
        self.fault: Fault | None = None
        self.hits = 0
        self._seen = 0
        self._target = target
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", port), backlog=100)
        threading.Thread(target=self._accept, name="fault proxy", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()

    @contextmanager
    def failing(self, fault: Fault) -> Iterator[None]:
        """Let this befall requests until the block is left."""
        self.hits, self.fault = 0, fault
        if fault.kind == "freeze":
            self._melted.clear()
        try:
            yield
        finally:
            self.fault = None
            self._melted.set()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            if self.fault and self.fault.kind == "refuse":
                self.hits += 1
                return
            wrapped = self._tls.wrap_socket(client, server_side=True) if self._tls else client
            with wrapped, self._connected() as server:
                self._pass_requests(wrapped, server)

    def _connected(self) -> socket.socket:
        if isinstance(self._target, int):
            return socket.create_connection(("127.0.0.1", self._target))
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self._target))
        return server

    def _pass_requests(self, client: socket.socket, server: socket.socket) -> None:
        """One request after the other: what begins one decides what befalls it."""
        befallen: list[Fault | None] = [None]
        answers = threading.Thread(target=self._pass_answers, args=[server, client, befallen], daemon=True)
        answers.start()
        try:
            self._pass_requests_on(client, server, befallen)
        finally:  # also when the client reset its connection: what it had begun must end
            _shut(server, client)
            answers.join()

    def _pass_requests_on(self, client: socket.socket, server: socket.socket, befallen: list[Fault | None]) -> None:
        while data := client.recv(_CHUNK):
            if not self._http:
                befallen[0] = self._befalls(data)
            elif data.startswith((b"POST ", b"GET ")):
                befallen[0] = self._befalls(data.partition(b"\r\n")[0])
            kind = befallen[0].kind if befallen[0] else None
            if kind == "refuse":
                break
            if kind == "busy":
                client.sendall(_BUSY)
                break
            if kind == "freeze":
                self._melted.wait()
            if kind == "cut" and not self._http:
                server.sendall(data[: len(data) // 2])
                break
            if kind == "cut":
                head, separator, body = data.partition(b"\r\n\r\n")
                server.sendall(head + separator + body[:_MID_BODY])
                break
            server.sendall(data)

    def _pass_answers(self, server: socket.socket, client: socket.socket, befallen: list[Fault | None]) -> None:
        with suppress(OSError):
            while data := server.recv(_CHUNK):
                self._melted.wait()
                fault = befallen[0]
                if fault and fault.kind == "lose":
                    break
                if fault and fault.kind == "delay":
                    time.sleep(fault.seconds)
                    befallen[0] = None
                client.sendall(data)
        _shut(client, server)

    def _befalls(self, first_line: bytes) -> Fault | None:
        fault = self.fault
        if fault is None or fault.only not in first_line:
            return None
        self._seen += 1
        if self._seen % fault.every:
            return None
        self.hits += 1
        return fault


def _shut(*connections: socket.socket) -> None:
    for connection in connections:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
