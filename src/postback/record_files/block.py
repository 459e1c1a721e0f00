"""A block of a file's records, and what is wrong with those that can't be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["MAX_RECORD_BYTES", "Block", "Records"]

MAX_RECORD_BYTES = 2**20
"""How long one record may be: what a call accepts of an event or an exposure is shorter."""

Records: TypeAlias = Any
"""Readable records: a pyarrow.Table of text in which null stands for an empty cell, or a list of the JSON of each."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some of the records of a file, in order.

    Attributes:
        records: Those that can be read.
        lines: For each record, also those that can't be read, the line of the file at which it begins, from 1; for
            Parquet, which has no lines, its number.
        faults: Place of a record in the block, from 0 → what is wrong with it, as a sentence that quotes nothing.
    """

    records: Records
    lines: Sequence[int]
    faults: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    def places(self) -> Sequence[int]:
        """The places of the readable records in the block."""
        if not self.faults:
            return range(len(self.lines))
        return [place for place in range(len(self.lines)) if place not in self.faults]

    def after(self, count: int) -> Block:
        """The block without its first records."""
        if not count:
            return self
        bad = sum(place < count for place in self.faults)
        return Block(
            self.records[count - bad :],
            self.lines[count:],
            {p - count: why for p, why in self.faults.items() if p >= count},
        )
