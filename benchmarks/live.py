"""The console's live view: how late it shows 1,000 events a second, and whether it shows or counts each."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from threading import Event

import httpx2

from benchmarks.events import Batches
from benchmarks.report import Goal, Section, Table
from benchmarks.server import Server, serving
from benchmarks.size import Size

__all__ = ["measure"]

_RATE = 1000
_BATCHES_A_SECOND = 10
_MOST_LAG_S = 3.0
_PATIENCE_S = 30.0

_ROW = re.compile(r'<tr data-at="([^"]+)"')
_MORE = re.compile(r">([\d,]+) more</a>")


class _Viewer:
    """Somebody with the live view open.

    Attributes:
        shown: Rows that came.
        counted: Further ones that messages count.
        lags: Seconds from the receipt of a message's newest event to the message.
    """

    def __init__(self) -> None:
        self.shown = self.counted = 0
        self.lags: list[float] = []
        self.opened = Event()

    @property
    def told(self) -> int:
        """The events that the viewer has been told of."""
        return self.shown + self.counted

    def watch(self, server: Server, wanted: int, sent: Event) -> None:
        """Watch until as many events came as wanted were acknowledged, or nothing comes any more."""
        with httpx2.Client(base_url=server.url, headers=dict(server.headers), timeout=_PATIENCE_S) as client:
            after = client.get("/console/live?format=json").raise_for_status().json()["through"]
            with client.stream("GET", "/console/live/stream", params={"after": after}) as stream:
                self.opened.set()
                for message in _messages(stream):
                    self._read(message)
                    if sent.is_set() and self.told >= wanted:
                        return

    def _read(self, message: str) -> None:
        now, times = datetime.now(UTC), [datetime.fromisoformat(text) for text in _ROW.findall(message)]
        self.shown += len(times)
        self.counted += sum(int(count.replace(",", "")) for count in _MORE.findall(message))
        if times:
            self.lags.append((now - max(times)).total_seconds())


def measure(size: Size, folder: Path) -> Section:
    """Send events at a steady rate while somebody watches."""
    viewer, sent, batches = _Viewer(), Event(), Batches(_RATE // _BATCHES_A_SECOND)
    sends = int(size.sustained_s * _BATCHES_A_SECOND)
    wanted = sends * batches.events
    with serving(folder) as server, ThreadPoolExecutor(1) as beside:
        watching = beside.submit(viewer.watch, server, wanted, sent)
        if not viewer.opened.wait(_PATIENCE_S):
            watching.result()
        cpu, rate = server.cpu_s(), _send(server, batches, sends)
        sent.set()
        with suppress(httpx2.TimeoutException):  # nothing comes any more; what is missing is counted below
            watching.result()
        cpu_ms = (server.cpu_s() - cpu) / size.sustained_s * 1000
    missing = wanted - viewer.told
    return Section(
        title="The console's live view",
        method=(
            f"{wanted:,} events in batches of {batches.events}, {_BATCHES_A_SECOND} a second, while one reader has the "
            "stream of the live view open. A message has the newest rows and counts the others, which its link lists. "
            "Lag: from the receipt of a message's newest event until the reader had the message."
        ),
        table=Table(
            ("", "measured"),
            [
                ("events acknowledged a second", f"{rate:,.0f}"),
                ("messages", f"{len(viewer.lags):,}"),
                ("rows shown, and counted beside them", f"{viewer.shown:,} + {viewer.counted:,}"),
                ("rows missing", f"{missing:,}"),
                ("lag, median", f"{median(viewer.lags):.2f} s"),
                ("lag, longest", f"{max(viewer.lags):.2f} s"),
                ("CPU time of the server", f"{cpu_ms:.0f} ms a second"),
            ],
        ),
        goals=[
            Goal("no row missing", f"{missing:,}", missing == 0),
            Goal(f"never {_MOST_LAG_S:.0f} s late", f"{max(viewer.lags):.2f} s", max(viewer.lags) < _MOST_LAG_S),
        ],
    )


def _send(server: Server, batches: Batches, sends: int) -> float:
    """Send so many batches at the rate; returns the events acknowledged a second."""
    started = time.perf_counter()
    with httpx2.Client(base_url=server.url, headers=dict(server.headers), timeout=_PATIENCE_S) as client:
        for number in range(sends):
            time.sleep(max(0.0, started + number / _BATCHES_A_SECOND - time.perf_counter()))
            answer = client.post("/v1/log_event", content=batches.body(number)).raise_for_status().json()
            if answer.get("events_processed") != batches.events:
                raise RuntimeError(f"a batch was not accepted as a whole: {answer}")
    return sends * batches.events / (time.perf_counter() - started)


def _messages(stream: httpx2.Response) -> Iterator[str]:
    """The data of each server-sent event."""
    lines: list[str] = []
    for line in stream.iter_lines():
        if line.startswith("data:"):
            lines.append(line.removeprefix("data:"))
        elif not line and lines:
            yield "\n".join(lines)
            lines.clear()
