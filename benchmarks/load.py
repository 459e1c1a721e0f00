"""A REST client that costs little: prepared bodies over a few kept connections."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from statistics import median, quantiles

import msgspec

from benchmarks.events import Batches
from benchmarks.processes import Endpoint
from benchmarks.server import Server

__all__ = ["Load", "send_batches", "send_for", "send_until_refused", "store_for", "store_while"]

_CONNECTIONS = 4
"""Enough to keep every core of a small server busy: while some batches are judged, another is stored or read."""


_UNAVAILABLE = 503
_PAUSE_SECONDS = 1
"""As a 503 asks for: so long a client waits when the log is full."""


class Refused(Exception):
    """The server has no room for another call."""


@dataclass(frozen=True, slots=True)
class Load:
    """What was sent and acknowledged.

    Attributes:
        events: Events acknowledged.
        seconds: From the first byte sent to the last answer.
        answered_in: Seconds of each call.
        client_s: The client's CPU time, in seconds.
        server_s: The server's CPU time, in seconds.
        last_events: The event_id of the last event that each connection had acknowledged.
        drain_s: Seconds from the last answer until everything acknowledged was in the store.
    """

    events: int
    seconds: float
    answered_in: list[float]
    client_s: float
    server_s: float
    last_events: list[str]
    drain_s: float = 0.0

    @property
    def acknowledged_rate(self) -> float:
        """Events a second that were acknowledged."""
        return self.events / self.seconds

    @property
    def rate(self) -> float:
        """Events a second that were stored: until all were there."""
        return self.events / (self.seconds + self.drain_s)

    @property
    def median_s(self) -> float:
        """Seconds of a call, at the median."""
        return median(self.answered_in)

    @property
    def p99_s(self) -> float:
        """Seconds of a call, at the 99th percentile."""
        return quantiles(self.answered_in, n=100, method="inclusive")[98]


@dataclass(slots=True)
class _Connection:
    """One connection: the seconds of each batch that was acknowledged, and the number of the last one."""

    answered_in: list[float] = field(default_factory=list)
    last: int | None = None

    def send(
        self,
        more: Callable[[], bool],
        endpoint: Endpoint,
        batches: Batches,
        numbers: Iterator[int],
        *,
        patient: bool = True,
    ) -> None:
        """Send one batch after the other; one that the server has no room for again, or raise Refused."""
        with closing(http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=60)) as connection:
            while more():
                number = next(numbers)
                body = batches.body(number)
                started = time.perf_counter()
                status, answer = _post(connection, body, endpoint)
                while status == _UNAVAILABLE:
                    if not patient:
                        raise Refused
                    time.sleep(_PAUSE_SECONDS)
                    status, answer = _post(connection, body, endpoint)
                seconds = time.perf_counter() - started
                if msgspec.json.decode(answer).get("events_processed") != batches.events:
                    raise RuntimeError(f"a batch was not accepted as a whole: {answer[:1000]!r}")
                self.answered_in.append(seconds)
                self.last = number


def _post(connection: http.client.HTTPConnection, body: bytes, endpoint: Endpoint) -> tuple[int, bytes]:
    connection.request("POST", "/v1/log_event", body, dict(endpoint.headers))
    response = connection.getresponse()
    return response.status, response.read()


def store_for(seconds: float, server: Server, batches: Batches, numbers: Iterator[int]) -> Load:
    """Send batches for so many seconds, then wait until the store has them: its time and its work count.

    Events are stored in the order in which they are acknowledged, so it has all when it has each connection's last.
    """
    deadline = time.perf_counter() + seconds
    return store_while(lambda: time.perf_counter() < deadline, server, batches, numbers)


def store_while(more: Callable[[], bool], server: Server, batches: Batches, numbers: Iterator[int]) -> Load:
    """The same as long as ``more`` says so, which each connection asks before each batch."""
    load, before = _send(more, server, batches, numbers), server.cpu_s()
    drain_s = server.wait_until_stored(load.last_events)
    return replace(load, drain_s=drain_s, server_s=load.server_s + server.cpu_s() - before)


def send_for(seconds: float, endpoint: Endpoint, batches: Batches, numbers: Iterator[int]) -> Load:
    """Send batches for so many seconds; ``numbers`` gives each its own."""
    deadline = time.perf_counter() + seconds
    return _send(lambda: time.perf_counter() < deadline, endpoint, batches, numbers)


def send_batches(count: int, endpoint: Endpoint, batches: Batches, numbers: Iterator[int]) -> Load:
    """Send so many batches."""
    left = iter(range(count))
    return _send(lambda: next(left, None) is not None, endpoint, batches, numbers)


def send_until_refused(endpoint: Endpoint, batches: Batches, numbers: Iterator[int]) -> tuple[int, str]:
    """Send batches over one connection until the server has no room for another.

    Returns:
        The number of events that were acknowledged, and the event_id of the last one.
    """
    connection = _Connection()
    with suppress(Refused):
        connection.send(lambda: True, endpoint, batches, numbers, patient=False)
    if connection.last is None:
        raise RuntimeError("the server had no room for one batch")
    return len(connection.answered_in) * batches.events, batches.last_event_id(connection.last)


def _send(more: Callable[[], bool], endpoint: Endpoint, batches: Batches, numbers: Iterator[int]) -> Load:
    connections = [_Connection() for _ in range(_CONNECTIONS)]
    before, cpu, started = endpoint.cpu_s(), time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(_CONNECTIONS) as threads:
        list(threads.map(lambda connection: connection.send(more, endpoint, batches, numbers), connections))
    seconds, client_s = time.perf_counter() - started, time.process_time() - cpu
    answered_in = [seconds for connection in connections for seconds in connection.answered_in]
    return Load(
        events=len(answered_in) * batches.events,
        seconds=seconds,
        answered_in=answered_in,
        client_s=client_s,
        server_s=endpoint.cpu_s() - before,
        last_events=_last(connections, batches),
    )


def _last(connections: Sequence[_Connection], batches: Batches) -> list[str]:
    return [batches.last_event_id(connection.last) for connection in connections if connection.last is not None]
