"""CSV in blocks: columns of text.

Where every line of a block is one record, Arrow reads them all at once; any other block is read record by record, by
Python's parser. Both come to the same rows: what Arrow finds odd in any way is read again by the other.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from postback.record_files.block import MAX_RECORD_BYTES, Block
from postback.record_files.csv_header import Header
from postback.record_files.line_blocks import LineBlock, read_line_blocks

__all__ = ["read_csv"]

_BAD_BYTES = "The row has bytes that are not {encoding}. Name the file's encoding with --encoding, for example {other}."
_UNCLOSED = "The row has a quotation mark that opens a cell and is never closed. Close it, or write it twice."
_RETURN = (
    "The row has a carriage return within a line. Put the cell into quotation marks, or end lines in one way only."
)
_TOO_LONG = f"The row is longer than {MAX_RECORD_BYTES:,} bytes."

_PARSED_BYTES = 2**20
"""How much Arrow parses at a time: twice as fast as all at once, because it fits the processor's cache."""

_REPLACEMENT = "\ufffd".encode()

csv.field_size_limit(MAX_RECORD_BYTES)


def read_csv(
    chunks: Iterable[bytes], header: Header, wanted: Sequence[int], block_bytes: int, encoding: str
) -> Iterator[Block]:
    """The rows behind the header.

    Args:
        chunks: The text from the beginning, in UTF-8.
        header: The columns.
        wanted: The places of the columns that are needed. The columns of a block are named by them: ``"0"``, …
        block_bytes: About how much to read at a time.
        encoding: What the file was read as, for messages.
    """
    reader = _RowReader(header, wanted, encoding)
    carried = b""
    for lines in read_line_blocks(chunks, block_bytes):
        block = lines
        if lines.first == 1:
            block = _behind_header(lines, header.lines)
        if carried:
            first = block.first - carried.count(b"\n")
            block = LineBlock(
                carried + block.text, first, block.count + block.first - first, block.too_long, block.last
            )
            carried = b""
        if not block.text:
            continue
        if fast := reader.read_at_once(block):
            yield fast
            continue
        found, carried = reader.read_one_by_one(block)
        if len(found):
            yield found


def _behind_header(block: LineBlock, lines: int) -> LineBlock:
    end = 0
    for _ in range(lines):
        end = block.text.find(b"\n", end) + 1
    return LineBlock(block.text[end:], block.first + lines, block.count - lines, block.too_long, block.last)


@dataclass(slots=True)
class _Rows:
    """Rows that were read one by one, as columns."""

    columns: list[list[str | None]]
    lines: list[int] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)

    def add_fault(self, line: int, why: str) -> None:
        self.faults[len(self.lines)] = why
        self.lines.append(line)


class _RowReader:
    def __init__(self, header: Header, wanted: Sequence[int], encoding: str) -> None:
        self._separator = header.separator
        self._width = len(header.names)
        self._wanted = wanted
        self._replaced = encoding.startswith(("utf-16", "utf-32"))
        other = "windows-1252" if encoding == "utf-8" else "utf-8"
        self._bad_bytes = _BAD_BYTES.format(encoding=encoding.upper(), other=other)

    def read_at_once(self, block: LineBlock) -> Block | None:
        """All rows; None if there may be a line that isn't one whole row."""
        text = block.text
        if block.too_long:
            return None
        if b"\r" in text and text.count(b"\r") != text.count(b"\r\n"):
            return None
        if self._replaced and _REPLACEMENT in text:
            return None
        # A quotation mark that is never closed swallows a last row; without one there needs to be none.
        end = f"x{self._separator * (self._width - 1)}\n".encode() if b'"' in text else b""
        names = [str(place) for place in range(self._width)]
        wanted = [str(place) for place in self._wanted]
        try:
            table = pa_csv.read_csv(
                pa.BufferReader(text + end if end else text),
                pa_csv.ReadOptions(column_names=names, block_size=_PARSED_BYTES, use_threads=False),
                pa_csv.ParseOptions(delimiter=self._separator, newlines_in_values=bool(end)),
                pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(wanted, pa.string()),
                    include_columns=wanted,
                    strings_can_be_null=True,
                    null_values=[""],
                ),
            )
        except pa.ArrowException:
            return None
        if len(table) != block.count + bool(end):
            return None
        table = table.slice(0, block.count)
        if _has_blank_row(table):
            return None
        return Block(table, range(block.first, block.first + block.count))

    def read_one_by_one(self, block: LineBlock) -> tuple[Block, bytes]:
        """The rows, and the text of a last one that goes on in the next block."""
        lines = _Lines(block.text)
        rows = _Rows([[] for _ in self._wanted])
        carried = b""
        while not lines.at_end:
            start = lines.at
            number = block.first + start
            if number in block.too_long:
                rows.add_fault(number, _TOO_LONG)
                lines.at = start + 1
                continue
            cells, fault = self._next_row(lines)
            if lines.asked_beyond and not block.last:
                carried = lines.text_from(start)
                if len(carried) <= MAX_RECORD_BYTES:
                    break
                carried = b""
            if fault:
                rows.add_fault(number, fault)
                lines.at = start + 1
            elif any(cells) and not (len(cells) == 1 < self._width and cells[0].isspace()):
                self._add(rows, cells, number)
        table = {
            str(place): pa.array(column, pa.string()) for place, column in zip(self._wanted, rows.columns, strict=True)
        }
        return Block(_table(table, len(rows.lines) - len(rows.faults)), rows.lines, rows.faults), carried

    def _next_row(self, lines: _Lines) -> tuple[list[str], str]:
        """The cells of the next row, or why it can't be read."""
        lines.asked_beyond = False
        try:
            cells = next(csv.reader(lines, delimiter=self._separator))
        except csv.Error as error:
            return [], _RETURN if "new-line" in str(error) else _UNCLOSED
        return cells, _UNCLOSED if lines.asked_beyond else ""

    def _add(self, rows: _Rows, cells: list[str], number: int) -> None:
        if len(cells) > self._width and not any(cells[self._width :]):
            cells = cells[: self._width]  # separators at the end, as spreadsheets write them
        if len(cells) != self._width:
            rows.add_fault(number, _wrong_width(len(cells), self._width))
        elif not all(self._is_text(cells[place]) for place in self._wanted):
            rows.add_fault(number, self._bad_bytes)
        else:
            for place, column in zip(self._wanted, rows.columns, strict=True):
                column.append(cells[place] or None)
            rows.lines.append(number)

    def _is_text(self, cell: str) -> bool:
        try:
            cell.encode()
        except UnicodeEncodeError:
            return False
        return not (self._replaced and "\ufffd" in cell)


class _Lines:
    """The lines of a block, one by one, for Python's parser; it may be set back."""

    def __init__(self, text: bytes) -> None:
        self._lines = [line + b"\n" for line in text[:-1].split(b"\n")]
        self.at = 0
        self.asked_beyond = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self.at_end:
            self.asked_beyond = True
            raise StopIteration
        self.at += 1
        return self._lines[self.at - 1].decode("utf-8", "surrogateescape")

    @property
    def at_end(self) -> bool:
        return self.at >= len(self._lines)

    def text_from(self, start: int) -> bytes:
        return b"".join(self._lines[start:])


def _wrong_width(found: int, expected: int) -> str:
    columns = "1 column" if found == 1 else f"{found} columns"
    return (
        f"The row has {columns}, and the header has {expected}. Put cells that contain the separator or a line break "
        "into quotation marks."
    )


def _has_blank_row(table: pa.Table) -> bool:
    """Whether all wanted cells of a row are empty, so that the whole row may be."""
    if not table.num_columns or any(column.null_count == 0 for column in table.columns):
        return False
    return bool(pc.any(reduce(pc.and_, [pc.is_null(column) for column in table.columns])).as_py())


def _table(columns: dict[str, Any], count: int) -> pa.Table:
    if columns:
        return pa.table(columns)
    return pa.table({"": pa.nulls(count)})
