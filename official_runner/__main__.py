"""Starts a sandbox, runs the official runner's storyboards over MCP and A2A, and prints docs/conformance.md's table.

    python -m official_runner [--write] [STORYBOARD ...]

A storyboard is named by its file, for example ``universal/security``. Without names, every claimed storyboard and the
official fuzzer run. ADCP_STORYBOARDS sets the folder: see ``official_runner.storyboards.chosen``. ``--write`` updates
the page when every claimed storyboard of the published release passed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from official_runner.fuzzer import fuzz_all
from official_runner.runner import run_all
from official_runner.storyboards import CLAIMED, PUBLISHED, MissingStoryboard, chosen
from official_runner.table import failures, fuzz_lines, table

__all__ = ["main"]

_PAGE = Path(__file__).parent.parent / "docs" / "conformance.md"
_MARK = "<!-- printed by make conformance -->\n"


def main(arguments: list[str]) -> int:
    """Run everything; returns 1 when something failed, 2 when a storyboard is missing."""
    names = [argument for argument in arguments if argument != "--write"]
    try:
        storyboards = chosen(names or CLAIMED)
    except MissingStoryboard as missing:
        print(missing, file=sys.stderr)
        return 2
    results = run_all(storyboards)
    fuzzed = [] if names else fuzz_all()
    printed = table(storyboards, results) + (f"\n\n{fuzz_lines(fuzzed)}" if fuzzed else "")
    print(printed)
    wrong = failures(results) + [failure for part in fuzzed for failure in part.failures]
    for failure in wrong:
        print(failure, file=sys.stderr)
    if "--write" in arguments:
        if wrong or names or storyboards.release != PUBLISHED:
            print(
                f"docs/conformance.md is unchanged: it shows a full pass of AdCP {PUBLISHED}.",
                file=sys.stderr,
            )
        else:
            kept = _PAGE.read_text("utf-8").partition(_MARK)[0]
            _PAGE.write_text(f"{kept}{_MARK}\n{printed}\n", "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
