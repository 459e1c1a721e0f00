"""Rows on their way to the event store: columns of Python values in, one Arrow stream out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["COLUMNS", "Column", "Rows", "Table", "arrow_stream", "plain_array"]

Table = Literal["event", "test_event", "rejected_event", "exposure", "delivery_total"]

_KEY_BYTES = 16

_TEXT = pa.string()
_JSON = pa.binary()
_TIME = pa.timestamp("us", tz="UTC")
_TEXTS = pa.list_(pa.string())
_MATCH_KEYS = pa.list_(pa.binary(_KEY_BYTES))
_SECONDS = pa.timestamp("s", tz="UTC")
_MONEY = pa.decimal128(38, 9)

_IDENTITY = {"account_id": _TEXT, "event_source_id": _TEXT, "event_type": _TEXT, "event_id": _TEXT}
_EVENT = _IDENTITY | {
    "event_time": _TIME,
    "received_at": _TIME,
    "action_source": _TEXT,
    "event_source_url": _TEXT,
    "custom_event_name": _TEXT,
    "custom_data": _JSON,
    "extra": _JSON,
    "match_keys": _MATCH_KEYS,
    "quality": pa.float32(),
    "warnings": _TEXTS,
}

COLUMNS: Mapping[Table, Mapping[str, pa.DataType]] = {
    "event": _EVENT,
    "test_event": _EVENT | {"test_event_code": _TEXT},
    "rejected_event": _IDENTITY
    | {"received_at": _TIME, "test_event_code": _TEXT, "reason": _TEXT, "field": _TEXT, "message": _TEXT},
    "exposure": {
        "account_id": _TEXT,
        "exposure_id": _TEXT,
        "kind": _TEXT,
        "occurred_at": _TIME,
        "received_at": _TIME,
        "media_buy_id": _TEXT,
        "package_id": _TEXT,
        "creative_id": _TEXT,
        "match_keys": _MATCH_KEYS,
        "cost": _MONEY,
        "currency": _TEXT,
    },
    "delivery_total": {
        "account_id": _TEXT,
        "media_buy_id": _TEXT,
        "package_id": _TEXT,
        "hour": _SECONDS,
        "creative_id": _TEXT,
        "received_at": _TIME,
        "impressions": pa.uint64(),
        "clicks": pa.uint64(),
        "spend": _MONEY,
        "currency": _TEXT,
    },
}
"""The columns that each table takes. In Python a time is an int (µs since the epoch; for an hour, seconds), money a
Decimal or None, JSON is bytes, and match keys are the bytes of a row's 16-byte keys, one after the other."""


_PLAIN = {_TIME: pa.int64(), _MATCH_KEYS: pa.binary()}

Column: TypeAlias = Sequence[Any] | pa.Array


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows for one table, as columns of equal length with the names of ``COLUMNS[table]``.

    A column is a sequence of Python values, or what ``plain_array`` makes of one.
    """

    table: Table
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.columns["account_id"])


def arrow_stream(table: Table, rows: Sequence[Rows]) -> tuple[list[str], pa.Buffer]:
    """The column names and the Arrow IPC stream of all these rows, which belong to one table.

    Raises:
        KeyError, OverflowError, TypeError, ValueError: A column is missing, or a value doesn't fit its type.
    """
    arrays = {
        name: _array([plain_array(table, name, part.columns[name]) for part in rows], kind)
        for name, kind in COLUMNS[table].items()
    }
    batch = pa.table(arrays)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_table(batch)
    return batch.column_names, sink.getvalue()


def plain_array(table: Table, name: str, values: Column) -> pa.Array:
    """A column's Python values as Arrow; an array is returned as it is.

    Raises:
        KeyError, OverflowError, TypeError, ValueError: No such column, or a value doesn't fit its type.
    """
    if isinstance(values, pa.Array):
        return values
    kind = COLUMNS[table][name]
    return pa.array(values, _PLAIN.get(kind, kind))


def _array(arrays: list[pa.Array], kind: pa.DataType) -> pa.Array:
    joined = arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)
    if kind is _MATCH_KEYS:
        return _match_keys(joined)
    return joined.view(_TIME) if kind is _TIME else joined


def _match_keys(joined: pa.BinaryArray) -> pa.ListArray:
    """Cut each row's bytes into keys by arithmetic on the offsets: no Python object per key."""
    _, offsets, data = joined.buffers()
    ends = pa.Int32Array.from_buffers(pa.int32(), len(joined) + 1, [None, offsets])
    if joined.null_count or pc.any(pc.not_equal(pc.bit_wise_and(ends, _KEY_BYTES - 1), 0)).as_py():
        raise ValueError(f"match_keys must hold whole keys of {_KEY_BYTES} bytes")
    bounds = pc.divide(ends, _KEY_BYTES)
    keys = pa.FixedSizeBinaryArray.from_buffers(pa.binary(_KEY_BYTES), bounds[-1].as_py(), [None, data])
    return pa.ListArray.from_arrays(bounds, keys)
