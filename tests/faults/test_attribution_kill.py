"""SIGKILL while events are attributed: nothing is lost, and nothing is counted twice."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

_CHILD = Path(__file__).parent / "attribution_child.py"
_ROOT = Path(__file__).parents[2]


def child(mode: str, folder: Path, seed: int) -> subprocess.Popen[str]:
    environ = os.environ | {"PYTHONPATH": str(_ROOT)}
    command = [sys.executable, str(_CHILD), mode, str(folder), str(seed)]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)


def test_attribution_survives_being_killed_at_any_moment(tmp_path: Path) -> None:
    for seed in range(6):
        with child("work", tmp_path, seed) as working:
            assert working.stdout is not None
            working.stdout.readline()  # a round is done, so the next kill hits a run
            time.sleep(random.uniform(0, 0.6))
            working.kill()
    with child("check", tmp_path, 0) as checking:
        found = json.loads(checking.communicate()[0])

    assert found["attributed"] > 20
    assert (found["outcomes"], found["exposure_hours"], found["conversion_hours"]) == (True, True, True), found
