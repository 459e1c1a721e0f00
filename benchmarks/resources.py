"""Memory after millions of events, and the start of a server on the folder that holds them."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from statistics import median

from benchmarks.events import Batches
from benchmarks.load import send_batches
from benchmarks.report import Goal, Section, Table
from benchmarks.server import serving
from benchmarks.size import Size

__all__ = ["measure"]

_EVENTS = 10_000
_MOST_SECONDS = 3
_MOST_MB = 1000


def measure(size: Size, folder: Path) -> Section:
    """Ingest, read the memory, then start again and again."""
    with serving(folder) as server:
        load = send_batches(size.ingested // _EVENTS, server, Batches(_EVENTS), count())
        resident, peak = server.resident_mb()
    started_in = []
    for _ in range(size.starts):
        with serving(folder) as server:
            started_in.append(server.started_in)
    return Section(
        title="Memory and start-up",
        method=(
            f"Resident memory of the server's processes, its event store included, after {load.events:,} events in "
            f"batches of {_EVENTS:,} over REST. Then the time from starting the command on the same folder until "
            f"/readyz answers 200, warm, median of {size.starts} starts."
        ),
        table=Table(
            ("", "measured"),
            [
                ("resident memory", f"{resident:,.0f} MB"),
                ("resident memory, peak", f"{peak:,.0f} MB"),
                ("start until ready", f"{median(started_in):.2f} s"),
                ("start until ready, slowest", f"{max(started_in):.2f} s"),
            ],
        ),
        goals=[
            Goal("resident memory below 1 GB", f"{resident:,.0f} MB", resident < _MOST_MB),
            Goal(
                f"ready in less than {_MOST_SECONDS} s",
                f"{median(started_in):.2f} s",
                median(started_in) < _MOST_SECONDS,
            ),
        ],
    )
