"""SIGKILL while retention drops what is old: the next sweep completes it, and no report changes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.faults.kills import CHILD_ENVIRON

_CHILD = Path(__file__).parent / "retention_child.py"


def run(mode: str, folder: Path, ends: int = 0) -> list[Any]:
    """What a child prints, which ends with this status."""
    child = subprocess.run([sys.executable, _CHILD, mode, folder], env=CHILD_ENVIRON, stdout=subprocess.PIPE)
    assert child.returncode == ends
    return list(map(json.loads, child.stdout.splitlines()))


def cut_short(folder: Path) -> int:
    """How many statements there are whose number no part of their table has."""
    begun = (folder / "events/store").rglob("mutation_*.txt")
    return sum(not list(file.parent.glob(f"all_*_{file.stem.removeprefix('mutation_')}")) for file in begun)


def test_retention_survives_being_killed_in_any_step(tmp_path: Path) -> None:
    (reported,) = run("fill", tmp_path)
    for statement in ("settle", "drop_event_payloads"):
        run(statement, tmp_path, -signal.SIGKILL)
    assert cut_short(tmp_path)
    checked, rebuilt = run("check", tmp_path)

    assert sum(int(conversions) for *_, conversions, _, _ in reported[2]) > 100
    assert cut_short(tmp_path) == 0
    assert (checked["left"], checked["swept"], rebuilt) == (0, reported, reported)
