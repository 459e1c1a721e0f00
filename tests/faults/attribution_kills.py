"""Kills a process while it attributes, in any statement: python -m tests.faults.attribution_kills --rounds 100

A round starts a child for each statement and kills it there; a last one compares what is stored with the reference.
The rounds are counted in a file, so that a later run goes on with them.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.counted_tries import counted_tries, markdown_table, options_of_tries, read_tries
from tests.faults.kills import CHILD_ENVIRON, kill_during

_CHILD = Path(__file__).parent / "attribution_child.py"

COUNTED = "tests/faults/counted/attribution_kills.jsonl"

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


def _run_round(number: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        found = killed_in(STATEMENTS, Path(folder), number * len(STATEMENTS))
    return found | {"right": is_right(found)}


def table(rounds: Sequence[dict[str, Any]]) -> str:
    """What came of the rounds, as a table of Markdown."""
    kills = [(f"`{statement}`", len(rounds)) for statement in STATEMENTS]
    total = [("All", len(rounds) * len(STATEMENTS)), ("Rounds whose result is not the reference's", _wrong(rounds))]
    return markdown_table(("Killed in the statement", "Kills"), [*kills, *total])


def _wrong(rounds: Sequence[dict[str, Any]]) -> int:
    return sum(not each["right"] for each in rounds)


def main() -> None:
    """Run the rounds, and print what came of all of them."""
    options = options_of_tries(__doc__, COUNTED, rounds=100).parse_args()
    numbers = itertools.count(len(read_tries(options.counted)))
    wanted = 0 if options.table else options.rounds
    rounds = counted_tries(wanted, options.counted, lambda: _run_round(next(numbers)))
    sys.stdout.write(table(rounds) + "\n")
    sys.exit(bool(_wrong(rounds)))


if __name__ == "__main__":
    main()
