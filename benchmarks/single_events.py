"""Single events from many connections: what waits at the same time shares one durable insert."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import click
import msgspec

from benchmarks.events import BATCH, Batches
from benchmarks.report import Section, Table
from benchmarks.server import Server, serving
from benchmarks.size import Size

__all__ = ["measure", "require_wrk"]

_SCRIPT = Path(__file__).with_name("single_event.lua")
_CONNECTIONS = 32
_NUMBERS_A_RUN = 2**24


class _Run(msgspec.Struct):
    """What the script prints when it is done."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int


def require_wrk() -> None:
    """Fail, with the way out, when the load generator is missing."""
    if not shutil.which("wrk"):
        raise click.ClickException("The section 'single' needs wrk. Install it: apt-get install wrk")


def measure(size: Size, folder: Path) -> Section:
    """Measure one connection and many, without and with idempotency keys."""
    ways = [(connections, keyed) for keyed in (False, True) for connections in (1, _CONNECTIONS)]
    with serving(folder / "server") as server:
        rows = [_row(server, folder, number, *way, seconds=size.single_s) for number, way in enumerate(ways)]
    return Section(
        title="Single events over REST",
        method=(
            f"One event a call, never the same, sent by wrk from one thread for {size.single_s} s a row. Group commit "
            "is what the last column shows: calls that wait at the same time share an insert, and its flushes of the "
            "disk. A call with an idempotency key also waits until its answer is kept, in a second store."
        ),
        table=Table(("connections", "requests/s", "p50", "p99", "calls an insert"), rows),
    )


def _row(server: Server, folder: Path, run: int, connections: int, keyed: bool, *, seconds: int) -> tuple[str, ...]:
    before = server.counters()
    result = _wrk(server, folder, run, connections, keyed, seconds)
    counted = {name: value - before.get(name, 0) for name, value in server.counters().items()}
    accepted = counted["postback_events_accepted_total"]
    if result.failed or accepted < result.requests:
        raise RuntimeError(
            f"of {result.requests} calls {result.failed} failed, and {accepted:.0f} events were accepted"
        )
    shared = counted["postback_insert_calls_sum"] / counted["postback_insert_calls_count"]
    return (
        f"{connections}, {'with' if keyed else 'without'} idempotency keys",
        f"{result.requests / result.seconds:,.0f}",
        f"{result.p50_ms:,.1f} ms",
        f"{result.p99_ms:,.1f} ms",
        f"{shared:.1f}",
    )


def _wrk(server: Server, folder: Path, run: int, connections: int, keyed: bool, seconds: int) -> _Run:
    template = folder / "event.json"
    template.write_bytes(Batches(1, keyed=keyed).template)
    headers = [part for name, value in server.headers.items() for part in ("-H", f"{name}: {value}")]
    load = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(_SCRIPT)]
    script_arguments = [str(template), BATCH.decode(), str(run * _NUMBERS_A_RUN)]
    command = ["wrk", *load, *headers, f"{server.url}/v1/log_event", "--", *script_arguments]
    printed = subprocess.run(command, check=True, capture_output=True).stdout
    return msgspec.json.decode(printed.splitlines()[-1], type=_Run)
