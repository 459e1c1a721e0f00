"""Results as readable Markdown: the same on the terminal and in docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

__all__ = ["Goal", "Section", "Table", "heading"]

_MEASURED = ("postback", "chdb-core-lite", "clickhouse-connect", "msgspec", "mcp", "adcp")


@dataclass(frozen=True, slots=True)
class Goal:
    """What was wanted, what was measured, and whether that is enough."""

    wanted: str
    measured: str
    met: bool


@dataclass(frozen=True, slots=True)
class Table:
    """Cells, already formatted. The first column is words, the others are figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        widths = [max(map(len, cells)) for cells in zip(self.columns, *self.rows, strict=True)]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [self.columns, rule, *self.rows]
        return "\n".join(f"| {' | '.join(_justified(line, widths))} |" for line in lines)


@dataclass(frozen=True, slots=True)
class Section:
    """One benchmark's results. ``method`` says in whole sentences how they came about."""

    title: str
    method: str
    table: Table
    goals: Sequence[Goal] = field(default=())

    def __str__(self) -> str:
        parts = [f"## {self.title}", self.method, str(self.table)]
        if self.goals:
            parts.append(
                "\n".join(f"- {_mark(goal)}: {goal.wanted}; measured: {goal.measured}." for goal in self.goals)
            )
        return "\n\n".join(parts) + "\n"


def heading(command: str) -> str:
    """What the figures are of: the command, the day, the machine and the versions."""
    machine = f"{os.cpu_count()} cores ({_from_proc('cpuinfo', 'model name')}), {_memory_gib():.0f} GiB of memory"
    versions = ", ".join(f"{name} {version(name)}" for name in _MEASURED)
    return f"""# Benchmarks

Printed by `{command}` on {datetime.now(UTC):%Y-%m-%d}. Client and server shared one machine: {machine}, \
{platform.system()}, Python {platform.python_version()}. Versions: {versions}.

Ratios compare what was measured in the same run. The server is `postback serve` with `POSTBACK_RATE_LIMIT=0` and \
otherwise default settings; each answer was given after its events were on disk. An event is a purchase of about \
560 bytes of JSON with the digest of an e-mail address, a click id, and an IP address with a browser.
"""


def _justified(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cells[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))]


def _mark(goal: Goal) -> str:
    return "Goal met" if goal.met else "**Goal missed**"


def _memory_gib() -> float:
    return int(_from_proc("meminfo", "MemTotal").removesuffix(" kB")) / 2**20


def _from_proc(file: str, name: str) -> str:
    lines = Path("/proc", file).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")
