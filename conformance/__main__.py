"""Starts a sandbox, runs the official runner's storyboards over MCP and A2A, and prints docs/conformance.md's table.

    python -m conformance [--write] [STORYBOARD ...]

A storyboard is named by its file, as ``universal/security``; without names everything that is claimed is run, and the
official fuzzer. ADCP_STORYBOARDS names the folder: see :func:`conformance.storyboards.chosen`. ``--write`` puts the
table into the page when everything that is claimed passed, in the release that the page is about.
"""

from __future__ import annotations

import sys
from pathlib import Path

from conformance.fuzzer import fuzz_all
from conformance.runner import run_all
from conformance.storyboards import CLAIMED, PUBLISHED, MissingStoryboard, chosen
from conformance.table import failures, fuzz_lines, table

__all__ = ["main"]

_PAGE = Path(__file__).parent.parent / "docs" / "conformance.md"
_MARK = "<!-- printed by make conformance -->\n"


def main(arguments: list[str]) -> int:
    """Run everything; 1 when something failed, 2 when a storyboard isn't there."""
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
            print(f"docs/conformance.md is left as it is: it shows all of AdCP {PUBLISHED}, passed.", file=sys.stderr)
        else:
            kept = _PAGE.read_text("utf-8").partition(_MARK)[0]
            _PAGE.write_text(f"{kept}{_MARK}\n{printed}\n", "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
