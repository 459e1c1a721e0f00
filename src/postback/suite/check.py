"""Checks: what they demand, and how they fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from postback.suite.seller import Seller

__all__ = ["CHECKS", "SCHEMA_CODES", "Check", "Failed", "Level", "Skipped", "check", "expect"]

Level = Literal["required", "recommended"]

SCHEMA_CODES = ("INVALID_REQUEST", "VALIDATION_ERROR")
"""What a server may say of anything that AdCP's schemas forbid."""


class Failed(Exception):
    """A server that does something else than a check demands."""

    def __init__(self, expected: str, got: Any) -> None:
        super().__init__(expected)
        self.expected = expected
        self.got = got


class Skipped(Exception):
    """A check that has nothing to check here; says why."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something that a server is held to.

    Attributes:
        check_id: As ``duplicates/same-batch``.
        level: ``required`` when AdCP says so, ``recommended`` where it is silent and this suite says what is best.
        demand: A sentence.
        run: Raises Failed or Skipped.
    """

    check_id: str
    level: Level
    demand: str
    run: Callable[[Seller], None]


CHECKS: list[Check] = []
"""Every check, in the order in which they run."""


def check(check_id: str, level: Level, demand: str) -> Callable[[Callable[[Seller], None]], Callable[[Seller], None]]:
    """Registers a function as a check."""

    def register(run: Callable[[Seller], None]) -> Callable[[Seller], None]:
        CHECKS.append(Check(check_id, level, demand, run))
        return run

    return register


def expect(fulfilled: object, expected: str, got: Any) -> None:
    """Fail unless it is so."""
    if not fulfilled:
        raise Failed(expected, got)
