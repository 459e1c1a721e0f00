"""Sorted match keys in files that are mapped into memory: each is written once, read by binary search, and merged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["Integers", "KeySegment", "SegmentEntry", "Words", "expand", "merged", "read_segment"]

Words: TypeAlias = NDArray[np.uint64]
Integers: TypeAlias = NDArray[np.int64]


class KeySegment(NamedTuple):
    """Match keys in the order of their first eight bytes, which are ``high``; columns of equal length.

    Attributes:
        high: Bytes 0 to 7 of each match key, the first the most significant.
        low: Bytes 8 to 15.
        at: When the exposure happened, in µs since the epoch.
        exposure: Its number in the index.
        label: The number of its package and kind.
    """

    high: Words
    low: Words
    at: Integers
    exposure: NDArray[np.uint32]
    label: NDArray[np.uint32]

    def find(self, high: Words) -> tuple[Integers, Integers]:
        """Where the given keys may be: positions in ``high``, which is sorted, and the row that goes with each."""
        first = np.searchsorted(self.high, high)
        within = np.flatnonzero(first < len(self.high))
        wanted = within[self.high[first[within]] == high[within]]
        last = np.searchsorted(self.high, high[wanted], "right")
        counts = last - first[wanted]
        return np.repeat(wanted, counts), expand(first[wanted], counts)

    def where(self, kept: NDArray[np.bool_]) -> KeySegment:
        """The rows that are kept, in memory."""
        return KeySegment(self.high[kept], self.low[kept], self.at[kept], self.exposure[kept], self.label[kept])


_TYPES = (np.uint64, np.uint64, np.int64, np.uint32, np.uint32)
_ROW_BYTES = 32


class SegmentEntry(msgspec.Struct, frozen=True):
    """What the index knows of one file of keys.

    Attributes:
        name: Its name.
        rows: How many keys it has.
        checksum: The CRC-32 of its bytes.
        oldest: When the earliest of its exposures happened, in µs since the epoch; the least number if that was not
            noted, so that the file is looked through when old keys are dropped.
    """

    name: str
    rows: int
    checksum: int
    oldest: int = -(2**63)


def expand(first: NDArray[Any], counts: NDArray[Any]) -> Integers:
    """The numbers of ranges one after the other: ``first``, ``first + 1`` and so on, as many as ``counts`` says."""
    ends = np.cumsum(counts)
    starts = np.repeat(np.asarray(first, np.int64) - (ends - counts), counts)
    return starts + np.arange(len(starts), dtype=np.int64)


def _write(folder: Path, name: str, parts: Sequence[KeySegment]) -> SegmentEntry:
    """Write the rows of several segments, or of one that isn't sorted yet, as one; there is at least one row.

    One column is in memory at a time, beside the order of the rows.

    Raises:
        OSError: The file can't be written.
    """
    high = np.concatenate([part.high for part in parts])
    order = np.argsort(high, kind="stable")  # what consists of sorted pieces is merged in linear time
    checksum = 0
    (folder / name).unlink(missing_ok=True)
    with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        for number, kind in enumerate(_TYPES):
            joined = high if number == 0 else np.concatenate([part[number] for part in parts])
            column = np.ascontiguousarray(joined[order], kind).view(np.uint8).data
            checksum = crc32(column, checksum)
            file.write(column)
    return SegmentEntry(name, len(order), checksum, min(int(part.at.min()) for part in parts if len(part.at)))


def read_segment(folder: Path, entry: SegmentEntry) -> KeySegment:
    """Map a segment into memory, once its length and checksum are verified.

    Raises:
        OSError: The file can't be read.
        ValueError: It isn't what was written.
    """
    mapped = np.memmap(folder / entry.name, np.uint8, "r") if entry.rows else np.empty(0, np.uint8)
    if len(mapped) != entry.rows * _ROW_BYTES or crc32(mapped.data) != entry.checksum:
        raise ValueError(f"{entry.name} isn't what was written")
    return _columns(np.asarray(mapped), entry.rows)


def merged(folder: Path, name: str, parts: Sequence[KeySegment]) -> tuple[SegmentEntry, KeySegment]:
    """Write several segments as one, and map it into memory.

    Raises:
        OSError: The file can't be written.
    """
    entry = _write(folder, name, parts)
    return entry, _columns(np.asarray(np.memmap(folder / name, np.uint8, "r")), entry.rows)


def _columns(mapped: NDArray[np.uint8], rows: int) -> KeySegment:
    columns: list[Any] = []
    start = 0
    for kind in _TYPES:
        end = start + rows * np.dtype(kind).itemsize
        columns.append(mapped[start:end].view(kind))
        start = end
    return KeySegment(*columns)
