"""Calls over MCP, beside the official SDK's server with a handler that only counts."""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from benchmarks.processes import free_port, running
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
class _Endpoint:
    """An MCP server, and what a client sends with each request."""

    name: str
    port: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Calls:
    """Calls of one size to one server by one client; ``median_s`` is the seconds that one took."""

    server: str
    client: str
    events: int
    calls: int
    median_s: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.median_s


def measure(size: Size, folder: Path) -> Section:
    """Measure both servers by the official client and by plain HTTP, one call after the other."""
    numbers = count()
    with serving(folder / "server") as server, _sdk_server(folder) as sdk:
        ours = _Endpoint("Postback", server.port, server.headers)
        measured = [
            *_measured(ours, size.mcp_calls, numbers),
            *_measured(sdk, dict.fromkeys(_SDK_SIZES, size.sdk_calls), numbers),
        ]
    reference = {c.client: c.rate for c in measured if c.server == sdk.name and c.events == _COMPARED_AT}
    largest = max(size.mcp_calls)
    full = [c for c in measured if c.server == ours.name and c.events == largest]
    return Section(
        title="Calls over MCP",
        method=(
            "log_event with an idempotency key, one call after the other. Postback stores the events; the reference is "
            "a handler on the official SDK's server (adcp.server, which validates) that only counts them, in a process "
            "of its own. The official client is the mcp library's, and has its own cost in each figure; the plain one "
            f"posts prepared JSON-RPC. Medians. The last column compares with the reference's {_COMPARED_AT} events by "
            "the same client."
        ),
        table=Table(
            ("server, client, events in a call", "calls", "a call", "events/s", "times the reference"),
            [
                (
                    f"{c.server}, {c.client}, {c.events:,}",
                    f"{c.calls}",
                    f"{c.median_s * 1000:,.1f} ms",
                    f"{c.rate:,.0f}",
                    f"{c.rate / reference[c.client]:,.1f}",
                )
                for c in measured
            ],
        ),
        goals=[goal for calls in full for goal in _goals(calls, calls.rate / reference[calls.client])],
    )


def _goals(calls: _Calls, ratio: float) -> Iterator[Goal]:
    sent = f"{calls.events:,} events in a call by the {calls.client} client"
    yield Goal(
        f"{sent}: at least {_LEAST_RATIO} times the reference's events/s at {_COMPARED_AT}",
        f"{ratio:.1f}",
        ratio >= _LEAST_RATIO,
    )
    yield Goal(f"{sent}: in under {_MOST_SECONDS} s", f"{calls.median_s:.2f} s", calls.median_s < _MOST_SECONDS)


def _measured(endpoint: _Endpoint, sizes: Mapping[int, int], numbers: Iterator[int]) -> Iterator[_Calls]:
    for events, calls in sizes.items():
        batches = Batches(events)
        official = anyio.run(_call_officially, endpoint, batches, calls, numbers)
        yield _Calls(endpoint.name, "official", events, calls, median(official))
        yield _Calls(endpoint.name, "plain", events, calls, median(_call_plainly(endpoint, batches, calls, numbers)))


async def _call_officially(endpoint: _Endpoint, batches: Batches, calls: int, numbers: Iterator[int]) -> list[float]:
    """Seconds of each call by the official client, in one session; the first call warms up and is left out."""
    answered_in: list[float] = []
    async with (
        httpx2.AsyncClient(headers=dict(endpoint.headers), timeout=60) as http,
        streamable_http_client(f"http://127.0.0.1:{endpoint.port}/mcp", http_client=http) as streams,
        ClientSession(streams[0], streams[1]) as session,
    ):
        await session.initialize()
        for number, _ in zip(numbers, range(calls + 1), strict=False):
            arguments = batches.arguments(number)
            started = time.perf_counter()
            result = await session.call_tool("log_event", arguments)
            answered_in.append(time.perf_counter() - started)
            assert isinstance(result, CallToolResult)
            _check(result.structured_content, batches)
    return answered_in[1:]


def _call_plainly(endpoint: _Endpoint, batches: Batches, calls: int, numbers: Iterator[int]) -> list[float]:
    """The same by one HTTP connection and prepared messages."""
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=60)
    headers = {**endpoint.headers, "Accept": "application/json, text/event-stream"}
    answered_in: list[float] = []
    for number, _ in zip(numbers, range(calls + 1), strict=False):
        params = {"name": "log_event", "arguments": msgspec.Raw(batches.body(number))}
        message = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        started = time.perf_counter()
        connection.request("POST", "/mcp", message, headers)
        answer = connection.getresponse().read()
        answered_in.append(time.perf_counter() - started)
        _check(msgspec.json.decode(answer)["result"]["structuredContent"], batches)
    connection.close()
    return answered_in[1:]


def _check(answer: dict[str, Any] | None, batches: Batches) -> None:
    if not answer or answer.get("events_processed") != batches.events:
        raise RuntimeError(f"a batch was not accepted as a whole: {str(answer)[:1000]}")


@contextmanager
def _sdk_server(folder: Path) -> Iterator[_Endpoint]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.reference_agent", str(port)]
    with running(command, folder / "reference.log", f"http://127.0.0.1:{port}/.well-known/adcp-agents.json"):
        yield _Endpoint("reference", port, {"Content-Type": "application/json"})
