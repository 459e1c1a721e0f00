"""The copies of an event that say something else than the first, which counts."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from postback.protocol.envelope import TIME
from postback.protocol.json_schema import documented
from postback.protocol.timestamps import micros, rfc3339_micros
from postback.store.copies import EventContent, changed_fields
from postback.store.event_store import StoredCopy, StoredEventStatus

__all__ = ["DifferingCopies", "differing_copies"]

_SHOWN_COPIES = 20


class DifferingCopy(msgspec.Struct):
    """A copy that says something else than the first."""

    received_at: Annotated[str, documented(f"When it arrived: {TIME}", format="date-time")]
    differs: Annotated[
        list[str],
        Meta(description="The fields that differ, for example custom_data.value; user_match stands for identifiers."),
    ]


class DifferingCopies(msgspec.Struct):
    """The copies of an event that differ from the first. The first counts, with the identifiers of all."""

    count: Annotated[int, Meta(ge=1, description="How many there are. Exact repeats are not stored.")]
    earliest: Annotated[
        list[DifferingCopy],
        Meta(max_length=_SHOWN_COPIES, description=f"The earliest of them; at most {_SHOWN_COPIES}."),
    ]


def differing_copies(stored: StoredEventStatus) -> DifferingCopies | None:
    """The copies of the live event that differ from the first, or None."""
    if stored.stored_copies < 2:
        return None
    first, *others = stored.copies
    dropped = stored.event is not None and stored.event.dropped
    differing = [
        DifferingCopy(rfc3339_micros(copy.received_at), fields)
        for copy in others
        if (fields := _differs(first, copy, dropped=dropped))
    ]
    unread = stored.stored_copies - len(stored.copies)
    return DifferingCopies(len(differing) + unread, differing[:_SHOWN_COPIES]) if differing else None


def _differs(first: StoredCopy, copy: StoredCopy, *, dropped: bool) -> list[str]:
    changed = changed_fields(_content(first), _content(copy))
    if not (dropped or set(copy.match_keys) <= set(first.match_keys)):
        changed.append("user_match")
    return changed


def _content(copy: StoredCopy) -> EventContent:
    return EventContent(micros(copy.event_time), copy.custom_event_name, copy.custom_data.encode())
