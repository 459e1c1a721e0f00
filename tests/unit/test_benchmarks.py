"""The benchmarks' command line, their tables, and what the PostgreSQL peer accepts. Nothing here is timed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from benchmarks.__main__ import main
from benchmarks.against import measure_against
from benchmarks.events import Batches, realistic_event
from benchmarks.figures import Figures
from benchmarks.page import page
from benchmarks.plan import Demand, Plan
from benchmarks.plan import main as print_plan
from benchmarks.postgresql_peer.models import Event, Failure, LogEvent
from benchmarks.programs import PROGRAMS
from benchmarks.report import Goal, Section, Table
from benchmarks.size import QUICK
from click.testing import CliRunner
from pydantic import ValidationError

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "benchmarks.md"
PLAN = DOCS / "explanation" / "scale.md"


def test_the_help_says_what_can_be_run_and_what_it_costs() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output

    assert all(f"| `{name}`" in shown and program.measures in shown for name, program in PROGRAMS.items())


def test_a_program_that_does_not_exist_is_refused_with_those_that_do() -> None:
    result = CliRunner().invoke(main, ["rest", "speed"])

    assert result.exit_code == 2
    assert "'speed'" in result.output
    assert all(f"'{name}'" in result.output for name in PROGRAMS)


def test_a_commit_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="no-such-commit"):
        measure_against(QUICK, tmp_path, "no-such-commit")


def test_a_program_that_is_measured_again_replaces_its_section_only() -> None:
    before = page("", {"rest": "## Batches\n\nOld.\n", "single": "## Single\n\nOld.\n"})
    after = page(before, {"single": "## Single\n\nNew.\n", "peer": "## Peer\n\nNew.\n"})

    assert after == page(
        "", {"peer": "## Peer\n\nNew.\n", "rest": "## Batches\n\nOld.\n", "single": "## Single\n\nNew.\n"}
    )


def test_the_page_is_what_its_sections_make() -> None:
    assert page(PAGE.read_text(), {}) == PAGE.read_text()


def test_figures_that_mean_nothing_are_not_kept() -> None:
    result = CliRunner().invoke(main, ["rest", "--quick", "--keep"])

    assert (result.exit_code, "--quick" in result.output) == (2, True)


FIGURES = Figures(
    postback_s=10,
    clickhouse_s=5,
    postgresql_s=1,
    several_postback_s=12,
    several_clickhouse_s=6,
    several_postgresql_s=1,
    single_postback_s=500,
    event_bytes=200,
    exposures=1e7,
    exposure_cpu_s=8,
    attribution_cpu_s=16,
    exposure_bytes=50,
    index_bytes=40,
)
DEMAND = Demand(
    events_a_day=86_400e6,
    peak=2,
    exposures=30 * 86_400e6,
    lookback_days=30,
    kept_days=10,
    cores=16,
    use=0.5,
    disk_tb=20,
    replicas=2,
)
"""A million events and exposures a second, twice as many at the peak."""


def test_a_plan_is_what_the_figures_and_the_demand_make() -> None:
    plan = Plan(DEMAND, FIGURES)

    assert plan.ingest_cores == pytest.approx(2 * 12 + 2 * 12)
    assert plan.single_cores == pytest.approx(2 * 500)
    assert plan.clickhouse_cores == pytest.approx(2 * 6 + 2 * 6)
    assert plan.postgresql_cores == pytest.approx(2 + 2)
    assert plan.events_tb == pytest.approx(172.8)
    assert plan.exposures_tb == pytest.approx(129.6)
    assert plan.index_tb == pytest.approx(103.68)
    assert plan.shards == math.ceil((172.8 + 129.6) / 10)
    assert plan.attribution_cores == pytest.approx(2 * 16 * math.log2(2.592e12 / 31) / math.log2(1e7) + 2 * 8)
    assert plan.servers == 1 + math.ceil((plan.ingest_cores + plan.attribution_cores) / 8)


def test_shards_are_as_many_as_their_cores_need_when_their_disks_are_large() -> None:
    assert Plan(replace(DEMAND, disk_tb=1e6), FIGURES).shards == 24 / 8


def test_the_plan_in_the_documentation_is_that_of_the_kept_figures() -> None:
    table = CliRunner().invoke(print_plan, [], catch_exceptions=False).output

    assert "machines for ClickHouse" in table
    assert table in PLAN.read_text()


def test_a_section_reads_as_markdown() -> None:
    table = Table(("server", "load", "events/s"), [("Postback", "10", "1,000"), ("peer", "1", "90")], words=2)
    section = Section(
        "Rates", "How.", table, [Goal("ten times", "11.1", met=True), Goal("20 times", "11.1", met=False)]
    )

    assert str(section) == (
        "## Rates\n\nHow.\n\n"
        "| server   | load | events/s |\n"
        "| -------- | ---- | -------: |\n"
        "| Postback | 10   |    1,000 |\n"
        "| peer     | 1    |       90 |\n\n"
        "- Goal met: ten times; measured: 11.1.\n"
        "- **Goal missed**: 20 times; measured: 11.1.\n"
    )


def test_the_peer_accepts_the_batches_that_are_sent() -> None:
    events = LogEvent.model_validate_json(Batches(3).body(7)).events

    assert [type(event) for event in events] == [Event, Event, Event]


def test_the_peer_accepts_the_events_beside_one_that_is_wrong() -> None:
    body = Batches(3).body(7).replace(b"purchase", b"bought", 1)

    assert [type(event) for event in LogEvent.model_validate_json(body).events] == [Failure, Event, Event]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_type", "bought"),
        ("event_time", "2026-11-26T10:00:00"),
        ("event_time", "2020-01-01T00:00:00Z"),
        ("event_time", "2106-01-01T00:00:00Z"),
        ("action_source", "fax"),
        ("event_id", ""),
        ("unknown", 1),
        ("user_match", {"hashed_email": "jane@shop.example"}),
        ("user_match", {"client_ip": "192.0.2.1"}),
        ("custom_data", {"value": -1, "currency": "USD"}),
        ("custom_data", {"value": 1, "currency": "USX"}),
        ("custom_data", {"value": "1", "currency": "USD"}),
        ("custom_data", {"value": 1, "currency": 840}),
    ],
)
def test_the_peer_refuses_what_postback_refuses(field: str, value: Any) -> None:
    event = realistic_event(1) | {"user_match": {"hashed_email": "a" * 64}}
    Event.model_validate_json(msgspec.json.encode(event))

    with pytest.raises(ValidationError, match=field):
        Event.model_validate_json(msgspec.json.encode(event | {field: value}))
