"""What a server answered, whichever way it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Answer", "Unreadable", "dicts"]


class Unreadable(Exception):
    """An answer of another shape than AdCP's; fails the check that got it."""

    def __init__(self, expected: str, got: Any) -> None:
        super().__init__(expected)
        self.expected = expected
        self.got = got


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    Attributes:
        body: Its JSON object, whichever arm it is.
        status: The HTTP status.
        headers: The HTTP headers.
        refused: Whether the transport says that the call failed.
    """

    body: dict[str, Any]
    status: int
    headers: Mapping[str, str]
    refused: bool

    @property
    def failed(self) -> bool:
        """Whether the call failed as a whole."""
        return self.refused or bool(self.error)

    @property
    def error(self) -> dict[str, Any]:
        """The error of a call that failed as a whole; empty without one."""
        told = self.body.get("adcp_error")
        if told is None:
            return next(iter(self._objects("errors")), {})
        if not isinstance(told, dict):
            raise Unreadable("adcp_error to be an object", self.body)
        return told

    @property
    def code(self) -> str:
        """The error's code, or nothing."""
        return str(self.error.get("code", ""))

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The events that failed."""
        return self._objects("partial_failures")

    @property
    def counts(self) -> tuple[Any, Any]:
        """How many events were received, and how many processed."""
        return self.body.get("events_received"), self.body.get("events_processed")

    def _objects(self, member: str) -> list[dict[str, Any]]:
        found = self.body.get(member)
        if found is None:
            return []
        if not isinstance(found, list) or len(dicts(found)) < len(found):
            raise Unreadable(f"{member} to be a list of objects", self.body)
        return found


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; of anything else, none."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
