"""Prometheus' rules and Grafana's dashboard, as they are in the repository, ask for what a server really has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from tests.conftest import Server

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "postback.rules.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "postback.json"
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


def queries() -> Iterator[str]:
    """Every expression, and what the dashboard's variables are read from."""
    yield from (rule["expr"] for rule in rules())
    board = json.loads(DASHBOARD.read_text())
    yield from (target["expr"] for panel in board["panels"] for target in panel.get("targets", ()))
    yield from (each["definition"] for each in board["templating"]["list"] if "definition" in each)


def names(query: str) -> set[str]:
    """The metrics that an expression names."""
    return set(re.findall(r"\b(?:postback|process)_\w+", query))


def labels(query: str) -> set[tuple[str, str]]:
    """Each metric that an expression selects by a label, with the label."""
    selected = re.findall(r"\b(postback_\w+)\{([^}]*)\}", query)
    return {(name, label) for name, selector in selected for label in re.findall(r"(\w+)\s*[=!]", selector)}


def test_every_metric_that_they_name_exists(server: Server) -> None:
    with server.client() as client:
        families = [*text_string_to_metric_families(client.get("/metrics").text)]
    exist = {f"{family.name}{suffix}" for family in families for suffix in _SUFFIXES.get(family.type, ("",))}

    named = set().union(*map(names, queries()))

    assert len(named) > 25
    assert named - exist == set()


def test_every_label_that_they_select_by_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", (ROOT / "docs/reference/metrics.md").read_text(), re.MULTILINE)
    documented = {name: set(re.findall(r"\w+", listed)) for name, listed in rows}
    scraped = {"instance", "job"}

    selected = set().union(*map(labels, queries()))

    wrong = {
        (name, label)
        for name, label in selected
        if label not in documented[re.sub(r"_(bucket|sum|count)$", "", name)] | scraped
    }
    assert len(selected) > 25
    assert wrong == set()


def test_every_alert_has_a_sentence_and_an_entry_in_the_runbook() -> None:
    for rule in rules():
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^### (\w+)$", (ROOT / page).read_text(), re.MULTILINE)
        assert rule["annotations"]["summary"].endswith("."), rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["alert"] in headings
        assert anchor == rule["alert"].lower()


def test_the_runbook_has_no_alert_that_no_rule_raises() -> None:
    page = (ROOT / "docs" / "how-to" / "runbook.md").read_text()

    assert re.findall(r"^### (Postback\w+)$", page, re.MULTILINE) == [rule["alert"] for rule in rules()]


@pytest.mark.skipif(not shutil.which("promtool"), reason="Prometheus' promtool is not installed")
def test_prometheus_takes_the_rules() -> None:
    checked = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_panels_of_the_dashboard_have_their_own_places_and_say_what_they_show() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    taken: set[tuple[int, int]] = set()

    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["title"]
        assert panel["type"] == "row" or panel["description"].endswith(".")
