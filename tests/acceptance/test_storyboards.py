"""AdCP's official runner finds nothing wrong with a sandbox, over MCP and over A2A."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from official_runner.fuzzer import fuzz_all
from official_runner.runner import PROTOCOLS, run_all
from official_runner.storyboards import BUNDLED, CLAIMED, chosen
from official_runner.table import failures

_ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.skipif(
    not shutil.which("npm"), reason="Node.js is not installed, and the official runner needs it"
)


@pytest.fixture(scope="module", autouse=True)
def _runner() -> None:
    subprocess.run(["make", "--silent", "official_runner/node_modules/.installed"], cwd=_ROOT, check=True, timeout=300)


def test_the_official_fuzzer_finds_nothing() -> None:
    for fuzzed in fuzz_all():
        assert fuzzed.failures == []
        assert fuzzed.calls > 100


def test_every_storyboard_that_is_claimed_passes() -> None:
    storyboards = chosen()

    results = run_all(storyboards)

    assert failures(results) == []
    assert len(results) == len(PROTOCOLS) * len(storyboards.files)


def test_the_runner_brings_every_storyboard_that_is_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADCP_STORYBOARDS", str(BUNDLED))

    storyboards = chosen()

    assert len(storyboards.files) + len(storyboards.left_out) == len(CLAIMED)
