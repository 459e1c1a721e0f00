"""What is wrong with the type or the bounds of a JSON value, in sentences that never quote it."""

from __future__ import annotations

import re
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

__all__ = ["allowed_values", "describe_validation_error"]

_STEP = re.compile(r"\.(\w+)|\[")
_TYPES = {
    "int": "an integer",
    "float": "a number",
    "decimal": "a number",
    "str": "a string",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
"""Types, as msgspec names them → as sentences name them."""

_EXAMPLES = {
    "a string": "a string in quotes",
    "an integer": "a JSON integer, for example 3",
    "a number": "a JSON number, for example 12.50",
}
"""A type → with an example, or how it is written."""

_UNQUOTED = {"an integer": " without quotes", "a number": " without quotes and with a point before the decimals"}
"""What a string isn't that should be a number."""

_TIME = "must be an RFC 3339 date and time with a UTC offset, for example 2026-01-15T10:30:00Z"
_DAY = "must be a date, for example 2026-01-31"
_SPECIAL = {"datetime": _TIME, "date": _DAY}
_WITHOUT_EXAMPLE = frozenset(
    (
        *(("an integer", sent) for sent in ("float", "decimal")),
        *(("a string", sent) for sent in ("array", "object", "bool", "null")),
    )
)
"""What is wanted and what was sent, where an example would not help."""

_NOT_DECIMAL = "Invalid decimal string"
_TOO_LARGE = ("Integer value out of range", "Number out of range")
_WRONG_TYPE = re.compile(r"Expected `([^`]+)`, got `(\w+)`")
_WRONG_NUMBER = re.compile(r"Expected `(?:int|float|decimal)` (>=|<=|>|<) (-?[\d.e+]+)")
_WRONG_LENGTH = re.compile(r"Expected `(str|array|object)` of length (>= |<= |)(\d+)")
_WRONG_PATTERN = re.compile(r"Expected `str` matching regex '(.*)'")
_BOUNDS = {">=": "at least", "<=": "at most", ">": "greater than", "<": "less than"}
_UNITS = {"str": "character", "array": "item", "object": "field"}


def describe_validation_error(problem: str) -> tuple[str, str]:
    """The path and the cause in the text of a msgspec.ValidationError.

    Args:
        problem: The text, for example ``Expected `int`, got `str` - at `$.events[0].count```.

    Returns:
        The path to the value, for example ``.events[0].count``, or empty; and what is wrong with it, to follow its
        name: ``must be a string; it is an integer``, or ``is required`` for a missing field.
    """
    sentence, _, path = problem.partition(" - at `$")
    path = path.rstrip("`")
    if sentence.startswith("Object missing required field"):
        return f"{path}.{sentence.split('`')[1]}", "is required"
    if sentence.startswith("Invalid enum value"):  # the one sentence that quotes what was sent
        return path, "is not one of the allowed values"
    return path, _cause(sentence)


def _cause(sentence: str) -> str:
    if "datetime" in sentence:
        return _TIME
    if sentence.startswith(("Invalid RFC3339", "Invalid ISO8601")):
        return _DAY
    if sentence == _NOT_DECIMAL:
        return _wrong_type(["decimal"], "str")
    if sentence in _TOO_LARGE:
        return "is too large a number"
    if match := _WRONG_TYPE.fullmatch(sentence):
        return _wrong_type(match[1].split(" | "), match[2])
    if match := _WRONG_NUMBER.fullmatch(sentence):
        bound = float(match[2])
        return f"must be {_BOUNDS[match[1]]} {int(bound) if bound.is_integer() else bound:,}"
    if match := _WRONG_LENGTH.fullmatch(sentence):
        unit = _UNITS[match[1]] + ("" if match[3] == "1" else "s")
        return f"must have {_BOUNDS.get(match[2].strip(), 'exactly')} {int(match[3]):,} {unit}"
    if match := _WRONG_PATTERN.fullmatch(sentence):
        return f"must match the pattern {match[1]}"
    return f"is wrong: {sentence[0].lower()}{sentence[1:].replace('`', '')}"


def _wrong_type(expected: list[str], sent: str) -> str:
    special = next((_SPECIAL[name] for name in expected if name in _SPECIAL), None)
    if special:
        return special
    types = [_TYPES.get(name, name) for name in expected if name != "null"]
    wanted = " or ".join(types)
    if len(types) == 1 and (wanted, sent) not in _WITHOUT_EXAMPLE:
        wanted = _EXAMPLES.get(wanted, wanted) + (_UNQUOTED.get(wanted, "") if sent == "str" else "")
    if sent == "null":
        return f"must be {wanted}; it is null. Omit it if it has no value"
    return f"must be {wanted}; it is {'a boolean' if sent == 'bool' else _TYPES.get(sent, sent)}"


def allowed_values(shape: Any, path: str) -> list[str]:
    """The values that a field may have, if its type is an enumeration; else none.

    Args:
        shape: The type of the whole.
        path: The path to the field, as returned by ``describe_validation_error``.
    """
    return _allowed_values(shape, [match[1] for match in _STEP.finditer(path)])


def _allowed_values(shape: Any, steps: list[str | None]) -> list[str]:
    origin, parts = get_origin(shape), get_args(shape)
    if origin is Literal:
        return list(parts)
    if origin is Annotated:
        return _allowed_values(parts[0], steps)
    if origin in (Union, UnionType):
        return next((found for part in parts if (found := _allowed_values(part, steps))), [])
    if not steps:
        return []
    if steps[0] is None:
        return _allowed_values(parts[0], steps[1:]) if parts else []
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        return _allowed_values(get_type_hints(shape, include_extras=True).get(steps[0]), steps[1:])
    return []
