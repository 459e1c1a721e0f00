"""The frames of the ingest log: one call each, whole or not there.

    header   magic, CRC-32 of all that follows it, sizes, sequence, the last sequence that was durable, receipt time
    summary  what a start must know: rows by table, receipt times, and the response to a retry (msgpack)
    body     the rows and the deliveries (msgpack; many rows as Arrow streams in it)

Rows are what the event store takes: keyed hashes instead of identifiers, and columns without personal data. Deliveries
are encrypted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
import pyarrow as pa

from postback.errors import InternalError
from postback.store.idempotency import LoggedAnswer
from postback.store.rows import Column, Rows, Table, plain_array

__all__ = ["Frame", "FrameBody", "PackedCall", "Summary", "framed", "pack", "read_frames", "valid_after"]

MAGIC = b"PBL1"
_HEADER = struct.Struct("<4sIIIQQQ")
_CHECKED = 8
"""Bytes of the header that the CRC doesn't cover: magic and CRC."""

_FEW = 64
"""Up to so many rows are written as plain lists: Arrow takes longer for a single event than the rest of its way."""

_MONEY = frozenset(("cost", "spend"))


class Summary(msgspec.Struct, array_like=True, frozen=True):
    """What is known of a frame without its rows.

    Attributes:
        rows: How many rows it has for each table.
        places: How many receipt times its rows take.
        answer: The response to a retry, or None.
        deliveries: How many deliveries it has.
        step: The distance of its receipt times, in µs.
    """

    rows: dict[str, int]
    places: int
    answer: LoggedAnswer | None = None
    deliveries: int = 0
    step: int = 1


class PackedCall(NamedTuple):
    """A call as bytes, without the numbers that it gets when it is appended."""

    summary: bytes
    body: bytes
    places: int
    rows: int


class FrameBody(NamedTuple):
    """The rows of a call with their receipt times, and the rows of the table ``forward`` for its deliveries."""

    rows: list[Rows]
    deliveries: list[dict[str, Any]]


class Frame(NamedTuple):
    """A frame whose CRC is right.

    Attributes:
        sequence: Its number: one more than that of the frame before it.
        durable: The last sequence that was known to be durable when it was written.
        received_at: The first receipt time of its rows, in µs since the epoch.
        summary: What is known of it without its rows.
        end: Where the next frame begins.
        packed: Its body.
    """

    sequence: int
    durable: int
    received_at: int
    summary: Summary
    end: int
    packed: memoryview

    def body(self) -> FrameBody:
        """Its rows and deliveries."""
        parts, deliveries = _decode_body(self.packed)
        rows = [
            Rows(table, _columns(columns)).received(self.received_at, self.summary.step) for table, columns in parts
        ]
        return FrameBody(rows, deliveries)


def _listed(value: Any) -> Any:
    """What msgpack doesn't know: ranges, and the arrays and numbers of numpy and Arrow."""
    return list(value) if isinstance(value, range) else value.tolist()


_encode = msgspec.msgpack.Encoder(enc_hook=_listed).encode
_decode_summary = msgspec.msgpack.Decoder(Summary).decode
_decode_body = msgspec.msgpack.Decoder(
    tuple[list[tuple[Table, dict[str, Any] | memoryview]], list[dict[str, Any]]]
).decode


def pack(
    rows: Sequence[Rows],
    answer: LoggedAnswer | None = None,
    deliveries: Sequence[Mapping[str, Any]] = (),
    step: int = 1,
) -> PackedCall:
    """A call as bytes.

    Args:
        rows: What to store, in the event store.
        answer: The response to a retry.
        deliveries: Rows for the table ``forward``, encrypted.
        step: The distance of the receipt times that it is to get, in µs.

    Raises:
        InternalError: A value can't be stored.
    """
    try:
        counts: dict[str, int] = {}
        for part in rows:
            counts[part.table] = counts.get(part.table, 0) + len(part)
        places = max((part.places for part in rows), default=0)
        summary = _encode(Summary(counts, places, answer, len(deliveries), step))
        body = _encode(([(part.table, _packed_columns(part)) for part in rows], deliveries))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        # Its text may quote a payload, so it goes nowhere.
        raise InternalError(f"Events could not be stored ({type(error).__name__}).") from None
    return PackedCall(summary, body, places, sum(counts.values()))


def _packed_columns(rows: Rows) -> Mapping[str, Column] | memoryview:
    if len(rows) <= _FEW:
        return rows.columns
    batch = pa.record_batch({name: plain_array(rows.table, name, values) for name, values in rows.columns.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return memoryview(sink.getvalue())


def _columns(packed: dict[str, Any] | memoryview) -> dict[str, Column]:
    if isinstance(packed, memoryview):
        with pa.ipc.open_stream(packed) as reader:
            batch = reader.read_next_batch()
        return dict(zip(batch.schema.names, batch.columns, strict=True))
    for name in _MONEY & packed.keys():
        packed[name] = [None if value is None else Decimal(value) for value in packed[name]]
    return packed


def framed(call: PackedCall, sequence: int, durable: int, received_at: int) -> bytes:
    """A call as a frame; the numbers are those of ``Frame``."""
    size, summary_size = len(call.summary) + len(call.body), len(call.summary)
    numbers = _HEADER.pack(MAGIC, 0, size, summary_size, sequence, durable, received_at)[_CHECKED:]
    crc = crc32(call.body, crc32(call.summary, crc32(numbers)))
    return b"".join((MAGIC, crc.to_bytes(4, "little"), numbers, call.summary, call.body))


def read_frames(data: bytes) -> Iterator[Frame]:
    """The frames from the beginning of a segment to the first that is not whole."""
    at = 0
    while (frame := _frame_at(memoryview(data), at)) is not None:
        yield frame
        at = frame.end


def valid_after(data: bytes, start: int) -> Iterable[Frame]:
    """The frames that are whole behind one that is not, wherever they begin."""
    at = data.find(MAGIC, start)
    while at >= 0:
        frame = _frame_at(memoryview(data), at)
        if frame is not None:
            yield frame
        at = data.find(MAGIC, at + 1)


def _frame_at(data: memoryview, at: int) -> Frame | None:
    start = at + _HEADER.size
    if start > len(data):
        return None
    magic, crc, size, summary_size, sequence, durable, received_at = _HEADER.unpack_from(data, at)
    end = start + size
    if magic != MAGIC or end > len(data) or summary_size > size or crc32(data[at + _CHECKED : end]) != crc:
        return None
    summary = _decode_summary(data[start : start + summary_size])
    return Frame(sequence, durable, received_at, summary, end, data[start + summary_size : end])
