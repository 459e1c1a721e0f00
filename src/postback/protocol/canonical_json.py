"""JSON in canonical forms: two texts that mean the same become equal bytes, to be compared or hashed."""

from __future__ import annotations

import re

import msgspec
import rfc8785

from postback.protocol.strict_json import LARGEST_EXACT, UNREADABLE, Json, decode_any

__all__ = ["canonical_json", "rfc8785_json"]

_INEXACT_NUMBER = re.compile(rb"\d{16}")

_encode_sorted = msgspec.json.Encoder(order="sorted").encode


def canonical_json(raw: bytes | msgspec.Raw) -> bytes:
    """JSON in a form that doesn't depend on how it was written; as it is, when it can't be parsed.

    Two texts have the same form when RFC 8785 gives them the same: numbers that no double tells apart are equal. The
    form itself is another, since this one is written ten times as fast.
    """
    try:
        return _encode_sorted(_as_doubles(raw))
    except (*UNREADABLE, OverflowError):
        return bytes(raw)


def rfc8785_json(raw: bytes | msgspec.Raw) -> bytes:
    """JSON in the canonical form of RFC 8785; as it is, when it can't be parsed."""
    try:
        tree = _as_doubles(raw)
        return msgspec.json.encode(tree) if isinstance(tree, str) else rfc8785.dumps(tree)  # the same for a text
    except (*UNREADABLE, OverflowError):
        return bytes(raw)


def _as_doubles(raw: bytes | msgspec.Raw) -> Json:
    """JSON, parsed, with numbers that are doubles, as they are for RFC 8785."""
    tree = decode_any(raw)
    return _rounded(tree) if _INEXACT_NUMBER.search(raw) else tree


def _rounded(tree: Json) -> Json:
    if isinstance(tree, dict):
        return {name: _rounded(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_rounded(item) for item in tree]
    return float(tree) if isinstance(tree, int) and abs(tree) > LARGEST_EXACT else tree
