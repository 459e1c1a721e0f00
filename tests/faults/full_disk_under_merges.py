"""Fills a disk under merges, again and again: python -m tests.faults.full_disk_under_merges --tries 500

Each try mounts a disk of its own, stores events until it is full while the engine merges and three other processes keep
the processor busy, makes room, has the merges checked and compares what is stored with what was acknowledged. The tries
are counted in a file, so that a later run goes on with them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.counted_tries import counted_tries
from tests.faults.test_store_full_disk import can_mount, fill_under_merges

_BUSY = 3


@contextmanager
def busy_processor() -> Iterator[None]:
    """Keep the processor busy with other processes, so that merges and inserts meet at odd moments."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(_BUSY)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def main() -> None:
    """Run the tries, and print what came of all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tries", type=int, default=500, help="how many there are to be, those of earlier runs included"
    )
    parser.add_argument("--counted", type=Path, default=Path("build/full_disk_under_merges.jsonl"), help="their file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not can_mount(Path(folder)):
            sys.exit("This system lets no test mount a disk of its own (unshare --mount --map-root-user).")
    with busy_processor():
        tries = counted_tries(arguments.tries, arguments.counted, fill_under_merges)
    hits = [each for each in tries if each["hit"]]
    lost, restored = (sum(each[name] for each in hits) for name in ("lost", "restored"))
    told = (
        f"{len(tries)} tries, {len(hits)} of them under a merge: {restored} with broken parts, {lost} with lost events"
    )
    if hits and not lost:
        told += f"\nwith 95 % confidence fewer than {3 / len(hits):.1%} of such cases lose events"
    sys.stdout.write(told + "\n")
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
