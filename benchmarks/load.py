"""A REST client that costs little: prepared bodies over a few kept connections."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

import msgspec

from benchmarks.events import Batches
from benchmarks.server import Server

__all__ = ["Load", "send_batches", "send_for"]

_CONNECTIONS = 4
"""Enough to keep every core of a small server busy: while some batches are judged, another is stored or read."""


@dataclass(frozen=True, slots=True)
class Load:
    """What was sent and acknowledged.

    Attributes:
        events: Events acknowledged.
        seconds: From the first byte sent to the last answer.
        answered_in: Seconds of each call.
        client_s: The client's CPU time, in seconds.
    """

    events: int
    seconds: float
    answered_in: list[float]
    client_s: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def median_s(self) -> float:
        """Seconds of a call, at the median."""
        return median(self.answered_in)


def send_for(seconds: float, server: Server, batches: Batches, numbers: Iterator[int]) -> Load:
    """Send batches for so many seconds; ``numbers`` gives each its own."""
    deadline = time.perf_counter() + seconds
    return _send(lambda: time.perf_counter() < deadline, server, batches, numbers)


def send_batches(count: int, server: Server, batches: Batches, numbers: Iterator[int]) -> Load:
    """Send so many batches."""
    left = iter(range(count))
    return _send(lambda: next(left, None) is not None, server, batches, numbers)


def _send(more: Callable[[], bool], server: Server, batches: Batches, numbers: Iterator[int]) -> Load:
    cpu, started = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(_CONNECTIONS) as threads:
        connections = [threads.submit(_send_over_one, more, server, batches, numbers) for _ in range(_CONNECTIONS)]
        answered_in = [seconds for connection in connections for seconds in connection.result()]
    seconds = time.perf_counter() - started
    return Load(len(answered_in) * batches.events, seconds, answered_in, time.process_time() - cpu)


def _send_over_one(more: Callable[[], bool], server: Server, batches: Batches, numbers: Iterator[int]) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    answered_in: list[float] = []
    while more():
        body = batches.body(next(numbers))
        started = time.perf_counter()
        connection.request("POST", "/v1/log_event", body, server.headers)
        answer = connection.getresponse().read()
        answered_in.append(time.perf_counter() - started)
        if msgspec.json.decode(answer).get("events_processed") != batches.events:
            raise RuntimeError(f"a batch was not accepted as a whole: {answer[:1000]!r}")
    connection.close()
    return answered_in
