"""Before the engine starts it forgets the tokens of the inserts whose parts it lacks, and those only."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from postback.store.insert_tokens import forget_tokens_without_parts

BLOCKS = st.tuples(st.sampled_from(["all", "20260115"]), st.integers(0, 9), st.integers(0, 4)).map(
    lambda drawn: (drawn[0], drawn[1], drawn[1] + drawn[2])
)
"""A partition, and the first and last number of the inserts that a part has."""


@given(parts=st.sets(BLOCKS, max_size=12), tokens=st.lists(BLOCKS, max_size=12))
def test_a_token_stays_as_long_as_one_part_has_its_insert(
    parts: set[tuple[str, int, int]], tokens: list[tuple[str, int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as events:
        table = Path(events, "store", "abc", "abcdef")
        (table / "deduplication_logs").mkdir(parents=True)
        for partition, first, last in parts:
            (table / f"{partition}_{first}_{last}_1").mkdir()
        lines = {
            f"1\t{partition}_{first}_{last}_0\ttoken {number}\n": any(
                part == partition and begins <= first and last <= ends for part, begins, ends in parts
            )
            for number, (partition, first, last) in enumerate(tokens)
        }
        file = table / "deduplication_logs" / "deduplication_log_1.txt"
        file.write_text("".join(lines))

        forget_tokens_without_parts(Path(events))

        assert file.read_text() == "".join(line for line, stays in lines.items() if stays)
