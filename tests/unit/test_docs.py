"""The documentation is whole: whatever a user can set, call, run or be told is on its page, and no link is broken."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import metadata
from pathlib import Path

import click
import pytest
from prometheus_client.parser import text_string_to_metric_families

from postback.cli import main
from postback.collectors import Backlog
from postback.config import CLIENT_VARIABLES, SETTINGS, Setting
from postback.console.page import Resource
from postback.console.routes import PAGES as CONSOLE
from postback.errors import PostbackError
from postback.event_sources.entries import MAX_ENTRIES
from postback.events.match_quality import PRIORS, QUALITY_VERSION
from postback.events.rejection import REASONS
from postback.events.steps import STEPS
from postback.events.warnings import EXPOSURE_WARNINGS, WARNINGS
from postback.logs import RequestContext
from postback.metrics import Metrics
from postback.protocol.batch_items import MAX_ITEMS
from postback.protocol.error_codes import code_for
from postback.protocol.json_size import MAX_EVENT_VALUES
from postback.protocol.releases import RELEASES
from postback.protocol.strict_json import MAX_DEPTH
from postback.store.idempotency import REPLAY_TTL_SECONDS
from postback.tag.openapi import tag_paths
from postback.tasks.list_conversions import ConversionFilter
from postback.tasks.registry import TASKS
from postback.transports.middleware import AccessLine
from postback.transports.schemas.openapi import openapi_json

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def reference(name: str) -> str:
    return (DOCS / "reference" / f"{name}.md").read_text()


def rows(page: str) -> dict[str, list[list[str]]]:
    """The rows of all tables by the first word in backticks, their cells without backticks."""
    found: dict[str, list[list[str]]] = {}
    for line in page.splitlines():
        if line.startswith("| `"):
            cells = [cell.strip().strip("`") for cell in line.strip("| ").split(" | ")]
            found.setdefault(cells[0], []).append(cells)
    return found


def errors(root: type[PostbackError] = PostbackError) -> list[type[PostbackError]]:
    """The errors that are raised: the leaves of the tree."""
    children = root.__subclasses__()
    return [leaf for child in children for leaf in errors(child)] if children else [root]


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield " ".join([*path, name]), command


LIMITING = ("max_body_bytes", "rate_limit", "rate_limit_events", "max_event_age_days")
COMMANDS = list(commands(main))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.variable)
def test_every_setting_has_its_default_and_its_help(setting: Setting) -> None:
    ((_, default, help_),) = rows(reference("settings"))[setting.variable]

    assert default == (setting.default or "unset")
    assert help_.startswith(setting.help)


def test_the_senders_variables_are_named() -> None:
    assert all(f"`{variable}`" in reference("settings") for variable in CLIENT_VARIABLES)


def test_every_documented_setting_exists() -> None:
    known = {setting.variable for setting in SETTINGS} | CLIENT_VARIABLES
    named = {name for page in PAGES for name in re.findall(r"\bPOSTBACK_[A-Z_]+\b", page.read_text())}

    assert named <= known


def test_every_route_is_named() -> None:
    document = json.loads(openapi_json("http://127.0.0.1:8787", list(TASKS), tag_paths()))
    routes = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    tasks = {f"POST /v1/{task}" for task in TASKS}
    documented = set(rows(reference("rest"))) | set(rows(reference("tag")))

    assert (
        routes - tasks | {"POST /v1/{task}", "POST /mcp", "POST /a2a", "GET /.well-known/agent-card.json"} <= documented
    )
    assert all(f"## {task}\n" in reference("tasks") or f"# {task}\n" in reference(task) for task in TASKS)


def test_every_parameter_that_narrows_a_list_of_conversions_is_described() -> None:
    paths = json.loads(openapi_json("http://127.0.0.1:8787", list(TASKS), tag_paths()))["paths"]
    parameters = paths["/v1/media-buys/{media_buy_id}/conversions"]["get"]["parameters"]
    described = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
    page = reference("get_media_buy_delivery")

    assert {*ConversionFilter.__struct_fields__} - {"period"} | {"start_date", "end_date"} <= described
    assert [name for name in described if f"`{name}`" not in page] == []


def test_every_page_and_action_of_the_console_is_told() -> None:
    documented = rows(reference("console")).keys()
    shown = {page.path for page in CONSOLE if not isinstance(page, Resource)}

    assert shown == {path for path in documented if path.startswith("/console")}


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_every_command_has_its_options(name: str, command: click.Command) -> None:
    section = reference("cli").partition(f"\n## postback {name}\n")[2].partition("\n## ")[0]

    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert f"`{parameter.opts[0]}`" in section


@pytest.mark.parametrize("error", errors(), ids=lambda error: error.__name__)
def test_every_error_has_its_status_and_its_code_in_each_release(error: type[PostbackError]) -> None:
    codes = [code_for(error.reason, release) for release in (None, *RELEASES)]
    table, meaning = rows(reference("codes"))[error.reason][:2]

    assert table[:3] == [error.reason, str(error.status), error.recovery]
    assert table[3:] in ([], codes)
    assert len(meaning) == 3


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_for_which_an_event_fails_has_its_code_in_each_release(reason: str) -> None:
    codes = [code_for(reason, release) for release in (None, *RELEASES)]

    assert [reason, *codes] in rows(reference("codes"))[reason]
    assert f"| `{reason}` |\n" in reference("log_event")


@pytest.mark.parametrize("code", WARNINGS)
def test_every_warning_has_its_fix(code: str) -> None:
    ((_, what, fix),) = rows(reference("warnings"))[code]

    assert what == f"{WARNINGS[code][0]}."
    assert fix.lower() == f"{WARNINGS[code][1]}.".lower()


@pytest.mark.parametrize("code", sorted(EXPOSURE_WARNINGS.keys() - WARNINGS.keys() | {"MISSING_USER_MATCH"}))
def test_every_warning_about_exposures_has_its_fix(code: str) -> None:
    ((_, what, fix),) = rows(reference("exposures"))[code]

    assert what == f"{EXPOSURE_WARNINGS[code][0]}."
    assert fix.lower() == f"{EXPOSURE_WARNINGS[code][1]}.".lower()


def test_every_metric_has_its_labels() -> None:
    metrics = Metrics()
    metrics.request("log_event", "rest", "ok", 0.1)
    metrics.request_size("rest", 1)
    metrics.request_stages.observe("read", 0.1)
    metrics.events(1, {("INVALID_REQUEST", "decode"): 1})
    metrics.warnings({"MISSING_VALUE": 1})
    metrics.exposures({"click": 1}, {"INVALID_REQUEST": 1})
    metrics.click("recorded")
    metrics.tag_dropped("GPC", 1)
    metrics.quarantined("event", 1)
    metrics.backlogs({2: 1})
    metrics.shard_attributed(2, datetime.now(UTC))
    metrics.background_failure("purge")
    metrics.forwarded("crm", "delivered", 1)
    metrics.background_loop("purge")
    metrics.broken_merge("restored")
    metrics.dropped(datetime.now(UTC), {"event": 1})
    metrics.refused("requests")
    metrics.console("/console/server", "ok", 0.1)
    metrics.sources(1, {"offline": 1}, datetime.now(UTC))
    metrics.backlog(lambda: {"crm": Backlog(1, 1, 1)})
    documented = rows(reference("metrics"))

    for family in text_string_to_metric_families(metrics.render().decode()):
        if family.name.startswith("postback_") and not family.name.endswith("_created"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            assert set(re.findall(r"\w+", documented[name][0][1])) - {"none"} == labels, name


def test_every_step_of_validation_is_told() -> None:
    stages = [line.split("`")[3] for line in reference("metrics").splitlines() if line.startswith("| `events` |")]

    assert stages == [name for name, _ in STEPS]


def test_every_field_of_the_access_log_is_named() -> None:
    documented = rows(reference("logs"))

    assert set(AccessLine.__struct_fields__) | {"time", "level", "logger", "exception"} <= documented.keys()
    assert set(RequestContext.__struct_fields__) <= documented.keys()


def test_the_priors_of_match_quality_are_told() -> None:
    page = reference("log_event")

    assert f"`{QUALITY_VERSION}`" in page
    assert re.findall(r"\| (0\.\d\d) \|$", page, re.MULTILINE) == [f"{prior:.2f}" for prior in PRIORS.values()]


def test_the_limits_are_told() -> None:
    limits = reference("log_event").partition("\n## Limits\n")[2]
    settings = [f"{int(setting.default or 0):,}" for setting in SETTINGS if setting.name in LIMITING]

    for bound in (f"{MAX_ITEMS:,}", f"{MAX_DEPTH} levels", f"{MAX_EVENT_VALUES:,} values", *settings):
        assert bound in limits
    assert f"1 to {MAX_ENTRIES:,} sources" in reference("tasks")
    assert f"{REPLAY_TTL_SECONDS // 3600} hours" in reference("tasks")


def test_every_dependency_has_its_purpose() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = [project["project"]["dependencies"], *project["dependency-groups"].values()]
    names = {re.split(r"[>=;\s\[]", requirement)[0] for group in declared for requirement in group}
    explained = set(re.findall(r"^\| ([a-z0-9.-]+) \|", (DOCS / "dependencies.md").read_text(), re.MULTILINE))

    assert explained == names


def test_the_changelog_knows_this_version() -> None:
    assert f"{metadata('postback')['Version']}\n" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        path, _, anchor = link.partition("#")
        if ":" not in link:
            target = (page.parent / path).resolve() if path else page
            assert target.is_file(), link
            assert not anchor or anchor in anchors(target), link


def test_every_page_can_be_found_from_the_index() -> None:
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in _LINK.findall((DOCS / "index.md").read_text())}

    assert set(DOCS.rglob("*.md")) - {DOCS / "index.md"} <= linked


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = _HEADING.findall(page.read_text())
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
