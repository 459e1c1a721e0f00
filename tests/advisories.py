"""Looks the pinned packages up among published advisories, by pip-audit: python -m tests.advisories PIP-AUDIT

By itself pip-audit ends with success when the registry that pip uses knows no advisories, and with a stack trace when
nothing can be reached. Here it ends with 0 only if every package was looked up and none has an advisory, with 1 if some
have, and with 2 if some could not be looked up.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["audited"]

_REQUIREMENTS = "requirements/run.txt"
_OPTIONS = ("--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off")
_KNOWN, _UNKNOWN = 1, 2


def audited(report: str, error: str = "") -> tuple[int, str]:
    """The exit code and what is to be said, of what pip-audit wrote.

    Args:
        report: Its report, as JSON; empty if there is none.
        error: What it wrote on standard error.
    """
    try:
        packages: Sequence[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError):
        last = error.strip().splitlines()[-1:] or ["it says nothing"]
        return _UNKNOWN, f"The advisories can't be reached ({last[0]}). Audit where https://pypi.org can be."
    advised = [
        f"{package['name']} {package['version']}: {vulnerability['id']}, "
        f"mended in {', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for package in packages
        for vulnerability in package.get("vulns", ())
    ]
    skipped = [package for package in packages if "skip_reason" in package]
    if skipped:
        why = f"{len(skipped)} of {len(packages)} packages could not be looked up ({skipped[0]['skip_reason']})."
        return _UNKNOWN, "\n".join([*advised, f"{why} Audit where https://pypi.org can be reached."])
    if advised:
        return _KNOWN, "\n".join([*advised, "Update them with 'make upgrade'."])
    return 0, f"None of the {len(packages)} packages has a known advisory."


def main() -> None:
    """Run pip-audit, and say what it found."""
    command = [sys.argv[1], "--requirement", _REQUIREMENTS, *_OPTIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    code, said = audited(done.stdout, done.stderr)
    sys.stdout.write(f"{said}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
