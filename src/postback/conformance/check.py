"""Checks: what they require, and how they fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from postback.conformance.seller import Seller

__all__ = ["CHECKS", "SCHEMA_CODES", "Check", "Failed", "Level", "Skipped", "check", "expect"]

Level = Literal["required", "recommended"]

SCHEMA_CODES = ("INVALID_REQUEST", "VALIDATION_ERROR")
"""The codes that a server may use for anything that AdCP's schemas forbid."""


class Failed(Exception):
    """The server doesn't do what a check requires."""

    def __init__(self, expected: str, got: Any) -> None:
        super().__init__(expected)
        self.expected = expected
        self.got = got


class Skipped(Exception):
    """A check that doesn't apply to the server; the message says why."""


@dataclass(frozen=True, slots=True)
class Check:
    """A requirement for a server.

    Attributes:
        check_id: For example ``duplicates/same-batch``.
        level: ``required`` if AdCP requires it, ``recommended`` if AdCP is silent and this suite has a best practice.
        requirement: The requirement, in one sentence.
        run: Raises Failed or Skipped.
    """

    check_id: str
    level: Level
    requirement: str
    run: Callable[[Seller], None]


CHECKS: list[Check] = []
"""Every check, in the order in which they run."""


def check(
    check_id: str, level: Level, requirement: str
) -> Callable[[Callable[[Seller], None]], Callable[[Seller], None]]:
    """Register a function as a check."""

    def register(run: Callable[[Seller], None]) -> Callable[[Seller], None]:
        CHECKS.append(Check(check_id, level, requirement, run))
        return run

    return register


def expect(fulfilled: object, expected: str, got: Any) -> None:
    """Raise Failed unless the requirement is fulfilled."""
    if not fulfilled:
        raise Failed(expected, got)
