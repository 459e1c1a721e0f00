"""Starts a sandbox, runs the official runner's storyboards over MCP and A2A, and prints docs/conformance.md's table.

    python -m conformance [--write]

ADCP_STORYBOARDS names a folder of storyboards; otherwise ``../shared/protocol/compliance-3.1.19`` is used where it
exists, and the ones that the runner's package brings where not.
"""

from __future__ import annotations

import sys
from pathlib import Path

from conformance.fuzzer import fuzz_all
from conformance.runner import run_all
from conformance.table import failures, fuzz_lines, table

_PAGE = Path(__file__).parent.parent / "docs" / "conformance.md"
_MARK = "<!-- printed by make conformance -->\n"


def main() -> int:
    """Run everything; 1 when a step failed."""
    results = run_all()
    fuzzed = fuzz_all()
    printed = f"{table(results)}\n\n{fuzz_lines(fuzzed)}"
    print(printed)
    wrong = failures(results) + [failure for part in fuzzed for failure in part.failures]
    for failure in wrong:
        print(failure, file=sys.stderr)
    if "--write" in sys.argv:
        kept = _PAGE.read_text("utf-8").partition(_MARK)[0]
        _PAGE.write_text(f"{kept}{_MARK}\n{printed}\n", "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
