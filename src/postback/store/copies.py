"""What a copy of an event or exposure changed: by a digest for the store, and field by field.

The store keeps one row for each digest of an identity. Exact repeats have the same, so they collapse; a copy that says
something else, or brings other identifiers, stays beside the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
import numpy as np
import pyarrow as pa

__all__ = [
    "NO_ORDER_FIELDS",
    "EventContent",
    "OrderFields",
    "changed_fields",
    "event_copies",
    "event_fact",
    "exposure_copies",
    "order_fields",
]

_KEY_WORDS = 4
"""Words of 32 bits in a match key."""

_EXPOSURE_TEXTS = ("kind", "media_buy_id", "package_id", "creative_id", "currency")

_ODD = np.uint64(0x9E3779B97F4A7C15)
"""Spreads the bits of a number it is multiplied with."""

_encode = msgspec.msgpack.Encoder().encode


class OrderFields(msgspec.Struct):
    """The fields of custom_data that a copy may not change."""

    value: Any = None
    currency: Any = None
    order_id: Any = None


class EventContent(NamedTuple):
    """What a copy of an event may not change: the first write wins.

    Attributes:
        event_time: In µs since the epoch.
        custom_event_name: Empty if it has none.
        custom_data: As stored: JSON, or empty.
    """

    event_time: int
    custom_event_name: str
    custom_data: bytes


NO_ORDER_FIELDS = OrderFields()
_decode = msgspec.json.Decoder(OrderFields).decode


def order_fields(custom_data: bytes) -> OrderFields:
    """Those of custom_data as it is stored."""
    if not custom_data:
        return NO_ORDER_FIELDS
    fields = _decode(custom_data)
    if isinstance(fields.value, int):
        fields.value = float(fields.value)
    return fields


def changed_fields(first: EventContent, copy: EventContent) -> list[str]:
    """Which fields of a copy differ from the first's, by their paths in an event."""
    changed = []
    if first.event_time != copy.event_time:
        changed.append("event_time")
    if first.custom_event_name != copy.custom_event_name:
        changed.append("custom_event_name")
    if first.custom_data != copy.custom_data:
        before, after = order_fields(first.custom_data), order_fields(copy.custom_data)
        names = OrderFields.__struct_fields__
        changed += [f"custom_data.{name}" for name in names if getattr(before, name) != getattr(after, name)]
    return changed


def event_fact(event_time: int, name: str, order: Any) -> int:
    """A 32-bit digest of what a copy of an event may not change.

    Args:
        event_time: In µs since the epoch.
        name: Its custom_event_name; empty if it has none.
        order: A struct with what custom_data has of the fields of ``OrderFields``.
    """
    return crc32(_encode((event_time, name, order.value, order.currency, order.order_id)))


def event_copies(facts: pa.Array, match_keys: pa.BinaryArray) -> Any:
    """A 32-bit digest of each event's facts (see ``event_fact``) and identifiers, whatever their order.

    Args:
        facts: Of the events, as uint32.
        match_keys: Their match keys: the bytes of each one's keys, one after the other.
    """
    return np.asarray(facts, np.uint32) + _sums_of_keys(match_keys)


def exposure_copies(columns: Mapping[str, pa.Array]) -> Any:
    """A 32-bit digest of everything that is stored of each exposure but when it was received.

    Args:
        columns: Of the table ``exposure``, by their names, as ``store.rows.plain_array`` returns them.
    """
    cost = columns["cost"]
    digests = _sums_of_keys(columns["match_keys"]) + _mixed(np.asarray(columns["occurred_at"]), 1)
    digests += np.where(np.asarray(cost.is_null()), 0, _mixed(_low_words(cost), 2))
    for name in _EXPOSURE_TEXTS:
        digests += _digests_of_texts(name, columns[name])
    return digests


def _digests_of_texts(name: str, texts: pa.Array) -> Any:
    """A digest of a column's name and each text. Few of them are different, so that few are computed."""
    encoded = texts.dictionary_encode()
    digests = [crc32(f"{name}\0{text}".encode()) for text in encoded.dictionary.to_pylist()]
    return np.array(digests, np.uint32)[np.asarray(encoded.indices)]


def _mixed(numbers: Any, salt: int) -> Any:
    """A 32-bit digest of each 64-bit number."""
    return ((numbers.astype(np.uint64) + np.uint64(salt)) * _ODD >> np.uint64(32)).astype(np.uint32)


def _low_words(amounts: pa.Decimal128Array) -> Any:
    """The lower 64 bits of decimals, which hold any cost below 10^10; arbitrary ones for nulls."""
    words = np.frombuffer(amounts.buffers()[1] or b"", np.int64)
    return words[::2][amounts.offset : amounts.offset + len(amounts)]


def _sums_of_keys(match_keys: pa.BinaryArray) -> Any:
    """Of each row the sum of a word of every key. Keys are hashes, so that one word of them is as good as another."""
    _, offsets, data = match_keys.buffers()
    ends = np.frombuffer(offsets, np.int32)[match_keys.offset : match_keys.offset + len(match_keys) + 1]
    ends = ends // (4 * _KEY_WORDS)
    words = np.frombuffer(data, np.uint32, data.size // 4)[_KEY_WORDS - 1 :: _KEY_WORDS] if data else ()
    sums = np.zeros(len(words) + 1, np.uint64)
    np.cumsum(words, out=sums[1:])
    return (sums[ends[1:]] - sums[ends[:-1]]).astype(np.uint32)
