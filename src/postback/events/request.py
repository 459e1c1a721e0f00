"""The arguments of log_event (media-buy/log-event-request.json)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from postback.accounts.references import AccountArgument
from postback.errors import InvalidRequest
from postback.events.event import DescribedEvent
from postback.events.personal_data import looks_personal
from postback.events.test_marks import find_test_mark, may_mark_test
from postback.protocol.batch_items import MAX_ITEMS, items_of
from postback.protocol.envelope import IdempotencyKeyField, RequestEnvelope
from postback.protocol.json_schema import published_as

__all__ = ["LogEventRequest", "events_of", "refuse_test_marks"]

_Events = Annotated[list[DescribedEvent], Meta(min_length=1, max_length=MAX_ITEMS, description="The events.")]
_TEST_EVENT_CODE = Meta(
    description="Marks all events of the call as test events, which are checked and counted nowhere.",
    extra_json_schema={"minLength": 1, "maxLength": 256, "pattern": "^[ -~]+$"},
)


class LogEventRequest(msgspec.Struct):
    """The task's own arguments; ``events`` is not yet parsed: one bad event must not fail the rest."""

    event_source_id: Annotated[
        str, Meta(description="A source that sync_event_sources returned.", extra_json_schema={"minLength": 1})
    ]
    events: Annotated[msgspec.Raw, published_as(_Events)]
    test_event_code: Annotated[str, _TEST_EVENT_CODE] | None = None
    account: AccountArgument = None


_KNOWN_FIELDS = frozenset(
    (
        *LogEventRequest.__struct_fields__,
        *RequestEnvelope.__struct_fields__,
        *IdempotencyKeyField.__struct_fields__,
    )
)
"""Those of a call that AdCP has; another's may mark a test."""


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


def refuse_test_marks(fields: Mapping[str, msgspec.Raw], request: LogEventRequest) -> None:
    """Refuse a call that another platform would take for a test: its events would count, and can't be taken back.

    Args:
        fields: All fields of the call.
        request: The same call; with a test_event_code it is a test.

    Raises:
        InvalidRequest: A field marks a test.
    """
    if request.test_event_code:
        return
    others = [name for name in fields if name not in _KNOWN_FIELDS and may_mark_test(name)]
    if name := find_test_mark({name: msgspec.json.decode(fields[name]) for name in others}):
        raise InvalidRequest(
            f"{name} marks a test, but without test_event_code the events would count as live conversions.",
            field=name,
            suggestion=f"Send test_event_code for test events. For live events, omit {name}.",
        )
