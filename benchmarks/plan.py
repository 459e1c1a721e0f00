"""What a number of events a day takes, from measured figures: servers, shards, disks."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.figures import Figures, kept_figures
from benchmarks.report import Table

__all__ = ["Demand", "Plan", "sizes", "written"]

_PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "scale.md"
_PLACE = re.compile(r"<!-- printed by benchmarks.plan -->\n.*?<!-- to here -->", re.DOTALL)
_DAY_SECONDS = 86_400
_MILLION = 1e6
_TB = 1e12
_COMMAND = "python -m benchmarks.plan"


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked for, and the machines that are to do it.

    Attributes:
        events_a_day: Events that buyers send in a day.
        peak: The busiest hour, in average hours.
        exposures: Exposures that are kept, and that events are attributed to.
        lookback_days: Days for which exposures are kept.
        kept_days: Days for which events are kept.
        cores: Cores of a machine.
        use: Share of its cores that a machine is to use at the peak; the rest is for what fails and what was forgotten.
        disk_tb: Disk of a ClickHouse machine, in TB, of which the same share is to be used.
        replicas: Copies of each shard.
    """

    events_a_day: float
    peak: float
    exposures: float
    lookback_days: int
    kept_days: int
    cores: int
    use: float
    disk_tb: float
    replicas: int

    @property
    def average(self) -> float:
        """Events a second on average."""
        return self.events_a_day / _DAY_SECONDS

    @property
    def at_peak(self) -> float:
        """Events a second in the busiest hour."""
        return self.average * self.peak

    @property
    def exposures_at_peak(self) -> float:
        """Exposures a second in the busiest hour."""
        return self.exposures / self.lookback_days / _DAY_SECONDS * self.peak


@dataclass(frozen=True, slots=True)
class Plan:
    """What a demand takes by the figures. Cores are those that are busy at the peak."""

    demand: Demand
    figures: Figures

    @property
    def ingest_cores(self) -> float:
        """Of Postback: validating and logging events, and exposures, which are taken to cost as much as events."""
        per_million = max(self.figures.postback_s, self.figures.several_postback_s)
        return (self.demand.at_peak + self.demand.exposures_at_peak) * per_million / _MILLION

    @property
    def single_cores(self) -> float:
        """Of Postback, if each event came in a call of its own."""
        return self.demand.at_peak * self.figures.single_postback_s / _MILLION

    @property
    def attribution_cores(self) -> float:
        """Counting exposures and attributing events; a search in the index costs as the logarithm of its size.

        In the busiest hour as in others: what waits an hour is late, and not lost.
        """
        per_event = self.figures.attribution_cpu_s * self._deeper
        counting = self.demand.exposures_at_peak * self.figures.exposure_cpu_s
        return (self.demand.at_peak * per_event + counting) / _MILLION

    @property
    def _deeper(self) -> float:
        """How many times as many steps a search takes in the index of a shard as in the one that was measured."""
        of_a_shard = max(self.demand.exposures / self.shards_by_disk, 2)
        return max(1.0, math.log2(of_a_shard) / math.log2(self.figures.exposures))

    @property
    def clickhouse_cores(self) -> float:
        """Of one copy of all shards: inserts and merges; a replica fetches parts and merges them itself."""
        per_million = max(self.figures.clickhouse_s, self.figures.several_clickhouse_s)
        return (self.demand.at_peak + self.demand.exposures_at_peak) * per_million / _MILLION

    @property
    def postgresql_cores(self) -> float:
        """Of the one PostgreSQL."""
        per_million = max(self.figures.postgresql_s, self.figures.several_postgresql_s)
        return (self.demand.at_peak + self.demand.exposures_at_peak) * per_million / _MILLION

    @property
    def events_tb(self) -> float:
        """Of one copy of all events that are kept."""
        return self.demand.events_a_day * self.demand.kept_days * self.figures.event_bytes / _TB

    @property
    def exposures_tb(self) -> float:
        """Of one copy of all exposures that are kept."""
        return self.demand.exposures * self.figures.exposure_bytes / _TB

    @property
    def index_tb(self) -> float:
        """Of the indexes by match key, over all shards: once for each server that attributes or may take over."""
        return self.demand.exposures * self.figures.index_bytes / _TB

    @property
    def servers(self) -> int:
        """Machines for Postback: one more than must run, so that one may fail or be replaced."""
        return 1 + math.ceil((self.ingest_cores + self.attribution_cores) / (self.demand.cores * self.demand.use))

    @property
    def shards_by_disk(self) -> int:
        """Shards whose disks have room for what is kept."""
        return math.ceil((self.events_tb + self.exposures_tb) / (self.demand.disk_tb * self.demand.use))

    @property
    def shards(self) -> int:
        """Shards whose disks have room and whose cores can follow at the peak."""
        by_cores = math.ceil(self.clickhouse_cores / (self.demand.cores * self.demand.use))
        return max(self.shards_by_disk, by_cores)

    def table(self) -> Table:
        """The plan in words."""
        demand = self.demand
        rows = [
            ("events a second, on average and at the peak", f"{demand.average:,.0f} and {demand.at_peak:,.0f}"),
            ("exposures a second at the peak", f"{demand.exposures_at_peak:,.0f}"),
            ("cores for ingest at the peak, in full batches", f"{self.ingest_cores:,.1f}"),
            ("the same, if each event came in a call of its own", f"{self.single_cores:,.1f}"),
            ("cores for attribution at the peak", f"{self.attribution_cores:,.1f}"),
            (f"machines for Postback, {demand.cores} cores, one to spare", f"{self.servers}"),
            ("cores of ClickHouse at the peak, one copy", f"{self.clickhouse_cores:,.1f}"),
            (f"events of {demand.kept_days} days, one copy", f"{self.events_tb:,.1f} TB"),
            (f"exposures of {demand.lookback_days} days, one copy", f"{self.exposures_tb:,.2f} TB"),
            ("indexes by match key, once", f"{self.index_tb:,.2f} TB"),
            (f"shards, {demand.cores} cores and {demand.disk_tb:g} TB each", f"{self.shards}"),
            (f"machines for ClickHouse, {demand.replicas} copies", f"{self.shards * demand.replicas}"),
            ("cores of the one PostgreSQL at the peak", f"{self.postgresql_cores:,.2f}"),
        ]
        return Table(("for this demand", "it takes"), rows)


@click.command()
@click.option("--events-a-day", type=float, default=1e9, show_default=True)
@click.option("--peak", type=float, default=4.0, show_default=True, help="The busiest hour, in average hours.")
@click.option("--exposures", type=float, default=1e10, show_default=True, help="Kept at a time.")
@click.option("--lookback-days", type=int, default=30, show_default=True, help="For which exposures are kept.")
@click.option("--kept-days", type=int, default=90, show_default=True, help="For which events are kept.")
@click.option("--cores", type=int, default=16, show_default=True, help="Of a machine.")
@click.option("--use", type=click.FloatRange(0, 1, min_open=True), default=0.5, show_default=True, help="Of a machine.")
@click.option("--disk-tb", type=float, default=20.0, show_default=True, help="Of a ClickHouse machine.")
@click.option("--replicas", type=int, default=2, show_default=True, help="Copies of each shard.")
@click.option("--keep", is_flag=True, help="Write the table into docs/explanation/scale.md.")
def main(keep: bool, **demand: float) -> None:
    """What so many events a day take, by the figures that benchmarks/figures.json has of this machine."""
    figures = kept_figures()
    plan = Plan(Demand(**demand), figures)  # type: ignore[arg-type] # click has made them so
    tables = f"{sizes(figures)}\n\n{plan.table()}"
    click.echo(tables)
    if keep:
        _PAGE.write_text(written(_PAGE.read_text(), tables))


def sizes(figures: Figures) -> Table:
    """What was measured, in the units that one reckons in."""
    rows = [
        ("events a second and core of Postback, in full batches", f"{_MILLION / figures.postback_s:,.0f}"),
        ("the same, if each event comes in a call of its own", f"{_MILLION / figures.single_postback_s:,.0f}"),
        ("events a second and core of ClickHouse, merges included", f"{_MILLION / figures.clickhouse_s:,.0f}"),
        ("events attributed a second and core of Postback", f"{_MILLION / figures.attribution_cpu_s:,.0f}"),
        ("exposures counted a second and core of Postback", f"{_MILLION / figures.exposure_cpu_s:,.0f}"),
        ("an event on the disk of ClickHouse, once", f"{figures.event_bytes:,.0f} bytes"),
        ("an exposure there, once", f"{figures.exposure_bytes:,.0f} bytes"),
        ("an exposure in the index of a server that attributes", f"{figures.index_bytes:,.0f} bytes"),
    ]
    return Table(("measured", "what one gets, or takes"), rows)


def written(page: str, tables: str) -> str:
    """The page with these tables in their place."""
    return _PLACE.sub(lambda _: f"<!-- printed by benchmarks.plan -->\n\n{tables}\n\n<!-- to here -->", page)


if __name__ == "__main__":
    main(prog_name=_COMMAND)
