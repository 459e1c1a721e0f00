"""Batches and single events beside FastAPI on PostgreSQL, equally durable and exact, in turns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count
from pathlib import Path

from benchmarks.events import Batches
from benchmarks.load import Load, send_batches, send_for, store_for
from benchmarks.postgresql_peer.serving import serving_peer
from benchmarks.report import Goal, Section, Table
from benchmarks.server import serving
from benchmarks.size import Size
from benchmarks.wrk import SingleEvents, Wrk

__all__ = ["measure"]

_EVENTS = 10_000
_PEER_EVENTS = (10_000, 1_000, 100)
_CONNECTIONS = (32, 1)
_WARM_UP = 4
_LEAST_BATCHES, _LEAST_SINGLE = 10, 3
_PACKAGES = ("fastapi", "pydantic", "asyncpg", "uvicorn")


@dataclass(frozen=True, slots=True)
class _Found:
    """What one server made of one load: times in ms, the CPU time of all its processes for an event in µs."""

    load: str
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float

    @classmethod
    def of_batches(cls, load: Load, events: int) -> _Found:
        return cls(
            f"batches of {events:,}",
            load.rate,
            load.median_s * 1000,
            load.p99_s * 1000,
            load.server_s / load.events * 1e6,
        )

    @classmethod
    def of_single_events(cls, found: SingleEvents, connections: int) -> _Found:
        return cls(
            f"single events, connections: {connections}",
            found.rate,
            found.p50_ms,
            found.p99_ms,
            found.server_ms * 1000,
        )

    def cells(self, server: str, ratio: float | None = None) -> tuple[str, ...]:
        return (
            f"{server}, {self.load}",
            f"{self.rate:,.0f}",
            f"{self.p50_ms:,.1f} ms",
            f"{self.p99_ms:,.1f} ms",
            f"{self.cpu_us:,.0f} µs",
            "" if ratio is None else f"{ratio:.1f}",
        )


def measure(size: Size, folder: Path) -> Section:
    """Measure batches by both servers, then single events by both; only one of them runs at a time."""
    wrk = Wrk(folder)
    ours_batches = _our_batches(size, folder / "postback")
    peers_batches, postgresql = _peers_batches(size, folder / "peer")
    ours_single = _our_single_events(size, folder / "postback-single", wrk)
    peers_single = _peers_single_events(size, folder / "peer-single", wrk)
    best = max(peers_batches, key=lambda found: found.rate)
    batches_ratio = ours_batches.rate / best.rate
    single_ratios = [ours.rate / peers.rate for ours, peers in zip(ours_single, peers_single, strict=True)]
    return Section(
        title="Beside FastAPI on PostgreSQL",
        method=(
            f"The peer (benchmarks/postgresql_peer) is FastAPI with a uvicorn worker a core on PostgreSQL {postgresql} "
            f"over a local socket ({', '.join(f'{name} {version(name)}' for name in _PACKAGES)}). Pydantic models "
            "check types, enumerations, bounds, times, currencies and hashes, event by event; one INSERT … SELECT FROM "
            "unnest … ON CONFLICT DO NOTHING a call stores its events, and its idempotency key and answer with them, "
            "in one transaction. fsync and synchronous_commit are on. It stores identifiers as they come, and neither "
            f"matches nor reports. Batches go over four connections for {size.peer_s:.0f} s, Postback's until all are "
            f"stored; single events are sent by wrk over so many connections for {size.single_s} s. Every call has an "
            "idempotency key of its own. In the end each store had every event once. CPU is that of all processes of a "
            "server, PostgreSQL's included. The last column is Postback's rate divided by the peer's; for batches, by "
            "that of its best size."
        ),
        table=Table(
            ("server, load", "events/s", "p50", "p99", "CPU an event", "times the peer"),
            [
                ours_batches.cells("Postback", batches_ratio),
                *(found.cells("peer") for found in peers_batches),
                *(
                    row
                    for ours, peers, ratio in zip(ours_single, peers_single, single_ratios, strict=True)
                    for row in (ours.cells("Postback", ratio), peers.cells("peer"))
                ),
            ],
        ),
        goals=[
            Goal(
                f"batches: at least {_LEAST_BATCHES} times the peer's best",
                f"{batches_ratio:.1f}",
                batches_ratio >= _LEAST_BATCHES,
            ),
            *(
                Goal(
                    f"{ours.load}: at least {_LEAST_SINGLE} times the peer's",
                    f"{ratio:.1f}",
                    ratio >= _LEAST_SINGLE,
                )
                for ours, ratio in zip(ours_single, single_ratios, strict=True)
            ),
        ],
    )


def _our_batches(size: Size, folder: Path) -> _Found:
    batches, numbers = Batches(_EVENTS), count()
    with serving(folder) as server:
        warm_up = send_batches(_WARM_UP, server, batches, numbers)
        load = store_for(size.peer_s, server, batches, numbers)
        server.check_stored(warm_up.events + load.events)
    return _Found.of_batches(load, _EVENTS)


def _peers_batches(size: Size, folder: Path) -> tuple[list[_Found], str]:
    found: list[_Found] = []
    sent, numbers = 0, count()
    with serving_peer(folder) as peer:
        for events in _PEER_EVENTS:
            batches = Batches(events)
            warm_up = send_batches(_WARM_UP, peer, batches, numbers)
            load = send_for(size.peer_s, peer, batches, numbers)
            found.append(_Found.of_batches(load, events))
            sent += warm_up.events + load.events
        _check(sent, peer.stored_events())
        return found, peer.version()


def _our_single_events(size: Size, folder: Path, wrk: Wrk) -> list[_Found]:
    with serving(folder) as server:
        runs = [wrk.send(server, connections, size.single_s) for connections in _CONNECTIONS]
        _check(sum(run.requests for run in runs), server.stored_events())
    return list(_named(runs))


def _peers_single_events(size: Size, folder: Path, wrk: Wrk) -> list[_Found]:
    with serving_peer(folder) as peer:
        runs = [wrk.send(peer, connections, size.single_s) for connections in _CONNECTIONS]
        _check(sum(run.requests for run in runs), peer.stored_events())
    return list(_named(runs))


def _named(runs: list[SingleEvents]) -> Iterator[_Found]:
    for run, connections in zip(runs, _CONNECTIONS, strict=True):
        yield _Found.of_single_events(run, connections)


def _check(acknowledged: int, stored: int) -> None:
    """wrk leaves calls unanswered when its time is over, at most one a connection."""
    if not acknowledged <= stored <= acknowledged + sum(_CONNECTIONS):
        raise RuntimeError(f"{acknowledged:,} events were acknowledged, {stored:,} are stored")
