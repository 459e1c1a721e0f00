"""Parquet in blocks: columns of text, or JSON objects if a column has structure."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from postback.record_files.block import Block

__all__ = ["has_structure", "read_parquet", "read_parquet_objects"]

_encode = msgspec.json.Encoder(decimal_format="number").encode

_BINARY = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)


def has_structure(schema: pa.Schema) -> bool:
    """Whether a column holds lists, maps or structs."""
    return any(pa.types.is_nested(column.type) for column in schema)


def read_parquet(file: pq.ParquetFile, wanted: Sequence[int], rows: int) -> Iterator[Block]:
    """The wanted columns as text, named by their places: ``"0"``, …"""
    names = file.schema_arrow.names
    first = 1
    for batch in file.iter_batches(rows, columns=[names[place] for place in wanted]):
        table = pa.table({str(place): _text(batch.column(names[place])) for place in wanted})
        yield Block(table, range(first, first + len(batch)))
        first += len(batch)


def read_parquet_objects(file: pq.ParquetFile, rows: int) -> Iterator[Block]:
    """The rows as JSON objects, without what is null."""
    schema = pa.schema([column.with_type(_in_microseconds(column.type)) for column in file.schema_arrow])
    first = 1
    for batch in file.iter_batches(rows):
        records = [_encode(_plain(row)) for row in batch.cast(schema, safe=False).to_pylist()]
        yield Block(records, range(first, first + len(records)))
        first += len(records)


def _in_microseconds(kind: pa.DataType) -> pa.DataType:
    """A type whose times Python's have room for: those of ns become µs, also in lists, maps and structs."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if pa.types.is_time(kind):
        return pa.time64("us")
    if pa.types.is_duration(kind):
        return pa.duration("us")
    if pa.types.is_map(kind):
        return pa.map_(_in_microseconds(kind.key_type), _in_microseconds(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_in_microseconds(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_in_microseconds(kind.value_type)))
    return kind


def _text(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type):
        text = column
    elif pa.types.is_timestamp(column.type) and column.type.tz:
        text = pc.strftime(column.cast(pa.timestamp("us", "UTC")), "%Y-%m-%dT%H:%M:%SZ")
    elif any(is_kind(column.type) for is_kind in _BINARY):
        text = pa.array(map(_decoded, column.to_pylist()), pa.string())
    else:
        text = column.cast(pa.string())
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def _plain(value: Any) -> Any:
    """A value as JSON has it: a map becomes an object, bytes become text, and what is null is left out."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) and len(item) == 2 for item in value):
            return {str(name): _plain(inner) for name, inner in value if inner is not None}
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return value
