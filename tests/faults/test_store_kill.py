"""SIGKILL at any moment: what was acknowledged is there, once, and nothing is there by half."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

_CHILD = Path(__file__).parent / "store_child.py"
_BATCH = 100


def kill_after(acknowledgements: int, folder: Path) -> set[int]:
    """Let a child store batches, kill it, and return the batches that it acknowledged."""
    acknowledged: set[int] = set()
    child = subprocess.Popen([sys.executable, _CHILD, "acknowledge", folder], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        for line in child.stdout:
            acknowledged.add(json.loads(line))
            if len(acknowledged) == acknowledgements:
                child.kill()
    return acknowledged


def stored(folder: Path) -> dict[int, int]:
    """Events of each batch, as a new process finds them."""
    output = subprocess.check_output([sys.executable, _CHILD, "count", folder], text=True)
    return {int(number): count for number, count in json.loads(output).items()}


def test_every_acknowledged_batch_survives_being_killed_whole_and_once(tmp_path: Path) -> None:
    acknowledged: set[int] = set()
    for _ in range(3):
        # Each round begins with the batches of the one before: retries, and copies of what was stored.
        acknowledged |= kill_after(random.randint(10, 60), tmp_path)
        found = stored(tmp_path)
        assert acknowledged <= found.keys()
        assert set(found.values()) == {_BATCH}
