"""One, two and four servers on one PostgreSQL and one ClickHouse: the CPU time of an event, by process."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from tests.clickhouse_server import ClickHouseServer

from benchmarks.clickhouse import clickhouse_server
from benchmarks.events import Batches
from benchmarks.load import send_batches, store_for
from benchmarks.postgresql import postgresql
from benchmarks.processes import Endpoint
from benchmarks.report import Section, Table
from benchmarks.server import serving
from benchmarks.size import Size
from benchmarks.wrk import Wrk

__all__ = ["measure"]

_SERVERS = (1, 2, 4)
_EVENTS = 10_000
_WARM_UP = 3
_CONNECTIONS = 32
_SETTLED_SECONDS = 5
"""For so long nothing may be merging before the work of merges counts as done."""


@dataclass(frozen=True, slots=True)
class _Measured:
    """What so many servers stored: the CPU seconds of each kind of process, and the bytes of an event on disk."""

    servers: int
    events: int
    seconds: float
    postback_s: float
    clickhouse_s: float
    postgresql_s: float
    event_bytes: float

    @property
    def all_s(self) -> float:
        return self.postback_s + self.clickhouse_s + self.postgresql_s

    def per_million(self, seconds: float) -> float:
        return seconds / self.events * 1e6

    def cells(self, load: str) -> tuple[str, ...]:
        each = (self.postback_s, self.clickhouse_s, self.postgresql_s, self.all_s)
        return (
            f"{self.servers}, {load}",
            f"{self.events / self.seconds:,.0f}/s",
            *(f"{self.per_million(seconds):,.1f} s" for seconds in each),
        )


@dataclass(frozen=True, slots=True)
class _Stores:
    """The two servers that the servers of Postback share."""

    clickhouse: ClickHouseServer
    postmaster: int
    url: str

    def settings(self) -> dict[str, str]:
        """Those of an installation on a new database of each."""
        name = f"postback_{uuid4().hex}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        control = urlsplit(self.url)._replace(path=f"/{name}").geturl()
        return {
            "POSTBACK_EVENTS": self.clickhouse.new_database(),
            "POSTBACK_CONTROL": control,
            "POSTBACK_SECRET": secrets.token_hex(32),
        }

    def clickhouse_cpu_s(self) -> float:
        return Endpoint(port=self.clickhouse.port, pids=[self.clickhouse.process_id]).cpu_s()

    def postgresql_cpu_s(self) -> float:
        return Endpoint(port=0, pids=[self.postmaster]).cpu_s()

    def wait_until_merged(self) -> None:
        """Wait until ClickHouse has had nothing to merge for some seconds."""
        idle_since = time.monotonic()
        while time.monotonic() - idle_since < _SETTLED_SECONDS:
            if self.clickhouse.execute("SELECT count() FROM system.merges").strip() != "0":
                idle_since = time.monotonic()
            time.sleep(0.1)

    def bytes_stored(self, events: str) -> int:
        """What the tables of a database have on disk."""
        database = urlsplit(events).path.removeprefix("/")
        parts = f"SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = '{database}'"
        return int(self.clickhouse.execute(parts))


def measure(size: Size, folder: Path) -> Section:
    """Measure batches by one server and by several, then single events by one on PostgreSQL and by one on SQLite."""
    wrk = Wrk(folder)
    with clickhouse_server() as clickhouse, postgresql(folder / "postgresql") as (postmaster, url):
        stores = _Stores(clickhouse, postmaster, url)
        found = [_batches(servers, size, folder / f"servers-{servers}", stores) for servers in _SERVERS]
        alone = _single_events(size, folder / "alone", {}, stores, wrk)
        shared = _single_events(size, folder / "shared", stores.settings(), stores, wrk)
    first, last = found[0], found[-1]
    return Section(
        title="Several servers",
        method=(
            f"Batches of {_EVENTS:,} events over REST, to all servers at once over four connections each, for "
            f"{size.stored_s:.0f} s and until all are stored and merged; each number of servers on new databases of "
            "the same PostgreSQL and the same ClickHouse. Then single events with idempotency keys over "
            f"{_CONNECTIONS} connections for {size.single_s} s to one server, with control data in SQLite and events "
            "inside Postback, and with both in servers. All processes and the load share the cores, so that rates "
            "prove nothing: the CPU seconds are of the processes, for a million events."
        ),
        table=Table(
            ("servers, load", "stored", "CPU of Postback", "of ClickHouse", "of PostgreSQL", "all"),
            [
                *(each.cells(f"batches of {_EVENTS:,}") for each in found),
                alone.cells("single events, SQLite"),
                shared.cells("single events, PostgreSQL"),
            ],
        ),
        figures={
            "postback_s": first.per_million(first.postback_s),
            "clickhouse_s": first.per_million(first.clickhouse_s),
            "postgresql_s": first.per_million(first.postgresql_s),
            "several_postback_s": last.per_million(last.postback_s),
            "several_clickhouse_s": last.per_million(last.clickhouse_s),
            "several_postgresql_s": last.per_million(last.postgresql_s),
            "single_postback_s": shared.per_million(shared.postback_s),
            "event_bytes": first.event_bytes,
        },
    )


def _batches(servers: int, size: Size, folder: Path, stores: _Stores) -> _Measured:
    settings, batches, numbers = stores.settings(), Batches(_EVENTS), count()
    with ExitStack() as stack, ThreadPoolExecutor(servers) as pool:
        running = [stack.enter_context(serving(folder / str(number), settings=settings)) for number in range(servers)]
        warm_up = sum(send_batches(_WARM_UP, server, batches, numbers).events for server in running)
        stores.wait_until_merged()
        clickhouse_s, postgresql_s = stores.clickhouse_cpu_s(), stores.postgresql_cpu_s()
        loads = list(pool.map(lambda server: store_for(size.stored_s, server, batches, numbers), running))
        stores.wait_until_merged()
        events = sum(load.events for load in loads)
        return _Measured(
            servers=servers,
            events=events,
            seconds=max(load.seconds + load.drain_s for load in loads),
            postback_s=sum(load.server_s for load in loads),
            clickhouse_s=stores.clickhouse_cpu_s() - clickhouse_s,
            postgresql_s=stores.postgresql_cpu_s() - postgresql_s,
            event_bytes=stores.bytes_stored(settings["POSTBACK_EVENTS"]) / (warm_up + events),
        )


def _single_events(size: Size, folder: Path, settings: dict[str, str], stores: _Stores, wrk: Wrk) -> _Measured:
    clickhouse_s, postgresql_s = stores.clickhouse_cpu_s(), stores.postgresql_cpu_s()
    with serving(folder, settings=settings) as server:
        sent = wrk.send(server, _CONNECTIONS, size.single_s)
    return _Measured(
        servers=1,
        events=sent.requests,
        seconds=sent.seconds,
        postback_s=sent.server_s,
        clickhouse_s=stores.clickhouse_cpu_s() - clickhouse_s if settings else 0.0,
        postgresql_s=stores.postgresql_cpu_s() - postgresql_s if settings else 0.0,
        event_bytes=0.0,
    )
