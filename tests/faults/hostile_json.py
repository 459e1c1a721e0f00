"""JSON that is almost right: a right call's arguments, spoiled in a few places, or its text, broken."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

__all__ = ["broken_text", "spoiled"]

_PLACES = 3
_MOST_BYTES = 1_000_000
_ADDED = (
    *("adcp_version", "adcp_major_version", "idempotency_key", "context", "ext", "account", "pagination", "dry_run"),
    *("push_notification_config", "governance_context", "unknown", "", "__proto__", "event_time", "value", "currency"),
)
"""Fields that many tasks have, and a few that none has; they may be put anywhere."""

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, -(2**63) - 1, 2**64, 10**30, 0.1, -0.0, 1e308, 5e-324),
    *("", " ", "a", "\0", "\u200b", "\u202e", "\ufeff", "\U0001f600" * 300, "é" * 257, "x" * 300),
    *("default", "website", "..", "../../etc/passwd", "' OR 1=1 --", "{name:String}", "%00", "${jndi:x}", "<script>"),
    *("2026-01-15T14:30:00Z", "9999-12-31T23:59:59Z", "0000-00-00T00:00:00Z", "2026-02-30", "-1", "1e9", "NaN"),
    *("jane@shop.example", "+12065550100", "a" * 64, "0x" + "A" * 64, "https://[::1", "http://169.254.169.254/", "//"),
    *([], {}, [[]], [None], [{}], {"": None}, {"$ref": "#"}, [1, "1", None, {}]),
    *("3.0", "3.1", "3.2", "99.9", "3", 3, "purchase", "USD", "XXX"),
)

_LARGE: tuple[Any, ...] = (
    *("x" * 70_000, "é" * 40_000, [[]] * 3_000, ["x"] * 20_000, [{}] * 11_000),
    {f"k{number}": number for number in range(3_000)},
)

_RAW = (
    *(b"1e400", b"-1e400", b"1" * 5_000, b"0." + b"1" * 5_000, b"1E+", b"01", b"+1", b".5", b"NaN", b"-Infinity"),
    *(b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\0"', b'"\xff\xfe"', b'"\xed\xa0\x80"', b'"\xc0\x80"'),
    *(b'{"a":1,"a":2}', b'[{"\\u0061":1,"a":2}]', b"[" * 70 + b"]" * 70, b'{"x":' * 70 + b"1" + b"}" * 70),
    *(b"/* */1", b"'a'", b"undefined", b'"\n"', b'"\\x41"', b'"\\', b""),
)
"""What no encoder writes."""

_LARGE_RAW = (b"[" * 5_000, b"[" * 5_000 + b"]" * 5_000, b"[" + b"0," * 20_000 + b"0]", b"1" * 100_000)
_LARGE_SHARE = 0.03
_STOPS = 0.25
"""How likely it is that what holds something is spoiled, and not what it holds."""

_MARK = "\ue000here"
_MARKED = msgspec.json.encode(_MARK)


def spoiled(right: Mapping[str, Any], chance: random.Random) -> bytes:
    """The arguments of a right call, as JSON, spoiled in up to three places."""
    tree = _copied(right)
    for _ in range(chance.randrange(_PLACES + 1)):
        chance.choice(_SPOILING)(tree, chance)
    text = msgspec.json.encode(tree)
    raw = chance.choice(_LARGE_RAW if chance.random() < _LARGE_SHARE else _RAW)
    if len(text) + text.count(_MARKED) * len(raw) > _MOST_BYTES:
        return spoiled(right, chance)
    return text.replace(_MARKED, raw)


def _replace(tree: dict[str, Any], chance: random.Random) -> None:
    holder, at = _place(tree, chance)
    holder[at] = _value(chance)


def _write_raw(tree: dict[str, Any], chance: random.Random) -> None:
    holder, at = _place(tree, chance)
    holder[at] = _MARK


def _remove(tree: dict[str, Any], chance: random.Random) -> None:
    holder, at = _place(tree, chance)
    if len(tree) > 1:
        del holder[at]


def _add(tree: dict[str, Any], chance: random.Random) -> None:
    holder, _ = _place(tree, chance)
    if isinstance(holder, dict):
        holder[chance.choice(_ADDED)] = _value(chance)


def _wrap(tree: dict[str, Any], chance: random.Random) -> None:
    holder, at = _place(tree, chance)
    inner = holder[at]
    holder[at] = chance.choice(([inner], {"value": inner}, str(inner), [inner] * 5))


def _repeat(tree: dict[str, Any], chance: random.Random) -> None:
    """Have many of what a list has; most of them are right."""
    holder, at = _place(tree, chance)
    if isinstance(holder[at], list):
        holder[at] = holder[at] * chance.choice((2, 2, 60, 300))


def _value(chance: random.Random) -> Any:
    return _copied(chance.choice(_LARGE if chance.random() < _LARGE_SHARE else _VALUES))


def _copied(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


_SPOILING: tuple[Callable[[dict[str, Any], random.Random], None], ...] = (
    *(_replace, _replace, _replace, _write_raw, _write_raw),
    *(_remove, _add, _wrap, _repeat),
)


def _place(tree: dict[str, Any], chance: random.Random) -> tuple[Any, Any]:
    """Somewhere in a tree: what holds the place, and under which name or number."""
    holder: Any = tree
    while True:
        at = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
        inner = holder[at]
        if not isinstance(inner, dict | list) or not inner or chance.random() < _STOPS:
            return holder, at
        holder = inner


def broken_text(text: bytes, chance: random.Random) -> bytes:
    """A text of JSON that is cut, flipped, doubled, or in another encoding."""
    at = chance.randrange(len(text) + 1)
    match chance.randrange(8):
        case 0:
            return text[:at]
        case 1:
            return text[:at] + chance.randbytes(chance.randint(1, 4)) + text[at:]
        case 2:
            return text[:at] + chance.choice((b",", b"{", b"}", b"[", b'"', b"\\", b"\0", b"//", b":")) + text[at:]
        case 3:
            return chance.choice((b"\xef\xbb\xbf", b"\0", b"\x1f\x8b", b" " * 10_000)) + text
        case 4:
            return text.decode("utf-8", "replace").encode(chance.choice(("utf-16", "utf-16-be", "utf-32", "utf-7")))
        case 5:
            return text + chance.choice((text, b",", b"\0", b"}"))
        case 6:
            return chance.choice((b"[%b]", b'"%b"', b"(%b)", b"[%b,%b]")).replace(b"%b", text)
        case _:
            return text[:at] + text[at + chance.randint(1, 20) :]
