"""A server's response, over any transport."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["SellerAnswer", "Unreadable", "dicts"]


class Unreadable(Exception):
    """A response whose form isn't AdCP's; it fails the check that gets it."""

    def __init__(self, expected: str, got: Any) -> None:
        super().__init__(expected)
        self.expected = expected
        self.got = got


@dataclass(frozen=True, slots=True)
class SellerAnswer:
    """A response.

    Attributes:
        body: Its JSON object, in success or failure.
        status: The HTTP status.
        headers: The HTTP headers.
        refused: Whether the transport reports that the call failed.
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
        error = self.body.get("adcp_error")
        if error is None:
            return next(iter(self._objects("errors")), {})
        if not isinstance(error, dict):
            raise Unreadable("adcp_error to be an object", self.body)
        return error

    @property
    def code(self) -> str:
        """The error's code, or an empty string."""
        return str(self.error.get("code", ""))

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The events that failed."""
        return self._objects("partial_failures")

    @property
    def counts(self) -> tuple[Any, Any]:
        """The numbers of events received and processed."""
        return self.body.get("events_received"), self.body.get("events_processed")

    def _objects(self, field: str) -> list[dict[str, Any]]:
        found = self.body.get(field)
        if found is None:
            return []
        if not isinstance(found, list) or len(dicts(found)) < len(found):
            raise Unreadable(f"{field} to be a list of objects", self.body)
        return found


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; none for anything else."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
