"""The arguments of log_event (media-buy/log-event-request.json)."""

from __future__ import annotations

from typing import Any

import msgspec

from postback.errors import InvalidRequest
from postback.ingest.clear_text import looks_personal
from postback.items import items_of

__all__ = ["LogEventRequest", "events_of"]


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
        BatchTooLarge: More than MAX_ITEMS.
    """
    code = request.test_event_code
    if code is not None and not (0 < len(code) <= 256 and code.isprintable() and not looks_personal(code)):
        raise InvalidRequest(
            "test_event_code must be 1 to 256 printable characters without personal data.", field="test_event_code"
        )
    return items_of(request.events, "events")
