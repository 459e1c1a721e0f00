"""HTTP/1.1 connections as uvicorn reads them, with bounds that it lacks: on heads, on time, and on their number."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable, Sized
from functools import partial
from typing import Any, Literal
from uuid import uuid4

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from postback.errors import InvalidRequest, Overloaded, PostbackError, RequestTimeout, StartupError
from postback.transports.responses import failure_response

__all__ = [
    "BODY_GRACE_SECONDS",
    "HEAD_SECONDS",
    "MOST_WAITING",
    "UNREAD_SECONDS",
    "BoundedProtocol",
    "GatheredWrites",
    "bounded_protocol",
    "close_overdue",
]

HEAD_SECONDS = 10
"""How long a request's line and headers may take, from the connection or the first byte on."""

BODY_GRACE_SECONDS = 20
"""After so long a body must have come at ``_BODY_BYTES_A_SECOND`` on average, and one that was refused must be over."""

UNREAD_SECONDS = 30
"""After so long in which the caller took nothing of a response, its connection is closed."""

MOST_WAITING = 16
"""Requests of one connection that may wait behind one at work."""

_BODY_BYTES_A_SECOND = 1_000
_MAX_HEAD_BYTES = 65_536

_UNREAD_BYTES = 64_000_000
"""So much of a body is still received after it was refused, and dropped, so that its sender sees why."""

_NOT_HTTP = (
    "The request is not valid HTTP/1.1. Send headers of the form 'Name: value', and state the length of the body "
    "either by Content-Length or by Transfer-Encoding: chunked."
)

_MOST_DESCRIPTORS = 65_536
_LEAST_DESCRIPTORS = 1_024
_KEPT_DESCRIPTORS = 600
"""For the stores: the engine of the event store alone opens about 500 files."""

_log = logging.getLogger("postback.connections")
_log.setLevel(logging.ERROR)  # uvicorn warns of what strangers send, a line each; the answer says it to them


class GatheredWrites(asyncio.Transport):
    """A transport that sends what is written in one turn of the event loop together: a response's head and its body.

    Each alone would cost a system call and a packet, and wake the caller for half a response.

    Args:
        transport: What sends it.
        loop: The event loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes | bytearray | memoryview] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes, at the latest in the loop's next turn."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)

    def flush(self) -> None:
        """Send what was written now; nothing if the caller has gone."""
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():
            self._transport.writelines(parts)

    @property
    def unsent(self) -> int:
        """Bytes that were written and that the caller has not taken."""
        return sum(map(len, self._parts)) + self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close it at once, and drop what is not sent."""
        self._parts.clear()
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close it, after what was written is sent."""
        self.flush()
        self._transport.close()


class _PipelineFull(Exception):
    """Ends the parsing of a connection."""


class _PipelineFlow(FlowControl):
    """Reads nothing while requests wait: uvicorn reads on after each response, and whenever one at work asks to."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class BoundedProtocol(HttpToolsProtocol):
    """A connection that is closed when it has no place, or when the caller takes too long.

    Attributes:
        awaits: What the server waits for: a head, a body, or the next request of a connection that was answered; None
            while a request is at work.
        since: When it began to wait for that, by the loop's clock.
    """

    def __init__(self, most: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _log
        self._most = most
        self.awaits: Literal["head", "body", "request"] | None = "head"
        self.since = self.loop.time()
        self._received = 0
        self._full = False
        self._unsent = 0
        self._taken_at = self.since

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.flow = _PipelineFlow(transport, self.pipeline)
        self._writes = self.transport = GatheredWrites(transport, self.loop)
        if len(self.connections) > self._most and not _make_place(self):
            self._refuse(Overloaded("All connections are in use.", retry_after=1))

    def data_received(self, data: bytes) -> None:
        if self._full:
            return
        if self.awaits == "request":
            self._await("head")
        if self.awaits:
            self._received += len(data)
        else:  # it is early, and the rest can wait
            self.flow.pause_reading()
        super().data_received(data)
        if self.awaits == "head" and self._received > _MAX_HEAD_BYTES and not self.transport.is_closing():
            error = f"The request line and headers are larger than {_MAX_HEAD_BYTES:,} bytes. Send fewer."
            self._refuse(InvalidRequest(error))
        elif self.is_refused_body and self._received > _UNREAD_BYTES:
            self.transport.close()

    def on_headers_complete(self) -> None:
        if len(self.pipeline) == MOST_WAITING:
            self._full = True
            self.cycle.keep_alive = False  # so the last response says that none follows
            raise _PipelineFull
        self._await("body")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.awaits = None
        if self.cycle.response_complete:
            self._await("request")
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._writes.flush()
        if self.awaits is None and not self.pipeline:
            self._await("request")
        elif self.awaits == "body":  # of a request that was refused; measured anew, as only its rest is dropped
            self._await("body")
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn answers, as plain text, to bytes that it can't parse: here a failure like any other."""
        if not self._full:
            self._refuse(InvalidRequest(_NOT_HTTP))

    def close_if_overdue(self, now: float) -> None:
        """Close the connection if the head or body that is awaited takes too long, or nobody reads the response."""
        if self._is_unread(now):
            self._writes.abort()
            return
        if self.flow.read_paused:  # it is the server that takes its time
            self.since = now
        seconds = now - self.since
        if self.awaits == "head" and seconds > HEAD_SECONDS:
            if self._received:
                self._refuse(RequestTimeout(f"The request line and headers took longer than {HEAD_SECONDS} seconds."))
            else:
                self.transport.close()
        elif self.is_refused_body:
            if seconds > BODY_GRACE_SECONDS:
                self.transport.close()
        elif self.awaits == "body":
            least = (seconds - BODY_GRACE_SECONDS) * _BODY_BYTES_A_SECOND
            if self._received < least:
                self._refuse(RequestTimeout(f"The body came at less than {_BODY_BYTES_A_SECOND:,} bytes a second."))

    @property
    def is_refused_body(self) -> bool:
        """Whether only the rest of a body is awaited whose request was answered; it is dropped."""
        return self.awaits == "body" and self.cycle.response_complete

    @property
    def makes_way(self) -> bool:
        """Whether it may be closed for another: nothing of a caller with a key is under way."""
        if self.awaits != "body" or self.is_refused_body:
            return self.awaits is not None
        exchange: Any = self.cycle.scope.get("postback.exchange")
        return not self.pipeline and (exchange is None or exchange.share is None)

    def _is_unread(self, now: float) -> bool:
        """Whether the caller has taken nothing of what waits for it, for too long."""
        unsent, before = self._writes.unsent, self._unsent
        if not unsent or unsent < before:
            self._taken_at = now
        self._unsent = unsent
        return now - self._taken_at > UNREAD_SECONDS

    def _await(self, what: Literal["head", "body", "request"]) -> None:
        self.awaits = what
        self.since = self.loop.time()
        self._received = 0

    def _refuse(self, error: PostbackError) -> None:
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            request_id = uuid4().hex
            response = failure_response(error, request_id)
            response.headers.update({"X-Request-Id": request_id, "Connection": "close"})
            headers = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
            phrase = _PHRASES[error.status]
            self.transport.write(b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (error.status, phrase, headers, bytes(response.body)))
        self.transport.close()


_PHRASES = {400: b"Bad Request", 408: b"Request Timeout", 503: b"Service Unavailable"}


def bounded_protocol() -> Callable[..., BoundedProtocol]:
    """What makes a connection's protocol, with as many places as this process may open files.

    Raises:
        StartupError: It may open too few.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if allowed < _LEAST_DESCRIPTORS:
        raise StartupError(
            f"This process may open {allowed:,} files; Postback needs {_LEAST_DESCRIPTORS:,}, of which the event store "
            f"takes about 500. Raise the limit: ulimit -n {_MOST_DESCRIPTORS}, or LimitNOFILE= in a unit of systemd."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return partial(BoundedProtocol, allowed - _KEPT_DESCRIPTORS)


def close_overdue(connections: set[Any], now: float) -> None:
    """Close the connections whose callers take too long; ``now`` is by the loop's clock."""
    for connection in list(connections):
        connection.close_if_overdue(now)


def _make_place(newest: BoundedProtocol) -> bool:
    """Close the connection that is missed least; returns whether there is one.

    That is the one that has waited longest, of bodies that were refused if there are some.
    """
    others = [each for each in newest.connections if isinstance(each, BoundedProtocol) and each is not newest]
    waiting = [each for each in others if each.makes_way]
    if not waiting:
        return False
    min(waiting, key=lambda each: (not each.is_refused_body, each.since)).transport.close()
    return True
