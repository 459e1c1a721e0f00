"""Tries of a fault that are counted in a file, so that a later run of the same command goes on with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["counted_tries", "read_tries"]

Try = TypeVar("Try")


def _one(_: object) -> int:
    return 1


def counted_tries(wanted: int, file: Path, run: Callable[[], Try], count: Callable[[Try], int] = _one) -> list[Try]:
    """Run as many tries as are missing.

    Args:
        wanted: How many there are to be, those of earlier runs included.
        file: What came of each, a line of JSON each.
        run: Runs one, and returns what came of it.
        count: For how many a try counts.

    Returns:
        What came of all of them.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    tries: list[Try] = read_tries(file)
    with file.open("a") as counted:
        while sum(map(count, tries)) < wanted:
            tries.append(run())
            counted.write(json.dumps(tries[-1]) + "\n")
            counted.flush()
    return tries


def read_tries(file: Path) -> list[Any]:
    """What came of the tries that are counted in a file."""
    return [json.loads(line) for line in file.open()] if file.exists() else []
