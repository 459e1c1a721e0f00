"""SIGKILL in the midst of a run of attribution: nothing is lost, and nothing is counted twice."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.faults.kills import CHILD_ENVIRON, kill_during

_CHILD = Path(__file__).parent / "attribution_child.py"

_STATEMENTS = (
    "sum_exposures",
    "extend",
    "index_events_by_link",
    "index_events_by_key",
    "resolve_outcomes",
    "sum_conversions",
    "commit_outcomes",
)
"""What a run does that writes to disk."""


def start(mode: str, folder: Path, seed: int) -> subprocess.Popen[bytes]:
    """A child that prints to the file ``printed``."""
    with printed(folder).open("wb") as stream:
        return subprocess.Popen([sys.executable, _CHILD, mode, folder, str(seed)], env=CHILD_ENVIRON, stdout=stream)


def printed(folder: Path) -> Path:
    return folder / "printed"


def running(statement: str, folder: Path) -> bool:
    """Whether this statement has begun and not ended, in a later round than the child's first."""
    lines = printed(folder).read_text().splitlines()
    return "round" in lines and lines[-1] == f"begin {statement}"


def test_attribution_survives_being_killed_in_any_statement(tmp_path: Path) -> None:
    for seed, statement in enumerate(_STATEMENTS):
        with start("work", tmp_path, seed) as working:
            kill_during(working, partial(running, statement, tmp_path), f"running {statement}")
    with start("check", tmp_path, 0) as checking:
        assert checking.wait() == 0
    found = json.loads(printed(tmp_path).read_text())

    assert found["attributed"] > 20
    assert found["refunds"] > 20
    assert (found["outcomes"], found["exposure_hours"], found["conversion_hours"]) == (True, True, True), found
