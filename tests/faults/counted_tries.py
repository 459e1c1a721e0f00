"""Tries of a fault that are counted in a file, so that a later run goes on with them, and what is printed of them."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["commits_of_tries", "counted_tries", "markdown_table", "options_of_tries", "read_tries"]


def _one(_: object) -> int:
    return 1


def counted_tries(
    wanted: int, file: Path, run: Callable[[], Mapping[str, Any]], count: Callable[[Any], int] = _one
) -> list[Any]:
    """Run as many tries as are missing.

    Args:
        wanted: How many there are to be, those of earlier runs included.
        file: What came of each, a line of JSON each, with the commit that was tried.
        run: Runs one, and returns what came of it.
        count: For how many a try counts.

    Returns:
        What came of all of them.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    tries = read_tries(file)
    commit = _commit()
    with file.open("a") as counted:
        while sum(map(count, tries)) < wanted:
            tries.append({**run(), "commit": commit})
            counted.write(json.dumps(tries[-1]) + "\n")
            counted.flush()
    return tries


def read_tries(file: Path) -> list[Any]:
    """What came of the tries that are counted in a file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def commits_of_tries(tries: Iterable[Mapping[str, Any]]) -> str:
    """What was tried, as a sentence: the commits, in the order of the tries."""
    return f"Counted at {', '.join(dict.fromkeys(each['commit'] for each in tries))}."


def options_of_tries(doc: str | None, counted: str, **wanted: int) -> argparse.ArgumentParser:
    """The options of a command that counts tries.

    Args:
        doc: What the command does.
        counted: The file that counts them, unless another is named.
        wanted: What is counted, and how many there are to be by default.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for what, number in wanted.items():
        parser.add_argument(
            f"--{what}", type=int, default=number, help="how many there are to be, those of earlier runs included"
        )
    parser.add_argument("--counted", type=Path, default=Path(counted), help="their file")
    parser.add_argument("--table", action="store_true", help="do nothing, print what was counted")
    return parser


def markdown_table(head: tuple[str, str], rows: Iterable[tuple[str, int | str]]) -> str:
    """A table for the documentation."""
    lines = (f"| {name} | {f'{value:,}' if isinstance(value, int) else value} |" for name, value in rows)
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *lines])


def _commit() -> str:
    """The commit whose code is tried, and whether that was changed since; what was counted since doesn't matter."""
    commit, changed = _git("describe", "--always", "--exclude=*"), _git("status", "--porcelain", "--", "src")
    return f"{commit or 'unknown'}{', with changes' if changed else ''}"


def _git(*command: str) -> str:
    return subprocess.run(["git", *command], capture_output=True, text=True, check=False).stdout.strip()
