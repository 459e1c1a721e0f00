"""The console's pages about events: how long they take with many events stored, and while batches arrive."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from statistics import median

import httpx2

from benchmarks.events import SOURCE, Batches
from benchmarks.load import send_batches, store_for
from benchmarks.report import Goal, Section, Table
from benchmarks.server import Server, data_folder, serving
from benchmarks.size import Size
from benchmarks.stored_events import fill_in_a_process

__all__ = ["measure"]

_EVENTS = 10_000
_VISITS = 15
_MOST_S = 0.2

_EVENT = f"/console/events/{SOURCE['event_source_id']}/purchase/stored-00000000"
_SOURCE = f"/console/sources/{SOURCE['event_source_id']}"
_PAGES = {
    "Live events": "/console/live",
    "Live events, rejected": "/console/live?outcome=rejected",
    "Live events, an id that none contains": "/console/live?id=nowhere",
    "Failures, the last 7 days": "/console/failures",
    "Lookup of an id": "/console/lookup?id=stored-00000000",
    "Lookup of an id that never came": "/console/lookup?id=nowhere",
    "an event": _EVENT,
    "Event sources": "/console/sources",
    "an event source": _SOURCE,
    "an event source, 7 days": f"{_SOURCE}?days=7",
}


def measure(size: Size, folder: Path) -> Section:
    """Visit each page as HTML, then again while full batches arrive."""
    batches, numbers, stored = Batches(_EVENTS), count(), size.stored[1]
    with serving(folder) as server:
        send_batches(1, server, batches, numbers)  # the first start makes the account and its source
    fill_in_a_process(data_folder(folder), batches, 0, stored)
    with serving(folder) as server, ThreadPoolExecutor(1) as beside:
        idle = {name: _visits(server, path) for name, path in _PAGES.items()}
        load = beside.submit(store_for, size.stored_s, server, batches, numbers)
        busy = {name: _visits(server, path) for name, path in _PAGES.items()}
        rate = load.result().rate
    slowest = max(idle, key=idle.__getitem__)
    slowest_busy = max(busy, key=busy.__getitem__)
    return Section(
        title="The console's pages about events",
        method=(
            f"Each page {_VISITS} times as HTML, one visit after the other, with {stored:,} events of one account "
            f"stored; then again beside batches of {_EVENTS:,} events, of which {rate:,.0f} events/s were "
            "stored meanwhile. Medians."
        ),
        table=Table(
            ("page", "idle", "beside batches"),
            [(name, f"{idle[name] * 1000:,.0f} ms", f"{busy[name] * 1000:,.0f} ms") for name in _PAGES],
        ),
        goals=[
            Goal(
                f"every page under {_MOST_S * 1000:.0f} ms at the median",
                f"{idle[slowest] * 1000:,.0f} ms ({slowest})",
                idle[slowest] < _MOST_S,
            ),
            Goal(
                "the same beside batches",
                f"{busy[slowest_busy] * 1000:,.0f} ms ({slowest_busy})",
                busy[slowest_busy] < _MOST_S,
            ),
        ],
    )


def _visits(server: Server, path: str) -> float:
    """Seconds of a visit, at the median."""
    seconds = []
    with httpx2.Client(base_url=server.url, headers={**server.headers, "Accept": "text/html"}, timeout=60) as visitor:
        for _ in range(1 + _VISITS):
            started = time.perf_counter()
            visitor.get(path).raise_for_status()
            seconds.append(time.perf_counter() - started)
    return median(seconds[1:])
