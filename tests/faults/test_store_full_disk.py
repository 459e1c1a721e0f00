"""A disk that takes no more: refusals, nothing acknowledged, and recovery without a restart."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.faults.kills import CHILD_ENVIRON

CHILD = Path(__file__).parent / "store_child.py"
NAMESPACE = ["unshare", "--mount", "--map-root-user"]
_MOST_TRIES = 30
MOUNT = 'mount -t tmpfs -o size=64m tmpfs "$0"'


def can_mount(folder: Path) -> bool:
    if not shutil.which("unshare"):
        return False
    return subprocess.run([*NAMESPACE, "sh", "-c", MOUNT, folder], capture_output=True, check=False).returncode == 0


def check(*command: str | Path) -> None:
    """Run the child through its trouble, and check what it told."""
    told = json.loads(subprocess.check_output(command, env=CHILD_ENVIRON, text=True))
    assert told["full"] == [False] * 3
    assert told["readable"]
    assert told["again"] == [True] * 3
    assert told["acknowledged"].items() <= told["found"].items()


def fill_under_merges() -> dict[str, bool]:
    """Fill a disk while the engine merges, and make room: whether it did, found broken parts, and lost events."""
    with tempfile.TemporaryDirectory() as folder:
        script = f'{MOUNT} && exec "$1" "$2" merge "$0"'
        command = [*NAMESPACE, "sh", "-c", script, folder, sys.executable, str(CHILD)]
        told = json.loads(subprocess.check_output(command, env=CHILD_ENVIRON, text=True))
    lost = not told["acknowledged"].items() <= told["found"].items()
    return {"hit": told["hit"], "restored": told["restored"], "lost": lost}


def test_a_full_disk_refuses_writes_until_there_is_room(tmp_path: Path) -> None:
    if not can_mount(tmp_path):
        pytest.skip("this system lets no test mount a disk of its own")
    script = f'{MOUNT} && exec "$1" "$2" exhaust "$0"'
    check(*NAMESPACE, "sh", "-c", script, tmp_path, sys.executable, CHILD)


def test_a_disk_that_fills_under_merges_loses_nothing(tmp_path: Path) -> None:
    """Provoked more often, and under more load, by python -m tests.faults.full_disk_under_merges."""
    if not can_mount(tmp_path):
        pytest.skip("this system lets no test mount a disk of its own")
    for _ in range(_MOST_TRIES):
        tried = fill_under_merges()
        assert not tried["lost"]
        if tried["hit"]:
            return
    pytest.fail(f"none of {_MOST_TRIES} tries filled the disk under a merge")


def test_a_process_that_may_not_write_recovers_when_it_may_again(tmp_path: Path) -> None:
    check(sys.executable, CHILD, "limit", tmp_path)
