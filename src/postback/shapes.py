"""Where JSON departs from the shape that it should have, in words that never quote it."""

from __future__ import annotations

__all__ = ["departure"]


def departure(problem: str) -> tuple[str, str]:
    """What msgspec's ValidationError says, taken apart.

    Args:
        problem: Its text, as ``Expected `int`, got `str` - at `$.events[0].count```.

    Returns:
        The path to the value, as ``.events[0].count`` or empty; and the sentence in lower case, as
        ``expected int, got str``, or ``is required`` for a member that is missing.
    """
    sentence, _, path = problem.partition(" - at `$")
    path = path.rstrip("`")
    if sentence.startswith("Object missing required field"):
        return f"{path}.{sentence.split('`')[1]}", "is required"
    if sentence.startswith("Invalid enum value"):  # the one sentence that quotes what was sent
        return path, "is not one of the values that AdCP lists"
    return path, sentence[0].lower() + sentence[1:].replace(" | null", "").replace("`", "")
