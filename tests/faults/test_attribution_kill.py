"""SIGKILL in the midst of a run of attribution: nothing is lost, and nothing is counted twice."""

from __future__ import annotations

from pathlib import Path

from tests.faults.attribution_kills import is_right, killed_in


def test_attribution_survives_being_killed_where_it_notes_what_it_did(tmp_path: Path) -> None:
    """Where a repetition would count twice; python -m tests.faults.attribution_kills kills in every statement."""
    found = killed_in(("sum_exposures", "extend", "commit_outcomes", "sum_conversions"), tmp_path)

    assert found["attributed"] > 20
    assert found["refunds"] > 3
    assert is_right(found), found
