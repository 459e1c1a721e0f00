"""From verdicts to the columns that the event store takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from postback.ingest.judge import Verdicts
from postback.sources.model import EventSource
from postback.store.rows import Rows

__all__ = ["accepted_rows", "rejected_rows"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def accepted_rows(verdicts: Verdicts, source: EventSource, test_event_code: str, first_stamp: int) -> list[Rows]:
    """The accepted events; those sent with a test_event_code go to a table of their own.

    Args:
        verdicts: The judged batch.
        source: The event source that it names.
        test_event_code: Empty for live events.
        first_stamp: The received_at of the batch's first event, in µs since the epoch; one more for each further event.
    """
    accepted = verdicts.accepted
    if not accepted:
        return []
    events = [a.decoded.event for a in accepted]
    columns: dict[str, list[object]] = {
        "account_id": [source.account_id] * len(accepted),
        "event_source_id": [source.event_source_id] * len(accepted),
        "event_type": [e.event_type for e in events],
        "event_id": [e.event_id for e in events],
        "event_time": [(e.event_time - _EPOCH) // _MICROSECOND for e in events],
        "received_at": [first_stamp + a.index for a in accepted],
        "action_source": [e.action_source or "" for e in events],
        "event_source_url": [e.event_source_url or "" for e in events],
        "custom_event_name": [e.custom_event_name or "" for e in events],
        "custom_data": [a.custom_data for a in accepted],
        "extra": [a.extra for a in accepted],
        "match_keys": [a.matchable.keys for a in accepted],
        "quality": [a.matchable.quality for a in accepted],
        "warnings": [list(dict.fromkeys(a.decoded.notes)) for a in accepted],
    }
    if not test_event_code:
        return [Rows("event", columns)]
    return [Rows("test_event", {**columns, "test_event_code": [test_event_code] * len(accepted)})]


def rejected_rows(verdicts: Verdicts, source: EventSource, test_event_code: str, first_stamp: int) -> list[Rows]:
    """Why events failed, for those that can be named; never what was in them."""
    named = [failed for failed in verdicts.failed if failed.event_id is not None]
    if not named:
        return []
    columns: dict[str, list[object]] = {
        "account_id": [source.account_id] * len(named),
        "event_source_id": [source.event_source_id] * len(named),
        "event_type": [failed.event_type or "" for failed in named],
        "event_id": [failed.event_id for failed in named],
        "received_at": [first_stamp + failed.index for failed in named],
        "test_event_code": [test_event_code] * len(named),
        "reason": [failed.rejection.reason for failed in named],
        "field": [failed.rejection.field for failed in named],
        "message": [failed.rejection.message for failed in named],
    }
    return [Rows("rejected_event", columns)]
