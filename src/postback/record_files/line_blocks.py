"""Text in blocks of whole lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

from postback.record_files.block import MAX_RECORD_BYTES
from postback.record_files.opening import READ_ERRORS

__all__ = ["LineBlock", "read_line_blocks"]


@dataclass(frozen=True, slots=True)
class LineBlock:
    """Whole lines.

    Attributes:
        text: UTF-8 that ends in a line break.
        first: The number of the first line, from 1.
        count: How many lines.
        too_long: The numbers of lines that are longer than any record may be, and stand here as empty ones.
        last: Whether nothing follows.
    """

    text: bytes
    first: int
    count: int
    too_long: Set[int]
    last: bool


def read_line_blocks(chunks: Iterable[bytes], block_bytes: int) -> Iterator[LineBlock]:
    """Blocks of about ``block_bytes``. When reading fails, the whole lines that were read come before the error."""
    lines = _Lines()
    failure: BaseException | None = None
    try:
        for chunk in chunks:
            lines.add(chunk)
            if lines.size >= block_bytes and (block := lines.taken(last=False)):
                yield block
    except READ_ERRORS as error:
        failure = error
    if failure:
        if block := lines.taken(last=False):
            yield block
        raise failure
    if block := lines.taken(last=True):
        yield block


class _Lines:
    """Chunks of text on their way into blocks. What is too long for a record is counted and forgotten."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self._next = 1
        self._too_long: list[int] = []  # how many parts came before each
        self._forgetting = False
        self.size = 0

    def add(self, chunk: bytes) -> None:
        end = chunk.rfind(b"\n") + 1
        if not end:
            self._add_to_tail(chunk)
            return
        whole = chunk[:end]
        if self._forgetting:
            self._too_long.append(len(self._parts))
            whole, self._forgetting = whole[whole.find(b"\n") :], False
        else:
            whole = b"".join([*self._tail, whole]) if self._tail else whole
        self._tail, self._tail_bytes = [], 0
        self._parts.append(whole)
        self.size += len(whole)
        self._add_to_tail(chunk[end:])

    def _add_to_tail(self, text: bytes) -> None:
        if text and not self._forgetting:
            self._tail.append(text)
            self._tail_bytes += len(text)
            if self._tail_bytes > 8 * MAX_RECORD_BYTES:
                self._tail, self._tail_bytes, self._forgetting = [], 0, True

    def taken(self, *, last: bool) -> LineBlock | None:
        if last and self._forgetting:
            self._too_long.append(len(self._parts))
        if last and (self._tail or self._forgetting):
            self._parts.append(b"".join([*self._tail, b"\n"]))
            self._tail = []
        if not self._parts:
            return None
        too_long = {self._next + sum(part.count(b"\n") for part in self._parts[:parts]) for parts in self._too_long}
        text = b"".join(self._parts)
        block = LineBlock(text, self._next, text.count(b"\n"), too_long, last)
        self._next += block.count
        self._parts, self._too_long, self.size = [], [], 0
        return block
