"""Rows for the event store: columns of Python values in, one Arrow stream out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from postback.store.copies import event_copies, event_fact, exposure_copies, order_fields

__all__ = ["COLUMNS", "Column", "Rows", "Table", "arrow_stream", "plain_array"]

Table = Literal["event", "test_event", "rejected_event", "exposure", "delivery_total", "invalid_click"]

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
_COPY = {"copy": pa.uint32()}

COLUMNS: Mapping[Table, Mapping[str, pa.DataType]] = {
    "event": _EVENT | _COPY | {"duplicate": pa.uint8()},
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
    }
    | _COPY,
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
    "invalid_click": {
        "account_id": _TEXT,
        "media_buy_id": _TEXT,
        "package_id": _TEXT,
        "hour": _SECONDS,
        "reason": _TEXT,
        "clicks": pa.uint64(),
    },
}
"""The columns that each table takes. In Python a time is an int (µs since the epoch; for an hour, seconds), money a
Decimal or None, JSON is bytes, and match keys are the bytes of a row's 16-byte keys, one after the other."""

_PLAIN = {_TIME: pa.int64(), _MATCH_KEYS: pa.binary()}

_ON_THE_WAY = {"facts": pa.uint32(), "place": pa.int64()}
"""Columns of rows that are not stored."""

Column: TypeAlias = Sequence[Any] | pa.Array


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows for one table, as columns of equal length with the names of ``COLUMNS[table]``.

    A column is a sequence of Python values, or the array that ``plain_array`` returns for one. Instead of
    ``received_at`` there may be ``place``: the row's place in its call, ascending; the store then adds the receipt
    times when it inserts the rows. ``copy`` is always computed, for events from ``facts`` if all have that column;
    without ``duplicate`` none is one.
    """

    table: Table
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.columns["account_id"])

    def by(self, number: Callable[[str], int]) -> dict[int, Rows]:
        """The rows by a number of their account; they keep their order."""
        accounts = self.columns["account_id"]
        ids = accounts.to_pylist() if isinstance(accounts, pa.Array) else accounts
        numbers = {account_id: number(account_id) for account_id in dict.fromkeys(ids)}
        if len(set(numbers.values())) == 1:
            return {next(iter(numbers.values())): self}
        places: dict[int, list[int]] = {}
        for place, account_id in enumerate(ids):
            places.setdefault(numbers[account_id], []).append(place)
        return {
            key: replace(self, columns={name: _taken(column, some) for name, column in self.columns.items()})
            for key, some in places.items()
        }

    @property
    def places(self) -> int:
        """How many receipt times its call needs for these rows; 0 if they have theirs."""
        if "received_at" in self.columns or not len(self):
            return 0
        last = self.columns["place"][-1]
        return 1 + int(last.as_py() if isinstance(last, pa.Scalar) else last)

    def received(self, first: int, step: int = 1) -> Rows:
        """The rows with their receipt times, the one at place n ``first`` + n * ``step``, in µs since the epoch."""
        if "received_at" in self.columns:
            return self
        places = self.columns["place"]
        if isinstance(places, list):  # of a call with few rows, for which numpy takes longer than all else
            return replace(self, columns={**self.columns, "received_at": [first + n * step for n in places]})
        times = np.asarray(places, np.int64) * step + first
        return replace(self, columns={**self.columns, "received_at": pa.array(times)})


def _taken(column: Column, places: Sequence[int]) -> Column:
    return column.take(places) if isinstance(column, pa.Array) else [column[place] for place in places]


def arrow_stream(table: Table, rows: Sequence[Rows]) -> tuple[list[str], pa.Buffer]:
    """The column names and the Arrow IPC stream of rows of one table.

    Raises:
        KeyError, OverflowError, TypeError, ValueError: A column is missing, or a value doesn't fit its type.
    """
    rows = _merged(rows)
    names = [name for name in COLUMNS[table] if name != "copy"]
    plain = {name: _joined([_given(part, name) for part in rows]) for name in names}
    if "copy" in COLUMNS[table]:
        plain["copy"] = pa.array(_copies(table, rows, plain))
    batch = pa.table({name: _typed(plain[name], kind) for name, kind in COLUMNS[table].items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_table(batch)
    return batch.column_names, sink.getvalue()


def _merged(rows: Sequence[Rows]) -> list[Rows]:
    """The same rows, with the lists of many small calls made one: an array for each would take longer than all else."""
    merged: list[Rows] = []
    lists: dict[str, list[Any]] | None = None
    for part in rows:
        if not all(isinstance(column, list) for column in part.columns.values()):
            lists = None
            merged.append(part)
        elif lists is not None and lists.keys() == part.columns.keys():
            for name, values in part.columns.items():
                lists[name] += values
        else:
            lists = {name: list(values) for name, values in part.columns.items()}
            merged.append(Rows(part.table, lists))
    return merged


def _given(part: Rows, name: str) -> pa.Array:
    """A column of some rows, without what a duplicate is: then none is one."""
    if name == "duplicate" and name not in part.columns:
        return pa.repeat(pa.scalar(0, pa.uint8()), len(part))
    return plain_array(part.table, name, part.columns[name])


def _copies(table: Table, rows: Sequence[Rows], plain: Mapping[str, pa.Array]) -> Any:
    if table == "exposure":
        return exposure_copies(plain)
    if all("facts" in part.columns for part in rows):
        facts = _joined([_given(part, "facts") for part in rows])
    else:
        times, names, data = (plain[name].to_pylist() for name in ("event_time", "custom_event_name", "custom_data"))
        facts = list(map(event_fact, times, names, map(order_fields, data)))
    return event_copies(facts, plain["match_keys"])


def _joined(arrays: list[pa.Array]) -> pa.Array:
    return arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)


def plain_array(table: Table, name: str, values: Column) -> pa.Array:
    """A column's Python values as an Arrow array; an array is returned unchanged.

    Raises:
        KeyError, OverflowError, TypeError, ValueError: No such column, or a value doesn't fit its type.
    """
    if isinstance(values, pa.Array):
        return values
    kind = _ON_THE_WAY.get(name) or COLUMNS[table][name]
    return pa.array(values, _PLAIN.get(kind, kind))


def _typed(joined: pa.Array, kind: pa.DataType) -> pa.Array:
    if kind is _MATCH_KEYS:
        return _match_keys(joined)
    return joined.view(_TIME) if kind is _TIME else joined


def _match_keys(joined: pa.BinaryArray) -> pa.ListArray:
    """Cut each row's bytes into keys by arithmetic on the offsets: no Python object per key."""
    _, offsets, data = joined.buffers()
    ends = np.frombuffer(offsets, np.int32, len(joined) + 1)
    if joined.null_count or (ends % _KEY_BYTES).any():
        raise ValueError(f"match_keys must hold whole keys of {_KEY_BYTES} bytes")
    bounds = ends // _KEY_BYTES
    keys = pa.FixedSizeBinaryArray.from_buffers(pa.binary(_KEY_BYTES), int(bounds[-1]), [None, data])
    return pa.ListArray.from_arrays(pa.array(bounds), keys)
