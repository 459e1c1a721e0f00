"""Results as readable Markdown: the same on the terminal and in docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

__all__ = ["Goal", "Section", "Table", "circumstances"]

_MEASURED = ("postback", "chdb-core-lite", "clickhouse-connect", "msgspec", "mcp", "adcp")


@dataclass(frozen=True, slots=True)
class Goal:
    """What was wanted, what was measured, and whether that is enough."""

    wanted: str
    measured: str
    met: bool


@dataclass(frozen=True, slots=True)
class Table:
    """Cells, already formatted. The first ``words`` columns are words, the others are figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1

    def __str__(self) -> str:
        widths = [max(map(len, cells)) for cells in zip(self.columns, *self.rows, strict=True)]
        rule = ["-" * width if n < self.words else "-" * (width - 1) + ":" for n, width in enumerate(widths)]
        return "\n".join(self._line(cells, widths) for cells in (self.columns, rule, *self.rows))

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        justified = [
            cell.ljust(width) if n < self.words else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(justified)} |"


@dataclass(frozen=True, slots=True)
class Section:
    """One benchmark's results.

    Attributes:
        title: Of the section.
        method: Says in whole sentences how they came about.
        table: What was measured.
        goals: What was wanted.
        figures: Numbers of the table that plans are made of, by name.
    """

    title: str
    method: str
    table: Table
    goals: Sequence[Goal] = field(default=())
    figures: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"## {self.title}", self.method, str(self.table)]
        if self.goals:
            parts.append(
                "\n".join(f"- {_mark(goal)}: {goal.wanted}; measured: {goal.measured}." for goal in self.goals)
            )
        return "\n\n".join(parts) + "\n"


def circumstances(command: str) -> str:
    """What a section's figures are of: the command, the day, the commit, the machine and the versions."""
    machine = f"{os.cpu_count()} cores ({_from_proc('cpuinfo', 'model name')}), {_memory_gib():.0f} GiB of memory"
    versions = ", ".join(f"{name} {version(name)}" for name in _MEASURED)
    return (
        f"Printed by `{command}` on {datetime.now(UTC):%Y-%m-%d} at commit {_commit()}: {machine}, "
        f"{platform.system()}, Python {platform.python_version()}, {versions}."
    )


def _mark(goal: Goal) -> str:
    return "Goal met" if goal.met else "**Goal missed**"


def _memory_gib() -> float:
    return int(_from_proc("meminfo", "MemTotal").removesuffix(" kB")) / 2**20


def _commit() -> str:
    """The commit, and whether what is measured has changed since; that figures were kept before changes nothing."""
    measured = ("src", "benchmarks/*.py", "requirements")
    commit = _git("describe", "--always") or "unknown"
    return f"{commit}, with changes" if _git("status", "--porcelain", "--", *measured) else commit


def _git(*arguments: str) -> str:
    git = ["git", "-C", str(Path(__file__).parents[1]), *arguments]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()


def _from_proc(file: str, name: str) -> str:
    lines = Path("/proc", file).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")
