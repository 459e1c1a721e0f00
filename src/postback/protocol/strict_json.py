"""JSON as every caller must send it: nothing ambiguous, nothing that another parser reads differently.

msgspec parses it. What msgspec passes over is a name that one object gives twice. Every reader here finds that out
exactly: by what lies between the fields of an object, or by what would be written of it again. Which name it was
is found by a parser that is slower but shows every name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Set
from decimal import Decimal, InvalidOperation
from functools import cache, partial
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from postback.protocol.json_size import has_many_values, values_in

__all__ = [
    "LARGEST_EXACT",
    "MAX_DEPTH",
    "NO_JSON",
    "UNREADABLE",
    "InvalidJson",
    "Json",
    "RepeatedName",
    "TooLarge",
    "TooManyValues",
    "decode_any",
    "decode_typed",
    "fields_of",
    "json_type",
    "parse_json",
    "same_fields",
    "spell_out_half_pairs",
]


class InvalidJson(Exception):
    """JSON that is ambiguous, nests too deep, or that other parsers would choke on.

    Attributes:
        message: A sentence for the sender; it quotes nothing but names that the caller allowed.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RepeatedName(InvalidJson):
    """An object that gives the same name twice.

    Attributes:
        name: The name. It may be personal data.
    """

    def __init__(self, name: str, quotable: Set[str] = frozenset()) -> None:
        known = name if name in quotable else "a field"
        super().__init__(f"One object has the same field name twice: {known}. Send each field once.")
        self.name = name


class TooLarge(InvalidJson):
    """An object with more than it may hold beside its large fields."""


class TooManyValues(InvalidJson):
    """An object with more values than it may hold beside its large fields.

    Attributes:
        name: The field that has most of them, or empty. It may be personal data.
    """

    def __init__(self, name: str, most: int) -> None:
        super().__init__(f"The fields have more than {most:,} values.")
        self.name = name


MAX_DEPTH = 32
"""How deep an event's JSON may nest."""

Json = Any

NO_JSON = msgspec.Raw()
"""What an absent field holds that stays raw."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for JSON that it can't read, or that has another shape."""

_LONG_NUMBER = re.compile(rb"\d{19}")

LARGEST_EXACT = 2**53 - 1
"""The largest integer up to which each has a double of its own (RFC 7493, 2.2)."""

_FEW_BYTES = 8_192
_FEW_FIELDS = 1_000

_WHITE_SPACE = " \t\n\r"

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|u([dD][89a-fA-F][\da-fA-F]{2})|.)", re.DOTALL
)

_encode = msgspec.json.Encoder().encode

_INFINITE = "A number is too large for IEEE 754 double precision."


def _finite(text: str) -> float | int:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("Number out of range")
    return int(number) if number.is_integer() and abs(number) <= LARGEST_EXACT else number


def _exact(text: str) -> Decimal | int:
    _finite(text)
    try:
        number = Decimal(text)
    except InvalidOperation:
        return _SMALLEST
    whole = abs(number) <= LARGEST_EXACT and number == number.to_integral_value()
    return int(number) if whole else number


_SMALLEST = Decimal("1e-999999999")
"""Stands for numbers with an exponent that no Decimal has: as little as they, it can be stored exactly nowhere."""

decode_any = msgspec.json.Decoder(float_hook=_finite).decode
"""Reads JSON of any shape. Raises UNREADABLE; what is ambiguous passes."""

_decode_exact = msgspec.json.Decoder(float_hook=_exact).decode


def parse_json(
    raw: bytes | msgspec.Raw,
    quotable: Set[str] = frozenset(),
    *,
    what: str = "The event",
    max_depth: int = MAX_DEPTH,
    wide_integers: bool = False,
    decimals: bool = False,
) -> Json:
    """Parse any JSON, whatever its shape. A number without a fraction is an integer, also when it is written as 1.0.

    Args:
        raw: The JSON.
        quotable: The names that a message may repeat: those of the schema. Any other may be personal data.
        what: What it is, at the beginning of a message.
        max_depth: How deep it may nest.
        wide_integers: Whether integers may be larger than 64 bits.
        decimals: Whether numbers with a fraction are Decimals, exactly as they were sent, and not floats.

    Raises:
        InvalidJson: It is ambiguous, nests too deep, or other parsers would choke on it.
    """
    sent = bytes(raw)
    try:
        tree = decode_any(sent)
    except UNREADABLE:
        raise _diagnosis(sent, quotable, what, max_depth) from None
    if isinstance(tree, str):
        return tree
    # Only what has so many brackets can be so deep.
    if sent.count(b"[") + sent.count(b"{") > max_depth or _LONG_NUMBER.search(sent):
        _check_tree(tree, max_depth, partial(_too_deep, what, max_depth), wide_integers=wide_integers)
    if isinstance(tree, dict | list) and not same_fields(sent, _encode(tree)):
        _refuse_repeated_names(sent, quotable)
    return _decode_exact(sent) if decimals else tree


def _check_tree(tree: Json, levels: int, too_deep: Callable[[], InvalidJson], *, wide_integers: bool) -> None:
    """Refuse what other JSON parsers, the event store's among them, choke on."""
    if levels == 0:
        raise too_deep()
    if isinstance(tree, int) and not -(2**63) <= tree < 2**64:
        _check_wide_integer(tree, allowed=wide_integers)
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list):
        for item in tree:
            _check_tree(item, levels - isinstance(item, dict | list), too_deep, wide_integers=wide_integers)


def _check_wide_integer(number: int, *, allowed: bool) -> None:
    if not allowed:
        raise InvalidJson("An integer is too large for 64 bits. Send it as a string.")
    try:
        float(number)
    except OverflowError:
        raise InvalidJson(_INFINITE) from None


def _too_deep(what: str, max_depth: int) -> InvalidJson:
    return InvalidJson(f"{what} nests deeper than {max_depth} levels.")


def decode_typed(raw: bytes | msgspec.Raw, shape: Any) -> Any:
    """Decode JSON into a type. Where that has an integer, 1.0 is one, as in JSON Schema.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: It has another shape, or can't be read.
    """
    decoder = _typed_decoder(shape)
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        return decoder.decode(_encode(decode_any(raw)))


@cache
def _typed_decoder(shape: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(shape, float_hook=_finite)


def same_fields(sent: bytes, read: bytes) -> bool:
    """Whether no field of what was sent was lost on the way into Python objects, being given twice or null.

    A lost field takes its name along. Without an escape, every quotation mark begins or ends a string, and both texts
    have as many only if all names are there. With escapes, the colons and commas of the JSON are compared, which are
    what a space is put behind when it is laid out in a line. White space, the order of fields and the spelling of
    texts and numbers make no difference to either.

    Args:
        sent: JSON.
        read: What msgspec writes of the objects that it was read into; they refuse unknown fields, or have any. It
            writes numbers as numbers.
    """
    if b"\\" not in sent and b"\\" not in read:
        return _quotes(sent) == _quotes(read)
    return _spaces(msgspec.json.format(sent, indent=-1)) == _spaces(read)


def _quotes(text: bytes) -> int:
    # bytes.count looks at one byte at a time; a call of numpy's costs as much as a thousand of them.
    if len(text) < _FEW_BYTES:
        return text.count(b'"')
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord('"')))


def _spaces(compact: bytes) -> int:
    return len(msgspec.json.format(compact, indent=0)) - len(compact)


def fields_of(
    text: bytes | msgspec.Raw,
    large: Collection[str] = (),
    max_bytes_beside: int | None = None,
    max_values_beside: int | None = None,
) -> dict[str, msgspec.Raw]:
    """The fields of a JSON object, each still raw.

    Args:
        text: The JSON.
        large: Fields that may be large.
        max_bytes_beside: How large all others may be together, with what stands between.
        max_values_beside: How many values all others may have together.

    Raises:
        RepeatedName: The object gives the same name twice.
        TooLarge, TooManyValues: The fields that aren't ``large`` are too large.
        msgspec.ValidationError: It is not an object.
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: It can't be read.
    """
    set_apart: dict[str, msgspec.Raw] = {}
    if max_bytes_beside is not None and len(text) > max_bytes_beside:
        # Other fields are read and not kept, so that millions of them take no memory.
        found = msgspec.structs.asdict(_only(tuple(large)).decode(text))
        set_apart = {name: raw for name, raw in found.items() if raw}
        if len(text) - sum(map(len, set_apart.values())) > max_bytes_beside:
            raise TooLarge(f"The fields other than {', '.join(large)} are larger than {max_bytes_beside:,} bytes.")
        text = _with_zeros(text, set_apart.values())  # what is large is read once
    fields: dict[str, msgspec.Raw] = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    if max_values_beside is not None and len(text) > 2 * max_values_beside:
        _refuse_many_values({name: raw for name, raw in fields.items() if name not in large}, max_values_beside)
    _refuse_lost_fields(memoryview(text), fields)
    return fields | set_apart


def _refuse_many_values(fields: Mapping[str, msgspec.Raw], most: int) -> None:
    if has_many_values(b",".join(fields.values()), most):
        few = len(fields) <= _FEW_FIELDS  # otherwise they are themselves what is too much
        raise TooManyValues(max(fields, key=lambda name: values_in(bytes(fields[name]))) if few else "", most)


def _with_zeros(text: bytes, values: Collection[msgspec.Raw]) -> bytes:
    """JSON with a zero in the place of some of its values."""
    start, end = pa.py_buffer(text).address, 0
    parts: list[memoryview] = []
    for value in sorted(map(pa.py_buffer, values), key=_address):
        parts.append(memoryview(text)[end : value.address - start])
        end = value.address - start + value.size
    return b"0".join([*parts, memoryview(text)[end:]])


@cache
def _only(names: tuple[str, ...]) -> msgspec.json.Decoder[msgspec.Struct]:
    return msgspec.json.Decoder(msgspec.defstruct("_Only", [(name, msgspec.Raw, NO_JSON) for name in names], gc=False))


def _refuse_lost_fields(text: memoryview, fields: Mapping[str, msgspec.Raw]) -> None:
    """Raise RepeatedName if a field was lost: then more than one name lies before the value that follows it."""
    start = pa.py_buffer(text).address
    end = 0
    for value in sorted(map(pa.py_buffer, fields.values()), key=_address):
        begin = value.address - start
        if not _ONE_NAME.fullmatch(text, end, begin):
            raise RepeatedName(_first_name(text[end:begin]))
        end = begin + value.size


_ONE_NAME = re.compile(rb'[ \t\n\r]*+[{,][ \t\n\r]*+"[^"\\]*+(?:\\.[^"\\]*+)*+"[ \t\n\r]*+:[ \t\n\r]*+', re.DOTALL)
"""What lies before a field's value: a brace or comma, and its name."""

_address = attrgetter("address")
_scanner = json.JSONDecoder()


def _first_name(between: memoryview) -> str:
    behind_comma = str(between, "utf-8", "surrogatepass").strip(_WHITE_SPACE)[1:]
    name, _ = _scanner.raw_decode(behind_comma.lstrip(_WHITE_SPACE))
    return str(name)


def _diagnosis(sent: bytes, quotable: Set[str], what: str, max_depth: int) -> InvalidJson:
    """What msgspec refuses, found by a parser that is slower but tells more."""
    try:
        tree = _refuse_repeated_names(sent, quotable)
        json.dumps(tree, ensure_ascii=False).encode()
    except InvalidJson as error:
        return error
    except RecursionError:
        return _too_deep(what, max_depth)
    except UnicodeEncodeError:
        return InvalidJson("A string contains half of a surrogate pair, which is not a character. Send valid UTF-8.")
    except ValueError:
        return InvalidJson(f"{what} is not valid JSON.")
    return InvalidJson(f"{what} contains a string or number that JSON can't represent.")


def _refuse_repeated_names(sent: bytes, quotable: Set[str]) -> Json:
    return json.loads(
        sent, object_pairs_hook=partial(_with_names_once, quotable), parse_float=_loaded, parse_int=_loaded
    )


def _with_names_once(quotable: Set[str], pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    seen: set[str] = set()
    twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    raise RepeatedName(twice, quotable)


def _loaded(text: str) -> float | int:
    try:
        return _finite(text)
    except ValueError:
        raise InvalidJson(_INFINITE) from None


def spell_out_half_pairs(text: bytes) -> bytes:
    """JSON whose escapes of half a surrogate pair became bytes that are no UTF-8.

    Where such an escape stands no field stays raw; where such bytes stand it does, and is refused by itself.
    """
    return _ESCAPE.sub(_spelled_out, text)


def _spelled_out(escape: re.Match[bytes]) -> bytes:
    half: bytes | None = escape[1]
    return chr(int(half, 16)).encode("utf-8", "surrogatepass") if half else escape[0]


def json_type(value: Json) -> str:
    """A value's type, with its article."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
