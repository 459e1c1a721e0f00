"""A package imports only what stands below it, no modules import each other in a circle, and an operation is a file."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import postback
from postback.tasks.registry import SELLER_TASKS, TASKS

FLOORS = (
    {"errors"},
    {"clickhouse_url", "collectors", "meters", "otlp_metrics", "protocol", "unused_packages"},
    {"logs", "setting_types"},
    {"clock", "config", "conformance", "metrics", "resources", "telemetry", "threads", "watchdog"},
    {"store"},
    {"auth", "backups"},
    {"accounts", "moving"},
    {"event_sources"},
    {"events", "forwarding", "products"},
    {"record_files"},
    {"exposures", "media_buys"},
    {"delivery"},
    {"attribution", "sandbox"},
    {"background", "opening", "services"},
    {"startup", "tasks"},
    {"transports"},
    {"console", "tag"},
    {"app"},
    {"cli"},
    {"__main__"},
)
"""Packages and modules of ``postback``, lowest first. Those of one floor don't import each other."""

LEVELS = {part: level for level, floor in enumerate(FLOORS) for part in floor}
ONLY_BELOW = {"conformance": {"errors", "protocol"}}
"""The suite that we ship runs against any seller's server, so it stands on the protocol alone."""

ROOT = Path(postback.__file__).parent
FILES = {
    ".".join(["postback", *file.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"): file
    for file in ROOT.rglob("*.py")
}


def imports(module: str) -> set[str]:
    """The modules of ``postback`` that a module imports, anywhere in it."""
    named: set[str] = set()
    for node in ast.walk(ast.parse(FILES[module].read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            named |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
    return {found for name in named if (found := name if name in FILES else name.rpartition(".")[0]) in FILES}


def part(module: str) -> str:
    return module.split(".")[1]


MODULES = sorted(FILES.keys() - {"postback"})
IMPORTS = {module: imports(module) - {"postback"} for module in MODULES}


def test_every_package_has_its_floor() -> None:
    assert {part(module) for module in MODULES} == LEVELS.keys()


def test_a_module_imports_only_what_stands_below_its_package() -> None:
    upwards = [
        (module, imported)
        for module in MODULES
        for imported in IMPORTS[module]
        if (own := part(module)) != (other := part(imported))
        and (LEVELS[other] >= LEVELS[own] or other not in ONLY_BELOW.get(own, LEVELS))
    ]
    assert upwards == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter(IMPORTS).prepare()


def test_no_import_is_only_for_the_type_checker() -> None:
    assert [module for module, file in FILES.items() if "TYPE_CHECKING" in file.read_text("utf-8")] == []


def test_every_operation_is_one_file_by_its_name() -> None:
    assert {name: task.function.__module__ for name, task in TASKS.items()} == {
        name: f"postback.tasks.{name}" for name in TASKS
    }
    sellers = {task.function.__module__ for task in SELLER_TASKS.values()}
    assert len(sellers) == len(SELLER_TASKS)
    assert all(module.startswith("postback.tasks.") for module in sellers)
