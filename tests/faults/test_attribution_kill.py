"""SIGKILL in the midst of a run of attribution: nothing is lost, and nothing is counted twice."""

from __future__ import annotations

from pathlib import Path

from tests.faults.attribution_kills import checked, is_right, killed_in, start


def test_attribution_survives_being_killed_where_it_notes_what_it_did(tmp_path: Path) -> None:
    """Where a repetition would count twice; python -m tests.faults.attribution_kills kills in every statement."""
    found = killed_in(("sum_exposures", "extend", "commit_outcomes", "sum_conversions"), tmp_path)

    assert found["attributed"] > 20
    assert found["refunds"] > 3
    assert is_right(found), found


def test_a_snapshot_from_the_midst_of_a_run_is_as_good_as_a_kill(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    with start("snapshots", data, 0) as working:
        assert working.wait() == 0
    for under_way in ("exposures", "none"):
        found = checked(tmp_path / under_way)
        assert found["events"]
        assert is_right(found), found
