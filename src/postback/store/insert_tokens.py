"""The tokens of inserts that the engine remembers, in files beside the parts of a table.

The engine appends a token to its file before it renames the part of the insert into its place. Killed between the two,
it would believe that it has what it lacks, and drop the insert that repeats it. So tokens without a part are removed
before it starts.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from postback.store.data_folder import write_durably

__all__ = ["forget_tokens_without_parts"]

_FOLDER = "deduplication_logs"
_PART = re.compile(r"(?P<partition>.+)_(?P<first>\d+)_(?P<last>\d+)_\d+(_\d+)?\Z")
_ADDED = "1"


class _Blocks(NamedTuple):
    """The inserts that a part has: their numbers, in one partition of the table."""

    partition: str
    first: int
    last: int


class _Parts:
    """The parts of a table, and which inserts they have: there may be hundreds of parts, and thousands of tokens."""

    def __init__(self, parts: Iterable[_Blocks]) -> None:
        self._firsts: dict[str, list[int]] = {}
        self._lasts: dict[str, list[int]] = {}
        for partition, first, last in sorted(parts):
            lasts = self._lasts.setdefault(partition, [])
            self._firsts.setdefault(partition, []).append(first)
            lasts.append(max([last, *lasts[-1:]]))

    def have(self, blocks: _Blocks) -> bool:
        """Whether one part has these inserts: of those that begin no later, the one that ends last."""
        before = bisect_right(self._firsts.get(blocks.partition, ()), blocks.first)
        return before > 0 and self._lasts[blocks.partition][before - 1] >= blocks.last


def forget_tokens_without_parts(events: Path) -> None:
    """Let the engine forget the inserts whose parts it lacks, and what can't be read. No engine may use the folder.

    Args:
        events: The engine's folder; it may be missing or empty.
    """
    for file in sorted(events.glob(f"store/*/*/{_FOLDER}/*.txt")):
        parts = _Parts(blocks for path in file.parent.parent.iterdir() if (blocks := _blocks(path.name)))
        text = file.read_text(errors="replace")
        kept = "".join(line for line in text.splitlines(keepends=True) if _holds(line, parts))
        if kept != text:
            write_durably(file, kept)


def _holds(line: str, parts: _Parts) -> bool:
    """Whether what a line says is so: that an insert was added, or that a token was forgotten."""
    fields = line.split("\t")
    blocks = _blocks(fields[1]) if len(fields) == 3 and line.endswith("\n") else None
    return blocks is not None and (fields[0] != _ADDED or parts.have(blocks))


def _blocks(name: str) -> _Blocks | None:
    """The inserts that a part of this name has; None for what is no part."""
    found = _PART.match(name)
    return found and _Blocks(found["partition"], int(found["first"]), int(found["last"]))
