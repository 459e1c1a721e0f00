"""A disk that takes no more: refusals, nothing acknowledged, and recovery without a restart."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_CHILD = Path(__file__).parent / "store_child.py"
_NAMESPACE = ["unshare", "--mount", "--map-root-user"]
_MOUNT = 'mount -t tmpfs -o size=64m tmpfs "$0"'


def can_mount(folder: Path) -> bool:
    if not shutil.which("unshare"):
        return False
    return subprocess.run([*_NAMESPACE, "sh", "-c", _MOUNT, folder], capture_output=True, check=False).returncode == 0


def check(*command: str | Path) -> None:
    """Run the child through its trouble, and check what it told."""
    told = json.loads(subprocess.check_output(command, text=True))
    assert told["full"] == [False] * 3
    assert told["readable"]
    assert told["again"] == [True] * 3
    assert told["acknowledged"].items() <= told["found"].items()


def test_a_full_disk_refuses_writes_until_there_is_room(tmp_path: Path) -> None:
    if not can_mount(tmp_path):
        pytest.skip("this system lets no test mount a disk of its own")
    script = f'{_MOUNT} && exec "$1" "$2" exhaust "$0"'
    check(*_NAMESPACE, "sh", "-c", script, tmp_path, sys.executable, _CHILD)


def test_a_process_that_may_not_write_recovers_when_it_may_again(tmp_path: Path) -> None:
    check(sys.executable, _CHILD, "limit", tmp_path)
