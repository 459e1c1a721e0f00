"""The entries of a sync_event_sources call, each decoded and judged alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from postback.errors import InvalidRequest
from postback.sources.declared import DeclaredSource, Problem, normalised, problems, structure_problem

__all__ = ["MAX_ENTRIES", "Entry", "read_entries"]

MAX_ENTRIES = 1_000
"""Entries in one call: they are written in one transaction, for which other writers wait."""

_MAX_BYTES = 65_536
_MAX_BRACKETS = 100


class Entry(NamedTuple):
    """One entry of the call.

    Attributes:
        event_source_id: The source it is about; empty when that can't be read.
        declared: What it declares; None when there are problems.
        problems: What is wrong with it.
    """

    event_source_id: str
    declared: DeclaredSource | None
    problems: list[Problem]


class _Identified(msgspec.Struct):
    event_source_id: Annotated[str, Meta(min_length=1, max_length=256)]


class _Unreadable(ValueError):
    """An entry that is JSON but can't be used; the message says why."""


def read_entries(raws: Sequence[bytes], event_types: Sequence[str]) -> list[Entry]:
    """Read every entry; one that can't be used comes back with its problems. Same order and length.

    Args:
        raws: The bytes of each entry.
        event_types: The event types that may be named.

    Raises:
        InvalidRequest: No entry, or too many.
    """
    if not raws:
        raise InvalidRequest(
            "event_sources is empty.", field="event_sources", suggestion="Omit event_sources to list what there is."
        )
    if len(raws) > MAX_ENTRIES:
        raise InvalidRequest(
            f"event_sources holds more than {MAX_ENTRIES:,} entries.",
            field="event_sources",
            suggestion="Split them into several calls, without delete_missing.",
        )
    return [_entry(raw, event_types) for raw in raws]


def _entry(raw: bytes, event_types: Sequence[str]) -> Entry:
    event_source_id = ""
    try:
        _refuse_unreadable(raw)
        event_source_id = msgspec.json.decode(raw, type=_Identified).event_source_id
        declared = msgspec.json.decode(raw, type=DeclaredSource)
    except _Unreadable as error:
        return Entry("", None, [Problem("", str(error), "Correct the entry.")])
    except msgspec.ValidationError as error:
        return Entry(event_source_id, None, [structure_problem(error)])
    found = problems(declared, event_types)
    return Entry(event_source_id, None if found else normalised(declared), found)


def _refuse_unreadable(raw: bytes) -> None:
    if len(raw) > _MAX_BYTES or raw.count(b"{") + raw.count(b"[") > _MAX_BRACKETS:
        raise _Unreadable(f"The entry is larger than {_MAX_BYTES // 1024} KiB or nested too deeply.")
    try:
        json.loads(raw, object_pairs_hook=_unambiguous)
        msgspec.json.decode(raw)
    except _Unreadable:
        raise
    except ValueError:
        raise _Unreadable("The entry holds a number that is too large, or text that is no valid UTF-8.") from None


def _unambiguous(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _Unreadable("The entry gives the same name twice in one object.")
    return members
