"""Fills a disk under merges, again and again: python -m tests.faults.full_disk_under_merges --tries 500

Each try mounts a disk of its own, stores events until it is full while the engine merges and three other processes keep
the processor busy, makes room, has the merges checked and compares what is stored with what was acknowledged. The tries
are counted in a file, so that a later run goes on with them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.faults.counted_tries import counted_tries, markdown_table, options_of_tries, read_tries
from tests.faults.test_store_full_disk import can_mount, fill_under_merges

COUNTED = "tests/faults/counted/full_disk_under_merges.jsonl"

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


def table(tries: Sequence[dict[str, bool]]) -> str:
    """What came of the tries, as a table of Markdown."""
    hits = [each for each in tries if each["hit"]]
    lost = _lost(tries)
    rows: list[tuple[str, int | str]] = [
        ("Disks that were filled", len(tries)),
        ("Of them under a merge", len(hits)),
        ("Of them with broken parts, restored", sum(each["restored"] for each in hits)),
        ("Of them with lost events", lost),
    ]
    if hits and not lost:
        rows.append(("Share of such cases that lose events, with 95 % confidence below", f"{3 / len(hits):.1%}"))
    return markdown_table(("A full disk", "Number"), rows)


def _lost(tries: Sequence[dict[str, bool]]) -> int:
    return sum(each["lost"] for each in tries if each["hit"])


def main() -> None:
    """Run the tries, and print what came of all of them."""
    options = options_of_tries(__doc__, COUNTED, tries=500).parse_args()
    if not options.table:
        _run(options.tries, options.counted)
    tries = read_tries(options.counted)
    sys.stdout.write(table(tries) + "\n")
    sys.exit(bool(_lost(tries)))


def _run(wanted: int, counted: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if not can_mount(Path(folder)):
            sys.exit("This system lets no test mount a disk of its own (unshare --mount --map-root-user).")
    with busy_processor():
        counted_tries(wanted, counted, fill_under_merges)


if __name__ == "__main__":
    main()
