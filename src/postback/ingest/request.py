"""The arguments of log_event (media-buy/log-event-request.json)."""

from __future__ import annotations

from typing import Any

import msgspec

from postback.errors import BatchTooLarge, InvalidRequest
from postback.ingest.clear_text import looks_personal
from postback.ingest.event import NO_JSON

__all__ = ["MAX_EVENTS", "LogEventRequest", "events_of"]

MAX_EVENTS = 10_000

_SMALL_BYTES = 1_000_000
_FirstEvents = msgspec.defstruct(
    "_FirstEvents",
    [(f"event_{number}", msgspec.Raw, NO_JSON) for number in range(MAX_EVENTS + 1)],
    array_like=True,
    gc=False,
)
"""An array's first members. Those behind them are read and not kept, so that millions of them take no memory."""


class LogEventRequest(msgspec.Struct):
    """The task's own arguments.

    Attributes:
        event_source_id: A source's event_source_id or seller_id.
        events: The JSON array of events, not yet parsed: one bad event must not fail the rest.
        test_event_code: Set for events that are checked and kept apart, and count nowhere.
        account: core/account-ref.json; narrows where event_source_id is looked up.
    """

    event_source_id: str
    events: msgspec.Raw
    test_event_code: str | None = None
    account: dict[str, Any] | None = None


def events_of(request: LogEventRequest) -> list[msgspec.Raw]:
    """The bytes of each event.

    Raises:
        InvalidRequest: Not an array, or an empty one; or a test_event_code that can't be one.
        BatchTooLarge: More than MAX_EVENTS.
    """
    code = request.test_event_code
    if code is not None and not (0 < len(code) <= 256 and code.isprintable() and not looks_personal(code)):
        raise InvalidRequest(
            "test_event_code must be 1 to 256 printable characters without personal data.", field="test_event_code"
        )
    try:
        events = _split(request.events)
    except msgspec.ValidationError:
        raise InvalidRequest("events must be an array of event objects.", field="events") from None
    if not events:
        raise InvalidRequest("events is empty; send at least one event.", field="events")
    if len(events) > MAX_EVENTS:
        raise BatchTooLarge(
            f"events holds more than {MAX_EVENTS:,} events.",
            field="events",
            suggestion=f"Split the events into batches of at most {MAX_EVENTS:,}.",
        )
    return events


def _split(events: msgspec.Raw) -> list[msgspec.Raw]:
    """The bytes of each member of an array; of a large array only as many as tell that they are too many."""
    if memoryview(events).nbytes <= _SMALL_BYTES:
        return msgspec.json.decode(events, type=list[msgspec.Raw])
    first: tuple[msgspec.Raw, ...] = msgspec.structs.astuple(msgspec.json.decode(events, type=_FirstEvents))
    return [event for event in first if event]
