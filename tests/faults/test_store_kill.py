"""SIGKILL in the midst of an insert: what was acknowledged is there, once, and nothing is there by half."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

from tests.conftest import eventually
from tests.faults.kills import CHILD_ENVIRON, inserting, kill_during

_CHILD = Path(__file__).parent / "store_child.py"
_BATCH = 100


def kill_after(acknowledgements: int, folder: Path) -> set[int]:
    """Let a child store batches, kill it while it inserts, and return the batches that it acknowledged."""
    printed = folder / "printed"

    def batches(what: str) -> set[int]:
        return {line[what] for line in map(json.loads, printed.read_text().splitlines()) if what in line}

    with (
        printed.open("wb") as stream,
        subprocess.Popen([sys.executable, _CHILD, "acknowledge", folder], env=CHILD_ENVIRON, stdout=stream) as child,
    ):
        eventually(lambda: len(batches("acknowledged")) >= acknowledgements, "acknowledgement", pause=0.002)
        kill_during(child, inserting(folder, "event"), "an insert")
    assert batches("begun") - batches("acknowledged")
    return batches("acknowledged")


def stored(folder: Path) -> dict[int, int]:
    """Events of each batch, as a new process finds them."""
    output = subprocess.check_output([sys.executable, _CHILD, "count", folder], env=CHILD_ENVIRON, text=True)
    return {int(number): count for number, count in json.loads(output).items()}


def test_every_acknowledged_batch_survives_being_killed_whole_and_once(tmp_path: Path) -> None:
    acknowledged: set[int] = set()
    for _ in range(3):
        # Each round begins with the batches of the one before: retries, and copies of what was stored.
        acknowledged |= kill_after(random.randint(10, 60), tmp_path)
        found = stored(tmp_path)
        assert acknowledged <= found.keys()
        assert set(found.values()) == {_BATCH}
