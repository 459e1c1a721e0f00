"""A server that is killed under load: how soon the next one is ready, and whether it has what was acknowledged."""

from __future__ import annotations

import os
import signal
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from benchmarks.events import Batches
from benchmarks.load import send_batches, send_until_killed
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
    """Kill the server in the middle of its work and start it again, as often as starts are timed."""
    batches, numbers = Batches(_EVENTS), count()
    acknowledged = 0
    backlogs: list[float] = []
    ready_in: list[float] = []
    stored_in: list[float] = []
    for _ in range(size.starts):
        with serving(folder) as server:
            acknowledged += send_batches(_WARM_UP, server, batches, numbers).events
            kill = partial(os.kill, server.pids[0], signal.SIGKILL)
            events, last_events = send_until_killed(kill, size.killed_s, server, batches, numbers)
        acknowledged += events
        backlogs.append(_megabytes(data_folder(folder) / _LOG))
        with serving(folder) as server:
            ready_in.append(server.started_in)
            stored_in.append(server.started_in + server.wait_until_stored(last_events))
            stored = server.stored_events()
        if stored < acknowledged:
            raise RuntimeError(f"{acknowledged:,} events were acknowledged, {stored:,} are stored")
    return Section(
        title="Killed under load",
        method=(
            f"Four connections send batches of {_EVENTS:,} events over REST for {size.killed_s:.0f} s, then the server "
            "gets SIGKILL in the middle of its work. The next one is timed from its command until /readyz answers "
            "200, and until everything that was acknowledged is in the event store, where the health of the event "
            f"source must count it. {size.starts} times on the same folder. The backlog is the size of what the killed "
            "server left in its ingest log, to the disk space that it had set aside."
        ),
        table=Table(
            ("", "median", "most"),
            [
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


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
