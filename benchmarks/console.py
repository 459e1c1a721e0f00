"""The console's pages: what they cost with many events stored, and how long they take while batches arrive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from statistics import median
from threading import Event, Lock
from typing import NamedTuple

import httpx2

from benchmarks.events import SOURCE, Batches
from benchmarks.growth import convert_in_a_process
from benchmarks.load import Load, send_batches, store_while
from benchmarks.report import Goal, Section, Table
from benchmarks.server import Server, data_folder, serving
from benchmarks.size import Size
from benchmarks.stored_events import fill_in_a_process

__all__ = ["measure"]

_EVENTS = 10_000
_VISITS = 15
_BATCHES_A_SECOND = 2
_MOST_S = 0.2

_EVENT = f"/console/events/{SOURCE['event_source_id']}/purchase/stored-00000000"
_SOURCE = f"/console/sources/{SOURCE['event_source_id']}"
_BUY = "/console/delivery/mb"
_DAY = "start_date=2026-10-17&end_date=2026-10-18"
_PAGES = {
    "Lookup before an id is given: it reads no event": "/console/lookup",
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
    "Delivery": "/console/delivery",
    "Delivery, as CSV": "/console/delivery?format=csv",
    "a media buy": _BUY,
    "a media buy on a day, by hour and creative": f"{_BUY}?{_DAY}&unit=hour&by=creative",
    "a media buy by event source": f"{_BUY}?by=source",
    "a media buy by event source, as CSV": f"{_BUY}?by=source&format=csv&table=parts",
    "its conversions": f"{_BUY}/conversions",
    "its conversions from an event source": f"{_BUY}/conversions?event_source_id={SOURCE['event_source_id']}",
    "its conversions of a package on a day": f"{_BUY}/conversions?{_DAY}&package_id=p3",
    "its refunds": f"{_BUY}/conversions?kind=refund",
}


class _Visits(NamedTuple):
    """What a visit took at the median, in seconds, and how much CPU time of the server on average."""

    seconds: float
    cpu_s: float


def measure(size: Size, folder: Path) -> Section:
    """Visit each page as HTML, then again while full batches arrive."""
    batches, numbers, stored = Batches(_EVENTS), count(), size.stored[1]
    converted = stored * 2 // 5
    with serving(folder) as server:
        send_batches(1, server, batches, numbers)  # the first start makes the account and its source
    convert_in_a_process(folder, 0, converted)
    fill_in_a_process(data_folder(folder), batches, 0, stored - converted)
    convert_in_a_process(folder, converted, converted)
    with serving(folder) as server:
        idle = {name: _visits(server, path) for name, path in _PAGES.items()}
        busy, load = _beside(server, batches, numbers, _Pace(_BATCHES_A_SECOND).due)
        full, full_load = _beside(server, batches, numbers, lambda: True)
    return Section(
        title="The console's pages",
        method=(
            f"Each page {_VISITS} times, one visit after the other, with {stored:,} events of one account stored, "
            f"{converted:,} of them conversions of one media buy; then again while {_BATCHES_A_SECOND} batches of "
            f"{_EVENTS:,} events arrive each second ({load.rate:,.0f} events/s were stored), and while as many arrive "
            f"as the server takes ({full_load.rate:,.0f} events/s). Medians; the CPU time is the server's, on "
            "average, and shows what a page costs where the machine has other work as well."
        ),
        table=Table(
            ("page", "CPU time", "idle", f"beside {_BATCHES_A_SECOND} batches a second", "beside all that it takes"),
            [
                (name, _ms(idle[name].cpu_s), _ms(idle[name].seconds), _ms(busy[name]), _ms(full[name]))
                for name in _PAGES
            ],
        ),
        goals=[
            _goal("every page under {most} of CPU time", {name: visits.cpu_s for name, visits in idle.items()}),
            _goal("every page under {most} at the median", {name: visits.seconds for name, visits in idle.items()}),
            _goal(f"the same beside {_BATCHES_A_SECOND} batches a second", busy),
            _goal("the same beside all that it takes", full),
        ],
    )


class _Pace:
    """When it is time for a batch, so many of which begin in a second, whoever asks. Thread-safe."""

    def __init__(self, a_second: float) -> None:
        self._seconds = 1 / a_second
        self._next = time.perf_counter()
        self._lock = Lock()

    def due(self) -> bool:
        """Wait for the time of the next batch."""
        with self._lock:
            time.sleep(max(0, self._next - time.perf_counter()))
            self._next = max(self._next, time.perf_counter() - self._seconds) + self._seconds
        return True


def _beside(
    server: Server, batches: Batches, numbers: Iterator[int], due: Callable[[], bool]
) -> tuple[dict[str, float], Load]:
    """The median seconds of a visit to each page while batches arrive, and what was stored of them."""
    visited = Event()
    with ThreadPoolExecutor(1) as beside:
        load = beside.submit(store_while, lambda: due() and not visited.is_set(), server, batches, numbers)
        try:
            seconds = {name: _visits(server, path).seconds for name, path in _PAGES.items()}
        finally:
            visited.set()
        return seconds, load.result()


def _goal(wanted: str, seconds: Mapping[str, float]) -> Goal:
    slowest = max(seconds, key=seconds.__getitem__)
    return Goal(wanted.format(most=_ms(_MOST_S)), f"{_ms(seconds[slowest])} ({slowest})", seconds[slowest] < _MOST_S)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def _visits(server: Server, path: str) -> _Visits:
    seconds = []
    with httpx2.Client(base_url=server.url, headers={**server.headers, "Accept": "text/html"}, timeout=60) as visitor:
        visitor.get(path).raise_for_status()
        before = server.cpu_s()
        for _ in range(_VISITS):
            started = time.perf_counter()
            visitor.get(path).raise_for_status()
            seconds.append(time.perf_counter() - started)
        cpu_s = server.cpu_s() - before
    return _Visits(median(seconds), cpu_s / _VISITS)
