"""The page on reliability has what was counted."""

from __future__ import annotations

from pathlib import Path

from tests.faults.reliability import written

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "reliability.md"


def test_the_tables_are_those_of_what_was_counted() -> None:
    page = PAGE.read_text()

    assert written(page) == page
