"""A server that is killed with a full ingest log: how soon the next one is ready, and when all is stored."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from statistics import median

from benchmarks.events import Batches
from benchmarks.load import send_batches, send_until_refused
from benchmarks.report import Goal, Section, Table
from benchmarks.server import data_folder, serving
from benchmarks.size import Size

__all__ = ["measure"]

_EVENTS = 10_000
_MOST_SECONDS = 3
_WARM_UP = 4
_LOG = "log"
"""The part of the data folder where events are that were acknowledged and are not in the event store yet."""


def measure(size: Size, folder: Path) -> Section:
    """Fill the log, kill the server and start it again, as often as starts are timed."""
    batches, numbers = Batches(_EVENTS), count()
    acknowledged = 0
    waiting: list[int] = []
    backlogs: list[float] = []
    ready_in: list[float] = []
    stored_in: list[float] = []
    for _ in range(size.starts):
        with serving(folder) as server:
            acknowledged += send_batches(_WARM_UP, server, batches, numbers).events
            with _nothing_flushed(folder):
                events, last_event = send_until_refused(server, batches, numbers)
                os.kill(server.pids[0], signal.SIGKILL)
        acknowledged += events
        waiting.append(events)
        backlogs.append(_megabytes(data_folder(folder) / _LOG))
        with serving(folder) as server:
            ready_in.append(server.started_in)
            stored_in.append(server.started_in + server.wait_until_stored([last_event]))
            stored = server.stored_events()
        if stored < acknowledged:
            raise RuntimeError(f"{acknowledged:,} events were acknowledged, {stored:,} are stored")
    return Section(
        title="Killed with a full log",
        method=(
            "Another process locks the control store, so that nothing leaves the ingest log, and batches of "
            f"{_EVENTS:,} events are sent over REST until the server answers 503. Then it gets SIGKILL. The next one "
            "is timed from its command until /readyz answers 200, and until everything that was acknowledged is in the "
            f"event store, where the health of the event source must count it. {size.starts} "
            "times on the same folder. The backlog is the size of the log's files."
        ),
        table=Table(
            ("", "median", "most"),
            [
                ("events in the log", f"{median(waiting):,.0f}", f"{max(waiting):,}"),
                ("backlog", f"{median(backlogs):,.0f} MB", f"{max(backlogs):,.0f} MB"),
                ("start until ready", f"{median(ready_in):.2f} s", f"{max(ready_in):.2f} s"),
                ("start until all is stored", f"{median(stored_in):.2f} s", f"{max(stored_in):.2f} s"),
            ],
        ),
        goals=[
            Goal(
                f"ready in less than {_MOST_SECONDS} s, each time",
                f"{max(ready_in):.2f} s",
                max(ready_in) < _MOST_SECONDS,
            )
        ],
    )


@contextmanager
def _nothing_flushed(folder: Path) -> Iterator[None]:
    """Hold the lock that the server needs to finish the flush of a segment."""
    database = data_folder(folder) / "control.db"
    with closing(sqlite3.connect(database, isolation_level=None, timeout=60)) as control:
        control.execute("BEGIN IMMEDIATE")
        yield


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
