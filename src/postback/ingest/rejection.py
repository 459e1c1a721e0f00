"""Why one event is refused while the rest of its batch proceeds."""

from __future__ import annotations

__all__ = ["REASONS", "Rejection"]

REASONS = ("INVALID_REQUEST", "INVALID_EVENT_TYPE", "INVALID_EVENT_TIME", "MISSING_USER_MATCH")
"""The closed set of reasons for which an event can fail."""


class Rejection(Exception):
    """One event's refusal.

    Attributes:
        reason: One of REASONS.
        message: A sentence: what was wrong and what to do. Never holds a value from ``user_match``.
        field: Path within the event, as ``user_match.hashed_email``; empty for the event itself.
    """

    def __init__(self, reason: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
