"""What was received, in the order of receipt: every event, copy, test and rejection of an account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

from postback.protocol.timestamps import micros
from postback.store.event_store import EventStore

__all__ = [
    "OUTCOMES",
    "RECEIPT_DAYS",
    "Outcome",
    "Receipt",
    "ReceiptFilter",
    "Rejections",
    "Warned",
    "count_receipts",
    "count_received",
    "new_receipts",
    "receipts",
    "rejections",
    "warned",
]

RECEIPT_DAYS = 30
"""How long it is stored that something was received; as long as rejected events."""

Outcome: TypeAlias = Literal["accepted", "accepted_with_warnings", "duplicate", "test", "rejected"]

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
"""What becomes of an event. ``duplicate``: it was accepted and known when it arrived. ``test``: a test was accepted."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Something that was received.

    Attributes:
        received_at: When, UTC.
        event_source_id: The source.
        event_type: Its type; empty if it had none that may be stored.
        event_id: Its id; likewise.
        test_event_code: Empty for a live event.
        outcome: What became of it.
        quality: Its match quality, 0 to 1; 0 for a rejection.
        warnings: Codes of its warnings.
        reason: Why it was rejected; else empty, as the two that follow.
        field: The field that it was rejected for; empty for the event itself.
        message: What is wrong and what to send instead.
    """

    received_at: datetime
    event_source_id: str
    event_type: str
    event_id: str
    test_event_code: str
    outcome: Outcome
    quality: float
    warnings: Sequence[str]
    reason: str
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class ReceiptFilter:
    """Which receipts are wanted; whatever is empty doesn't matter.

    Attributes:
        event_source_id, event_type, test_event_code, outcome, field: As in ``Receipt``.
        code: The reason of a rejection, or the code of a warning.
        text: A part of the event_id, in upper or lower case.
    """

    event_source_id: str = ""
    event_type: str = ""
    test_event_code: str = ""
    outcome: str = ""
    code: str = ""
    field: str = ""
    text: str = ""

    def fits(self, receipt: Receipt) -> bool:
        """Whether a receipt is wanted, as the statements decide it."""
        names = ("event_source_id", "event_type", "test_event_code", "outcome", "field")
        return (
            all(not (wanted := getattr(self, name)) or wanted == getattr(receipt, name) for name in names)
            and (not self.code or self.code == receipt.reason or self.code in receipt.warnings)
            and self.text.casefold() in receipt.event_id.casefold()
        )


@dataclass(frozen=True, slots=True)
class Rejections:
    """Live events that were rejected for one reason; ``message`` is the last one's."""

    event_source_id: str
    reason: str
    field: str
    events: int
    first_at: datetime
    last_at: datetime
    message: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Live events that have a warning of one code."""

    event_source_id: str
    code: str
    events: int
    first_at: datetime
    last_at: datetime


def receipts(
    events: EventStore, account_id: str, wanted: ReceiptFilter, most: int, *, after: datetime, before: datetime
) -> tuple[list[Receipt], bool]:
    """The newest receipts between two times, and whether there are more. Those at either time are left out.

    Args:
        events: The event store.
        account_id: The account.
        wanted: Which of them.
        most: How many at most. What came at the same time as the first that is left out is left out with it.
        after: They came later.
        before: They came earlier.

    Raises:
        StoreUnavailable: The engine doesn't answer.
    """
    span = {"after": micros(after), "before": micros(before)}
    rows = events.query("receipts", account_id=account_id, most=most + 1, **span, **asdict(wanted))
    found = [Receipt(*row) for row in rows]
    if len(found) <= most:
        return found, False
    page = [receipt for receipt in found[:most] if receipt.received_at != found[most].received_at]
    return page or found[:most], True


def count_receipts(
    events: EventStore, account_id: str, wanted: ReceiptFilter, *, after: datetime, before: datetime
) -> int:
    """How many receipts there are between two times.

    Raises:
        StoreUnavailable: The engine doesn't answer.
    """
    span = {"after": micros(after), "before": micros(before)}
    [(count,)] = events.query("count_receipts", account_id=account_id, **span, **asdict(wanted))
    return int(count)


def new_receipts(
    events: EventStore, account_id: str, most: int, *, after: datetime
) -> tuple[list[Receipt] | None, datetime]:
    """What was received after a time and is stored, and through which time that is.

    Returns:
        The receipts, newest first, or None if they are more than ``most``; and the time.

    Raises:
        StoreUnavailable: The engine doesn't answer.
    """
    through = events.stored_through()
    span = {"after": micros(after), "through": micros(through)}
    rows = events.query("new_receipts", account_id=account_id, most=most + 1, **span)
    return [Receipt(*row) for row in rows] if len(rows) <= most else None, through


def rejections(
    events: EventStore, account_id: str, event_source_id: str = "", *, since: datetime, until: datetime
) -> list[Rejections]:
    """Why live events were rejected in a span of time, by source, reason and field; the most first.

    Raises:
        StoreUnavailable: The engine doesn't answer.
    """
    rows = _summed(events, "rejections", account_id, event_source_id, since, until)
    return [Rejections(*row) for row in rows]


def warned(
    events: EventStore, account_id: str, event_source_id: str = "", *, since: datetime, until: datetime
) -> list[Warned]:
    """Which warnings live events of a span of time have, by source and code; the most first.

    Raises:
        StoreUnavailable: The engine doesn't answer.
    """
    return [Warned(*row) for row in _summed(events, "warned", account_id, event_source_id, since, until)]


def count_received(
    events: EventStore, account_id: str, event_source_id: str = "", *, since: datetime, until: datetime
) -> int:
    """How many live events were received in a span of whole minutes.

    Raises:
        StoreUnavailable: The engine doesn't answer.
    """
    [(count,)] = _summed(events, "received", account_id, event_source_id, since, until)
    return int(count)


def _summed(
    events: EventStore, name: str, account_id: str, event_source_id: str, since: datetime, until: datetime
) -> Sequence[Sequence[Any]]:
    span = {"since": micros(since), "until": micros(until)}
    return events.query(name, account_id=account_id, event_source_id=event_source_id, **span)
