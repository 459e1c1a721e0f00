"""The records of a file as events, and events as log_event requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

from postback.cli.send.mapper import RowMapper, read_record
from postback.errors import StartupError
from postback.events.rejection import Rejection
from postback.record_files.block import Block
from postback.record_files.record_file import RecordFile

__all__ = ["Batch", "Line", "read_batches", "read_lines"]

_BATCH_BYTES = 16 * 2**20
_BLOCK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Line:
    """One event of the file.

    Attributes:
        number: The line at which it begins, from 1; in Parquet, its row.
        row: Which record it is, from 1.
        event: Its JSON.
    """

    number: int
    row: int
    event: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one request, and the request's other fields."""

    lines: list[Line]
    envelope: dict[str, object]

    @property
    def key(self) -> str:
        """The idempotency key: the same request has the same one in every run."""
        return f"postback-send-{blake2b(self._body(self.envelope), digest_size=16).hexdigest()}"

    def request(self, key: str) -> bytes:
        """The log_event request under this idempotency key."""
        return self._body(self.envelope | {"idempotency_key": key})

    def halves(self) -> tuple[Batch, Batch]:
        """Two batches, for a server that finds this one too large."""
        middle = len(self.lines) // 2
        return Batch(self.lines[:middle], self.envelope), Batch(self.lines[middle:], self.envelope)

    def _body(self, fields: dict[str, object]) -> bytes:
        events = b",".join(line.event for line in self.lines)
        return msgspec.json.encode(fields)[:-1] + b',"events":[' + events + b"]}"


Failed = Callable[[int, int, Rejection], None]
"""Called with the row and the line of a record that is not sent, and why."""


def read_lines(file: RecordFile, mapper: RowMapper | None, failed: Failed) -> Iterator[Line]:
    """The events of a file: its JSON records as they are, or what ``mapper`` makes of its rows."""
    places = (
        file.places_of({column: column for column in mapper.columns}) if mapper and file.columns is not None else {}
    )
    row = 0
    for block in file.blocks(sorted(set(places.values())), _BLOCK_BYTES):
        records = iter(_records(block, places))
        for place, number in enumerate(block.lines):
            row += 1
            try:
                if why := block.faults.get(place):
                    raise Rejection("MALFORMED_LINE", why)
                event = _event(next(records), mapper)
            except Rejection as rejection:
                failed(row, number, rejection)
                continue
            if event is not None:
                yield Line(number, row, event)


def _records(block: Block, places: dict[str, int]) -> Iterator[Any]:
    """The readable records: JSON as bytes, rows by the names of their columns."""
    if isinstance(block.records, list):
        yield from block.records
        return
    columns = [block.records.column(str(place)).to_pylist() for place in places.values()]
    for cells in zip(*columns, strict=True):
        yield dict(zip(places, cells, strict=True))


def _event(record: Any, mapper: RowMapper | None) -> bytes | None:
    if mapper is None:
        if not _is_json(record):
            raise Rejection("MALFORMED_LINE", "The line must be one JSON value.")
        return bytes(record)
    return mapper.event(read_record(record) if isinstance(record, bytes) else record)


def read_batches(lines: Iterator[Line], size: int, envelope: dict[str, object]) -> Iterator[Batch]:
    """Batches of up to ``size`` events and about 16 MiB, in the file's order."""
    batch: list[Line] = []
    batch_bytes = 0
    try:
        for line in lines:
            if batch and (len(batch) == size or batch_bytes + len(line.event) > _BATCH_BYTES):
                yield Batch(batch, envelope)
                batch, batch_bytes = [], 0
            batch.append(line)
            batch_bytes += len(line.event)
    except StartupError:
        # What could be read before the end of a damaged file is sent.
        if batch:
            yield Batch(batch, envelope)
        raise
    if batch:
        yield Batch(batch, envelope)


def _is_json(text: bytes) -> bool:
    try:
        text.decode()  # the decoder skips over strings without looking at their bytes
        msgspec.json.decode(text, type=msgspec.Raw)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return False
    return True
