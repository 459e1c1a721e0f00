"""Duplicates: which events of a call were received before, and which of those say something else than the first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from postback.event_sources.event_source import EventSource
from postback.events.columns import AcceptedEvents
from postback.protocol.timestamps import micros
from postback.store.copies import EventContent, changed_fields
from postback.store.recent_identities import Claim, RecentIdentities, hashes_of
from postback.store.shards import Shards

__all__ = ["Duplicates", "find_duplicates"]

Reader: TypeAlias = Callable[..., Awaitable[Any]]
"""Runs a function that reads the event store, with its arguments, where that is done."""

_LOOKED_UP = 1_000
"""Most events of which one query asks."""


class Duplicates(NamedTuple):
    """The duplicates of a call.

    Attributes:
        claim: What the events' identities are recorded by.
        marks: For each accepted event: 0 if it was not known, 1 if it was, 2 if it differs from the first.
        in_call: Copies of an earlier event of the call.
        known: Events that were received before the call.
        different: Places of the accepted events that differ from the first copy.
        exact: Whether all that were received before are known.
    """

    claim: Claim
    marks: Sequence[int]
    in_call: int
    known: int
    different: list[int]
    exact: bool


async def find_duplicates(
    accepted: AcceptedEvents,
    source: EventSource,
    test_event_code: str,
    recent: RecentIdentities,
    shards: Shards,
    read: Reader,
    *,
    exact: bool,
) -> Duplicates:
    """Find the duplicates among the accepted events of a call, and record the others as received.

    Args:
        accepted: The events.
        source: Their source.
        test_event_code: Empty for live events. Duplicates are those of the same test.
        recent: What was received lately.
        shards: Where the first copies are.
        read: How they are read.
        exact: Ask the store, too, unless ``recent`` knows everything.

    Raises:
        StoreUnavailable: The store doesn't answer.
    """
    complete = recent.complete and not test_event_code
    claim = recent.claim(_hashes(accepted, source, test_event_code), accepted.columns.get("facts", ()))
    marks = claim.marks
    if exact and not complete and len(accepted):
        keys = list(zip(_values(accepted, "event_type"), _values(accepted, "event_id"), strict=True))
        try:
            firsts = await read(_first_copies, shards, source, test_event_code, sorted(set(keys)))
        except Exception:
            recent.release(claim)
            raise
        marks = _compared(accepted, keys, firsts, marks)
    in_call = _count(claim.in_call, 1)
    return Duplicates(
        claim=claim,
        marks=marks,
        in_call=in_call,
        known=len(marks) - _count(marks, 0) - in_call,
        different=[place for place, mark in enumerate(marks) if mark == 2] if _count(marks, 2) else [],
        exact=exact or complete,
    )


def _count(marks: Any, mark: int) -> int:
    return (marks if isinstance(marks, list) else bytes(marks)).count(mark)


def _hashes(accepted: AcceptedEvents, source: EventSource, test_event_code: str) -> Any:
    scope = source.account_id, source.event_source_id, test_event_code
    types = accepted.columns.get("event_type", ())
    kinds = pc.unique(types).to_pylist() if isinstance(types, pa.Array) else set(types)
    if len(kinds) != 1:
        kinds = _values(accepted, "event_type")
    return hashes_of(_values(accepted, "event_id"), [(*scope, kind) for kind in kinds])


def _compared(
    accepted: AcceptedEvents,
    keys: Sequence[tuple[str, str]],
    firsts: dict[tuple[str, str], EventContent],
    marks: Sequence[int],
) -> list[int]:
    """The marks of the events, those with a stored first copy by comparison with it."""
    columns = (_values(accepted, name) for name in EventContent._fields)
    contents = map(EventContent._make, zip(*columns, strict=True))
    return [
        int(mark) if first is None else 2 if changed_fields(first, content) else 1
        for first, content, mark in zip(map(firsts.get, keys), contents, marks, strict=True)
    ]


def _first_copies(
    shards: Shards, source: EventSource, test_event_code: str, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], EventContent]:
    """The stored first copies of events, by (event_type, event_id)."""
    store, wanted, found = shards.of(source.account_id), set(keys), {}
    for start in range(0, len(keys), _LOOKED_UP):
        some = keys[start : start + _LOOKED_UP]
        for event_type, event_id, _, event_time, name, custom_data in store.query(
            "first_copies",
            account_id=source.account_id,
            event_source_id=source.event_source_id,
            test_event_code=test_event_code,
            event_types=sorted({event_type for event_type, _ in some}),
            event_ids=[event_id for _, event_id in some],
        ):
            if (event_type, event_id) in wanted:
                found[event_type, event_id] = EventContent(micros(event_time), name, custom_data.encode())
    return found


def _values(accepted: AcceptedEvents, name: str) -> Sequence[Any]:
    """A column of the accepted events as Python values."""
    column = accepted.columns.get(name, ())
    return column.to_pylist() if isinstance(column, pa.Array) else column  # type: ignore[no-any-return]
