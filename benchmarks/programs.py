"""The programs, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import (
    attribution,
    clickhouse,
    cluster,
    console,
    copies,
    exposure_import,
    growth,
    live,
    mcp_calls,
    peer,
    resources,
    rest_batches,
    restart,
    single_events,
    stored_events,
)
from benchmarks.report import Section, Table
from benchmarks.size import Size

__all__ = ["PROGRAMS", "Program", "programs_table"]


@dataclass(frozen=True, slots=True)
class Program:
    """One benchmark.

    Attributes:
        measure: Takes how much is measured and an empty folder on a disk.
        measures: What it measures, and beside what.
        minutes: About how long it takes in full on two cores.
        wrk: Whether it needs wrk.
    """

    measure: Callable[[Size, Path], Section]
    measures: str
    minutes: int
    wrk: bool = False


PROGRAMS = {
    "rest": Program(rest_batches.measure, "batches over REST until stored, beside decoding and inserting alone", 2),
    "mcp": Program(mcp_calls.measure, "calls over MCP and the server's share of them, beside adcp.server", 3),
    "single": Program(single_events.measure, "single events, beside a bare Starlette handler", 2, wrk=True),
    "peer": Program(peer.measure, "batches and single events, beside FastAPI on PostgreSQL", 5, wrk=True),
    "copies": Program(copies.measure, "batches of events that are known, beside batches of new ones", 2),
    "stored": Program(stored_events.measure, "the rate of batches at 0, 5 and 20 million stored events", 6),
    "clickhouse": Program(clickhouse.measure, "batches with events on a ClickHouse server, beside inside Postback", 2),
    "cluster": Program(
        cluster.measure, "1, 2 and 4 servers on one PostgreSQL and one ClickHouse, by process", 4, wrk=True
    ),
    "resources": Program(resources.measure, "memory after 5 million events, and the start on them", 2),
    "restart": Program(restart.measure, "the start after SIGKILL, with a full log", 2),
    "import": Program(exposure_import.measure, "exposures from a file of 10 million, beside inserting alone", 3),
    "attribution": Program(attribution.measure, "attribution at 1 and 10 million exposures, beside pandas", 5),
    "growth": Program(growth.measure_attribution, "attribution from 1 to 10 million exposures; --large: to 50", 3),
    "console": Program(console.measure, "the console's pages: CPU time, idle, and while batches arrive", 7),
    "live": Program(
        live.measure, "the console's live view under 1,000 events/s: its lag, and rows that are missing", 2
    ),
    "reports": Program(growth.measure_reports, "the delivery report from 0.1 to 5 million conversions in a buy", 4),
}
"""By the name that the command line takes."""


def programs_table() -> Table:
    """What there is, and what it costs."""
    rows = [(f"`{name}`", program.measures, str(program.minutes)) for name, program in PROGRAMS.items()]
    return Table(("program", "what it measures", "minutes"), rows, words=2)
