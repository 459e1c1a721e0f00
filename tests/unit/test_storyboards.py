"""The official runner's results are what they claim to be: the whole claim, of one release, as the runner graded it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from official_runner.__main__ import main
from official_runner.runner import Result
from official_runner.storyboards import CLAIMED, MissingStoryboard, chosen
from official_runner.table import failures


def folder_of(path: Path, release: str, names: tuple[str, ...] = CLAIMED) -> Path:
    for name in names:
        file = path / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (path / "index.json").write_text(json.dumps({"adcp_version": release}))
    return path


def step(result: str) -> dict[str, Any]:
    return {
        "id": "a_step",
        "task": "log_event",
        "result": result,
        "reason": None,
        "detail": "It went wrong.",
        "wrong": [],
    }


def told(passed: bool, *phases: tuple[bool, str]) -> Result:
    shown = [{"optional": optional, "steps": [step(result)]} for optional, result in phases]
    return Result("mcp", {"id": "a_storyboard", "passed": passed, "broken": [], "changes": [], "phases": shown})


def test_all_that_is_claimed_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADCP_STORYBOARDS", str(folder_of(tmp_path, "3.1.19")))

    storyboards = chosen()

    assert storyboards.release == "3.1.19"
    assert storyboards.files == [tmp_path / f"{name}.yaml" for name in CLAIMED]
    assert storyboards.left_out == {}


def test_what_an_older_release_leaves_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADCP_STORYBOARDS", str(folder_of(tmp_path, "3.0.6")))

    storyboards = chosen()

    assert "universal/idempotency" in storyboards.left_out
    assert len(storyboards.files) + len(storyboards.left_out) == len(CLAIMED)


def test_a_folder_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADCP_STORYBOARDS", "/nonexistent")

    with pytest.raises(MissingStoryboard, match="/nonexistent is not a folder"):
        chosen()


def test_a_storyboard_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADCP_STORYBOARDS", str(folder_of(tmp_path, "3.1.19", CLAIMED[:-1])))

    with pytest.raises(MissingStoryboard, match=CLAIMED[-1]):
        chosen()


def test_nothing_is_run_when_a_storyboard_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADCP_STORYBOARDS", str(tmp_path))

    assert main(["--write"]) == 2
    assert "does not contain" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("result", "problems"),
    [
        (told(True, (False, "passed")), []),
        (told(True, (False, "passed"), (True, "failed")), []),
        (told(False, (False, "failed"), (False, "passed")), ["a_step: It went wrong.", "as a whole: see its steps"]),
        (told(False, (False, "passed")), ["as a whole: see its steps"]),
        (told(True, (False, "skipped")), ["as a whole: no step passed"]),
    ],
    ids=["passed", "optional step failed", "step failed", "failed as a whole", "nothing passed"],
)
def test_a_storyboard_is_judged_as_the_runner_graded_it(result: Result, problems: list[str]) -> None:
    assert failures([result]) == [f"FAILED mcp a_storyboard {problem}" for problem in problems]
