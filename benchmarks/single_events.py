"""Single events over REST from one connection and from many, beside a handler that stores nothing."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bare_handler import serving_bare_handler
from benchmarks.report import Goal, Section, Table
from benchmarks.server import Server, serving
from benchmarks.size import Size
from benchmarks.wrk import SingleEvents, Wrk

__all__ = ["measure"]

_MANY = 32
_MOST_P99_MS = 50
_LEAST_SHARE = 0.2
_LEAST_RATE = 1_500


def measure(size: Size, folder: Path) -> Section:
    """Measure one connection and many: without idempotency keys, with them, and the bare handler with them."""
    rows: list[tuple[str, ...]] = []
    keyed: dict[int, SingleEvents] = {}
    shares: dict[int, float] = {}
    wrk = Wrk(folder)
    with serving(folder / "server") as server, serving_bare_handler(folder) as bare:
        for connections in (1, _MANY):
            unkeyed = _send(wrk, server, connections, size.single_s, keyed=False)
            keyed[connections] = _send(wrk, server, connections, size.single_s, keyed=True)
            least = wrk.send(bare, connections, size.single_s)
            shares[connections] = keyed[connections].rate / least.rate
            rows += [
                _row(f"Postback without keys, {connections}", unkeyed, least),
                _row(f"Postback with keys, {connections}", keyed[connections], least),
                _row(f"bare handler, {connections}", least, least),
            ]
    one, many = keyed[1], keyed[_MANY]
    return Section(
        title="Single events over REST",
        method=(
            f"One event a call, never the same, sent by wrk from one thread for {size.single_s} s a row; the keys are "
            "idempotency keys, a fresh one for each call. The bare handler is Starlette on uvicorn, one process with "
            "the event loop and the HTTP parser of Postback: it decodes the same bodies, keys included, into typed "
            "structs with msgspec and answers JSON, and stores nothing. CPU is that of all of a server's processes."
        ),
        table=Table(("server, connections", "requests/s", "p50", "p99", "CPU a request", "of the bare handler"), rows),
        goals=[
            Goal(
                f"with keys, {_MANY} connections: p99 under {_MOST_P99_MS} ms",
                f"{many.p99_ms:.1f} ms",
                many.p99_ms < _MOST_P99_MS,
            ),
            Goal(
                f"with keys, {_MANY} connections: at least {_LEAST_SHARE} of the bare handler",
                f"{shares[_MANY]:.2f}",
                shares[_MANY] >= _LEAST_SHARE,
            ),
            Goal(
                f"with keys, 1 connection: at least {_LEAST_RATE:,} requests/s",
                f"{one.rate:,.0f}",
                one.rate >= _LEAST_RATE,
            ),
        ],
    )


def _send(wrk: Wrk, server: Server, connections: int, seconds: int, *, keyed: bool) -> SingleEvents:
    before = server.counters()["postback_events_accepted_total"]
    found = wrk.send(server, connections, seconds, keyed=keyed)
    accepted = server.counters()["postback_events_accepted_total"] - before
    if accepted < found.requests:
        raise RuntimeError(f"{found.requests} calls were answered, but {accepted:.0f} events were accepted")
    return found


def _row(name: str, found: SingleEvents, least: SingleEvents) -> tuple[str, ...]:
    return (
        name,
        f"{found.rate:,.0f}",
        f"{found.p50_ms:,.1f} ms",
        f"{found.p99_ms:,.1f} ms",
        f"{found.server_ms:.3f} ms",
        f"{found.rate / least.rate:.2f}",
    )
