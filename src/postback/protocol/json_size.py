"""How large one event or exposure may be, in bytes and in values: what lies above it is not parsed."""

from __future__ import annotations

import re

__all__ = ["MAX_EVENT_BYTES", "MAX_EVENT_VALUES", "SURELY_FEW_BYTES", "has_many_values", "size_problem", "values_in"]

MAX_EVENT_BYTES = 1_000_000
"""Bound on one event's JSON: parsed, it takes up to 30 times the memory."""

MAX_EVENT_VALUES = 10_000
"""Bound on the values in one event: objects, arrays and what is in them. Each takes as long as 100 bytes of text."""

SURELY_FEW_BYTES = 2 * MAX_EVENT_VALUES
"""JSON of this size has no more values: each takes a byte, and a comma or a bracket."""

_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def size_problem(raw: bytes, what: str) -> str | None:
    """A sentence about JSON that is too large to be parsed, or None.

    Args:
        raw: The JSON.
        what: What it is, at the beginning of the sentence.
    """
    if len(raw) > MAX_EVENT_BYTES:
        return f"{what} is larger than {MAX_EVENT_BYTES:,} bytes."
    if has_many_values(raw):
        return (
            f"{what} has more than {MAX_EVENT_VALUES:,} values: objects, arrays and what is in them. Send only fields "
            "that describe it."
        )
    return None


def has_many_values(raw: bytes, most: int = MAX_EVENT_VALUES) -> bool:
    """Whether JSON has more than ``most`` values, found without parsing it."""
    return len(raw) > 2 * most and _marks(raw) > most and values_in(raw) > most


def values_in(raw: bytes) -> int:
    """How many values there are in JSON. A comma or the bracket around it stands before each."""
    return _marks(_TEXT.sub(b"", raw) if b"\\" in raw else b"".join(raw.split(b'"')[::2]))


def _marks(text: bytes) -> int:
    brackets = text.count(b"[") + text.count(b"{")
    around_nothing = text.count(b"[]") + text.count(b"{}")
    return text.count(b",") + brackets - around_nothing
