"""JSON in blocks: the lines of NDJSON, and the elements of an array, each as its bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from postback.errors import StartupError
from postback.record_files.block import MAX_RECORD_BYTES, Block
from postback.record_files.line_blocks import read_line_blocks
from postback.record_files.opening import READ_ERRORS

__all__ = ["read_array", "read_json_lines"]

_TOO_LONG = f"The record is longer than {MAX_RECORD_BYTES:,} bytes."
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|["\[\]{},]', re.DOTALL)
"""What an array is made of. A quotation mark alone begins a text whose end has not been read yet."""

_OPENING, _CLOSING = (b"[", b"{"), (b"]", b"}")
_SPACE = b" \t\r\n"


def read_json_lines(chunks: Iterable[bytes], block_bytes: int) -> Iterator[Block]:
    """The lines, without empty ones."""
    for block in read_line_blocks(chunks, block_bytes):
        records: list[bytes] = []
        numbers: list[int] = []
        faults: dict[int, str] = {}
        for number, line in enumerate(block.text[:-1].split(b"\n"), block.first):
            if number in block.too_long:
                faults[len(numbers)] = _TOO_LONG
            elif record := line.strip():
                records.append(record)
            else:
                continue
            numbers.append(number)
        if numbers:
            yield Block(records, numbers, faults)


def read_array(chunks: Iterable[bytes], block_bytes: int, label: str) -> Iterator[Block]:
    """The elements of one JSON array. Where it isn't one any more, an error says so after the elements before.

    Raises:
        StartupError: It is no array, or has no end.
    """
    array = _Array(label)
    failure: BaseException | None = None
    try:
        for chunk in chunks:
            array.add(chunk)
            if array.size >= block_bytes and (block := array.taken()):
                yield block
        array.finish()
    except (*READ_ERRORS, StartupError) as error:
        failure = error
    if block := array.taken():
        yield block
    if failure:
        raise failure


class _Array:
    """An array that is read in chunks: finds where its elements end, however deep they nest, without parsing them."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._depth = 0
        self._ended = False
        self._text = b""  # from where the element begins that has no end yet
        self._line = 1  # where that is
        self._scanned = 0  # how much of it needs no second look
        self._too_long = False
        self._records: list[bytes] = []
        self._numbers: list[int] = []
        self._faults: dict[int, str] = {}
        self.size = 0

    def add(self, chunk: bytes) -> None:
        """Read on."""
        self._text += chunk
        if not (self._depth or self._ended):
            self._open()
        if self._depth:
            self._scan()
        if self._ended and self._text.strip(_SPACE):
            raise StartupError(f"{self._label} has text after the end of its JSON array. Keep one array.")

    def finish(self) -> None:
        """Nothing follows.

        Raises:
            StartupError: But something should.
        """
        if self._depth:
            raise StartupError(f"{self._label} is cut off: its JSON array has no end.")

    def taken(self) -> Block | None:
        """The elements since the last time."""
        if not self._numbers:
            return None
        block = Block(self._records, self._numbers, self._faults)
        self._records, self._numbers, self._faults, self.size = [], [], {}, 0
        return block

    def _open(self) -> None:
        text = self._text.lstrip(_SPACE)
        if text and text[:1] != b"[":
            raise StartupError(
                f"{self._label} is one JSON value over several lines, not an array. Put the records into an array, or "
                "one on each line."
            )
        if text:
            self._drop(len(self._text) - len(text) + 1)
            self._depth = 1

    def _scan(self) -> None:
        begin = 0
        for match in _TOKEN.finditer(self._text, self._scanned):
            token = match[0]
            if token == b'"':
                break
            self._scanned = match.end()
            if token in _OPENING:
                self._depth += 1
            elif token in _CLOSING:
                self._depth -= 1
            if self._depth == 0 or (self._depth == 1 and token == b","):
                self._add_element(begin, match.start())
                begin = match.end()
            if self._depth == 0:
                self._ended = True
                break
        else:
            self._scanned = len(self._text)
        self._text = self._text[begin:]
        self._scanned -= begin
        if len(self._text) > 8 * MAX_RECORD_BYTES:
            self._shorten()

    def _add_element(self, begin: int, end: int) -> None:
        raw = self._text[begin:end]
        behind = raw.lstrip(_SPACE)
        if behind or self._too_long:
            if self._too_long:
                self._faults[len(self._numbers)] = _TOO_LONG
            else:
                self._records.append(behind.rstrip(_SPACE))
            self._numbers.append(self._line + raw.count(b"\n", 0, len(raw) - len(behind)))
            self.size += len(behind)
        self._line += raw.count(b"\n")
        self._too_long = False

    def _shorten(self) -> None:
        """Drop the beginning of an element that is longer than any record may be."""
        if self._scanned < MAX_RECORD_BYTES:
            raise StartupError(f"{self._label} has a string that is longer than {MAX_RECORD_BYTES:,} bytes.")
        self._drop(self._scanned)
        self._too_long = True

    def _drop(self, end: int) -> None:
        self._line += self._text.count(b"\n", 0, end)
        self._text, self._scanned = self._text[end:], 0
