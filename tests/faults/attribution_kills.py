"""Kills a process while it attributes, in any statement: python -m tests.faults.attribution_kills --rounds 20

A round starts a child for each statement and kills it there; a last one compares what is stored with the reference.
Rounds are numbered, and --first goes on with a later one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.kills import CHILD_ENVIRON, kill_during

_CHILD = Path(__file__).parent / "attribution_child.py"

STATEMENTS = (
    "sum_exposures",
    "extend",
    "index_events_by_link",
    "index_events_by_key",
    "resolve_outcomes",
    "sum_conversions",
    "commit_outcomes",
)
"""What a run does that writes to disk."""


def killed_in(statements: Iterable[str], folder: Path, first: int = 0) -> dict[str, Any]:
    """Kill a child in each of these statements; returns what is found then, and whether it is what it must be."""
    for seed, statement in enumerate(statements, first):
        with start("work", folder, seed) as working:
            kill_during(working, partial(_running, statement, folder), f"running {statement}")
    return checked(folder)


def checked(folder: Path) -> dict[str, Any]:
    """What is found once attribution has gone on from where it was cut short."""
    with start("check", folder, 0) as checking:
        assert checking.wait() == 0
    found: dict[str, Any] = json.loads(_printed(folder).read_text())
    return found


def is_right(found: dict[str, Any]) -> bool:
    """Whether all that was derived is what the reference derives."""
    return bool(found["outcomes"] and found["exposure_hours"] and found["conversion_hours"])


def start(mode: str, folder: Path, seed: int) -> subprocess.Popen[bytes]:
    """A child that works in a folder, or checks it."""
    with _printed(folder).open("wb") as stream:
        return subprocess.Popen([sys.executable, _CHILD, mode, folder, str(seed)], env=CHILD_ENVIRON, stdout=stream)


def _printed(folder: Path) -> Path:
    return folder / "printed"


def _running(statement: str, folder: Path) -> bool:
    """Whether this statement has begun and not ended, in a later round than the child's first."""
    lines = _printed(folder).read_text().splitlines()
    return "round" in lines and lines[-1] == f"begin {statement}"


def main() -> None:
    """Run the rounds, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    wrong = 0
    for number in range(options.first, options.first + options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            found = killed_in(STATEMENTS, Path(folder), number * len(STATEMENTS))
        wrong += not is_right(found)
        sys.stdout.write(f"round {number}: {found}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{options.rounds} rounds of {len(STATEMENTS)} kills, {wrong} of them wrong\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
