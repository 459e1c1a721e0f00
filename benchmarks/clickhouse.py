"""Full batches with events on a ClickHouse server, beside the event store inside Postback; the engine's CPU apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.clickhouse_server import ClickHouseServer

from benchmarks.events import Batches
from benchmarks.load import Load, send_batches, store_for
from benchmarks.processes import Endpoint, free_port
from benchmarks.report import Section, Table
from benchmarks.server import serving
from benchmarks.size import Size

__all__ = ["clickhouse_server", "measure"]

_EVENTS = 10_000
_WARM_UP = 5
_ROUNDS = 2


@dataclass
class _Measured:
    """The loads of one kind of event store, and the CPU seconds of an engine in a process of its own."""

    loads: list[Load] = field(default_factory=list)
    engine_s: float = 0.0

    @property
    def events(self) -> int:
        return sum(load.events for load in self.loads)

    @property
    def rate(self) -> float:
        return self.events / sum(load.seconds + load.drain_s for load in self.loads)

    @property
    def server_s(self) -> float:
        return sum(load.server_s for load in self.loads)


def measure(size: Size, folder: Path) -> Section:
    """Measure both in turns."""
    batches, numbers = Batches(_EVENTS), count()
    inside, outside = _Measured(), _Measured()
    with clickhouse_server() as clickhouse:
        engine = Endpoint(port=clickhouse.port, pids=[clickhouse.process_id])
        for number in range(_ROUNDS):
            _measure_round(inside, size, folder / f"inside-{number}", {}, batches, numbers, lambda: 0.0)
            settings = {"POSTBACK_EVENTS": clickhouse.new_database()}
            _measure_round(outside, size, folder / f"outside-{number}", settings, batches, numbers, engine.cpu_s)
    whole_s = outside.server_s + outside.engine_s
    return Section(
        title="Events on a ClickHouse server",
        method=(
            f"Batches of {_EVENTS:,} events over REST, {_ROUNDS} times {size.stored_s:.0f} s for each, in turns, "
            "and until all are stored. The ClickHouse server is that of the tests (26.9), on the same machine and "
            "disk, over HTTP. Client, Postback and ClickHouse share the cores, so CPU seconds say more than rates: "
            "they are of the processes, for a million events."
        ),
        table=Table(
            ("", "stored", "CPU of Postback", "CPU of ClickHouse", "both"),
            [
                (
                    "inside Postback",
                    f"{inside.rate:,.0f}/s",
                    _per_million(inside.server_s, inside),
                    "",
                    _per_million(inside.server_s, inside),
                ),
                (
                    "ClickHouse server",
                    f"{outside.rate:,.0f}/s",
                    _per_million(outside.server_s, outside),
                    _per_million(outside.engine_s, outside),
                    _per_million(whole_s, outside),
                ),
            ],
        ),
    )


def _per_million(seconds: float, measured: _Measured) -> str:
    return f"{seconds / measured.events * 1e6:.1f} s"


@contextmanager
def clickhouse_server() -> Iterator[ClickHouseServer]:
    """A ClickHouse server on an empty folder, until the block is left."""
    server = ClickHouseServer(free_port())
    try:
        yield server
    finally:
        server.stop()


def _measure_round(
    measured: _Measured,
    size: Size,
    folder: Path,
    settings: Mapping[str, str],
    batches: Batches,
    numbers: Iterator[int],
    engine_s: Callable[[], float],
) -> None:
    with serving(folder, settings=settings) as server:
        warm_up = send_batches(_WARM_UP, server, batches, numbers)
        before = engine_s()
        load = store_for(size.stored_s, server, batches, numbers)
        measured.engine_s += engine_s() - before
        measured.loads.append(load)
        server.check_stored(warm_up.events + load.events)
