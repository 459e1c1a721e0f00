"""Calls over MCP, beside the official SDK's server with a handler that only counts."""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import httpx2
import msgspec
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from benchmarks.events import Batches
from benchmarks.processes import Endpoint, free_port, running
from benchmarks.report import Goal, Section, Table
from benchmarks.server import serving
from benchmarks.size import Size

__all__ = ["measure"]

_SDK_SIZES = (1, 100, 500)
"""Events in a call to the SDK's server. It refuses 1,000: its validator takes 10,000 JSON nodes, about 550 events."""

_COMPARED_AT = 100
_LEAST_RATIO = 25
_MOST_SECONDS = 1


@dataclass(frozen=True, slots=True)
class _Calls:
    """Calls of one size to one server by one client.

    Attributes:
        server: Its name.
        client: ``official`` or ``plain``.
        events: Events in a call.
        calls: How many calls.
        median_s: Seconds that one took.
        server_s: The server's CPU time for one, in seconds.
    """

    server: str
    client: str
    events: int
    calls: int
    median_s: float
    server_s: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.median_s

    @property
    def server_share(self) -> float:
        """The server's CPU time as a share of the time that a call took; beyond 1 if it works on several cores."""
        return self.server_s / self.median_s


def measure(size: Size, folder: Path) -> Section:
    """Measure both servers by the official client and by plain HTTP, one call after the other."""
    numbers = count()
    with serving(folder / "server") as server, _sdk_server(folder) as sdk:
        ours = list(_measured("Postback", server, size.mcp_calls, numbers))
        reference = list(_measured("reference", sdk, dict.fromkeys(_SDK_SIZES, size.sdk_calls), numbers))
    compared = {calls.client: calls.rate for calls in reference if calls.events == _COMPARED_AT}
    full = [calls for calls in ours if calls.events == max(size.mcp_calls)]
    return Section(
        title="Calls over MCP",
        method=(
            "log_event with an idempotency key, one call after the other. Postback stores the events; the reference is "
            "a handler on the official SDK's server (adcp.server, which validates) that only counts them, in a process "
            "of its own. The official client is the mcp library's: it builds, validates and parses each message, and "
            "this time is in both servers' figures, so it bounds the ratio that it can show. The plain client posts "
            "prepared JSON-RPC. The server's share is the CPU time of the server's processes for a call, divided by "
            "the time that the call took; the rest is the client, and waiting. Times are medians. The last column "
            f"compares with the reference's {_COMPARED_AT} events by the same client."
        ),
        table=Table(
            (
                "server, client, events in a call",
                "calls",
                "a call",
                "server CPU",
                "server's share",
                "events/s",
                "times the reference",
            ),
            [_row(calls, calls.rate / compared[calls.client]) for calls in (*ours, *reference)],
        ),
        goals=[goal for calls in full for goal in _goals(calls, calls.rate / compared[calls.client])],
    )


def _row(calls: _Calls, ratio: float) -> tuple[str, ...]:
    return (
        f"{calls.server}, {calls.client}, {calls.events:,}",
        f"{calls.calls}",
        f"{calls.median_s * 1000:,.1f} ms",
        f"{calls.server_s * 1000:,.1f} ms",
        f"{calls.server_share:.2f}",
        f"{calls.rate:,.0f}",
        f"{ratio:,.1f}",
    )


def _goals(calls: _Calls, ratio: float) -> Iterator[Goal]:
    sent = f"{calls.events:,} events in a call by the {calls.client} client"
    yield Goal(
        f"{sent}: at least {_LEAST_RATIO} times the reference's events/s at {_COMPARED_AT}",
        f"{ratio:.1f}",
        ratio >= _LEAST_RATIO,
    )
    yield Goal(f"{sent}: in under {_MOST_SECONDS} s", f"{calls.median_s:.2f} s", calls.median_s < _MOST_SECONDS)


def _measured(name: str, endpoint: Endpoint, sizes: Mapping[int, int], numbers: Iterator[int]) -> Iterator[_Calls]:
    for events, calls in sizes.items():
        batches = Batches(events)
        official, server_s = anyio.run(_call_officially, endpoint, batches, calls, numbers)
        yield _Calls(name, "official", events, calls, median(official), server_s / calls)
        plain, server_s = _call_plainly(endpoint, batches, calls, numbers)
        yield _Calls(name, "plain", events, calls, median(plain), server_s / calls)


async def _call_officially(
    endpoint: Endpoint, batches: Batches, calls: int, numbers: Iterator[int]
) -> tuple[list[float], float]:
    """Seconds of each call by the official client, in one session, and the server's CPU seconds for all of them.

    The first call warms up and is left out.
    """
    async with (
        httpx2.AsyncClient(headers=dict(endpoint.headers), timeout=60) as http,
        streamable_http_client(f"http://127.0.0.1:{endpoint.port}/mcp", http_client=http) as streams,
        ClientSession(streams[0], streams[1]) as session,
    ):
        await session.initialize()

        async def call() -> float:
            arguments = batches.arguments(next(numbers))
            started = time.perf_counter()
            result = await session.call_tool("log_event", arguments)
            seconds = time.perf_counter() - started
            assert isinstance(result, CallToolResult)
            _check(result.structured_content, batches)
            return seconds

        await call()
        before = endpoint.cpu_s()
        return [await call() for _ in range(calls)], endpoint.cpu_s() - before


def _call_plainly(
    endpoint: Endpoint, batches: Batches, calls: int, numbers: Iterator[int]
) -> tuple[list[float], float]:
    """The same by one HTTP connection and prepared messages."""
    headers = {**endpoint.headers, "Accept": "application/json, text/event-stream"}
    with closing(http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=60)) as connection:

        def call() -> float:
            params = {"name": "log_event", "arguments": msgspec.Raw(batches.body(next(numbers)))}
            message = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
            started = time.perf_counter()
            connection.request("POST", "/mcp", message, headers)
            answer = connection.getresponse().read()
            seconds = time.perf_counter() - started
            _check(msgspec.json.decode(answer)["result"]["structuredContent"], batches)
            return seconds

        call()
        before = endpoint.cpu_s()
        return [call() for _ in range(calls)], endpoint.cpu_s() - before


def _check(answer: dict[str, Any] | None, batches: Batches) -> None:
    if not answer or answer.get("events_processed") != batches.events:
        raise RuntimeError(f"a batch was not accepted as a whole: {str(answer)[:1000]}")


@contextmanager
def _sdk_server(folder: Path) -> Iterator[Endpoint]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.reference_agent", str(port)]
    with running(command, folder / "reference.log", f"http://127.0.0.1:{port}/.well-known/adcp-agents.json") as process:
        yield Endpoint(port=port, pids=[process.pid])
