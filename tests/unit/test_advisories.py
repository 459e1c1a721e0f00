"""An audit that could not look packages up doesn't pass for one that found nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.advisories import audited


def report(*packages: Mapping[str, object]) -> str:
    """As pip-audit writes it."""
    return json.dumps({"dependencies": packages, "fixes": []})


GOOD = {"name": "anyio", "version": "4.16.0", "vulns": []}
BAD = {"name": "h11", "version": "0.9", "vulns": [{"id": "GHSA-1", "fix_versions": ["0.16.0"], "aliases": []}]}
SKIPPED = {"name": "click", "skip_reason": "Dependency not found on PyPI and could not be audited: click (8.5.1)"}


def test_packages_without_an_advisory_pass() -> None:
    assert audited(report(GOOD)) == (0, "None of the 1 packages has a known advisory.")


def test_an_advisory_is_named_with_the_version_that_mends_it() -> None:
    code, said = audited(report(GOOD, BAD))

    assert code == 1
    assert "h11 0.9: GHSA-1, mended in 0.16.0" in said


def test_packages_that_were_not_looked_up_do_not_pass() -> None:
    code, said = audited(report(GOOD, BAD, SKIPPED))

    assert code == 2
    assert "1 of 3 packages could not be looked up" in said
    assert "GHSA-1" in said


def test_advisories_that_cannot_be_reached_are_a_sentence_and_no_stack_trace(tmp_path: Path) -> None:
    broken = tmp_path / "pip-audit"
    broken.write_text(f"#!{sys.executable}\nraise ConnectionError('no route to api.example')\n")
    broken.chmod(0o700)

    done = subprocess.run(
        [sys.executable, "-m", "tests.advisories", str(broken)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stdout.startswith("The advisories can't be reached (ConnectionError: no route to api.example).")
    assert "Traceback" not in done.stdout + done.stderr
