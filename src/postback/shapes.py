"""Where JSON departs from the shape that it should have, in words that never quote it."""

from __future__ import annotations

import re
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

__all__ = ["choices", "departure"]

_STEP = re.compile(r"\.(\w+)|\[")
_TYPES = {"`int`": "integer", "`float`": "number", "`str`": "string", "`bool`": "boolean"}
"""Python's types, as msgspec names them → JSON's."""


def departure(problem: str) -> tuple[str, str]:
    """What msgspec's ValidationError says, taken apart.

    Args:
        problem: Its text, as ``Expected `int`, got `str` - at `$.events[0].count```.

    Returns:
        The path to the value, as ``.events[0].count`` or empty; and the sentence in lower case, as
        ``expected integer, got string``, or ``is required`` for a member that is missing.
    """
    sentence, _, path = problem.partition(" - at `$")
    path = path.rstrip("`")
    if sentence.startswith("Object missing required field"):
        return f"{path}.{sentence.split('`')[1]}", "is required"
    if sentence.startswith("Invalid enum value"):  # the one sentence that quotes what was sent
        return path, "is not one of the values that AdCP lists"
    for name, in_json in _TYPES.items():
        sentence = sentence.replace(name, in_json)
    return path, sentence[0].lower() + sentence[1:].replace(" | null", "").replace("`", "")


def choices(shape: Any, path: str) -> list[str]:
    """The values that a member may have, where its type is a list of them; else none.

    Args:
        shape: The type of the whole.
        path: The path to the member, as ``departure`` gives it.
    """
    return _choices(shape, [match[1] for match in _STEP.finditer(path)])


def _choices(shape: Any, steps: list[str | None]) -> list[str]:
    origin, parts = get_origin(shape), get_args(shape)
    if origin is Literal:
        return list(parts)
    if origin is Annotated:
        return _choices(parts[0], steps)
    if origin in (Union, UnionType):
        return next((found for part in parts if (found := _choices(part, steps))), [])
    if not steps:
        return []
    if steps[0] is None:
        return _choices(parts[0], steps[1:]) if parts else []
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        return _choices(get_type_hints(shape, include_extras=True).get(steps[0]), steps[1:])
    return []
