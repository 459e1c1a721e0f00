"""The entries of a sync_event_sources call, each parsed and validated on its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from postback.errors import InvalidRequest
from postback.event_sources.validation import (
    DeclarationError,
    DeclaredEntry,
    declaration_errors,
    normalized,
    structure_error,
    tag_errors,
)
from postback.protocol.strict_json import InvalidJson, RepeatedName, decode_typed, parse_json

__all__ = ["MAX_ENTRIES", "SourceEntry", "read_entries"]

MAX_ENTRIES = 1_000
"""Entries per call. They are written in one transaction, and other writers wait for it."""

_MAX_BYTES = 65_536
_MAX_BRACKETS = 100


class SourceEntry(NamedTuple):
    """One entry of the call.

    Attributes:
        event_source_id: The source it names; empty if that is malformed.
        declared: What it declares; None if there are errors.
        errors: What is wrong with it.
    """

    event_source_id: str
    declared: DeclaredEntry | None
    errors: list[DeclarationError]


class _Identified(msgspec.Struct):
    event_source_id: Annotated[str, Meta(min_length=1, max_length=256)]


class _Unreadable(ValueError):
    """An entry that is JSON but too large or ambiguous; the message says why."""


def read_entries(raws: Sequence[bytes], event_types: Sequence[str]) -> list[SourceEntry]:
    """Parse and validate each entry; an invalid one is returned with its errors. Same order and length.

    Args:
        raws: The bytes of each entry.
        event_types: The allowed event types.

    Raises:
        InvalidRequest: There are no entries, or too many.
    """
    if not raws:
        raise InvalidRequest(
            "event_sources is empty.",
            field="event_sources",
            suggestion="Omit event_sources to list the account's event sources.",
        )
    if len(raws) > MAX_ENTRIES:
        raise InvalidRequest(
            f"event_sources has more than {MAX_ENTRIES:,} entries.",
            field="event_sources",
            suggestion="Split them into several calls, without delete_missing.",
        )
    return [_entry(raw, event_types) for raw in raws]


def _entry(raw: bytes, event_types: Sequence[str]) -> SourceEntry:
    event_source_id = ""
    try:
        _require_readable(raw)
        event_source_id = decode_typed(raw, _Identified).event_source_id
        declared = decode_typed(raw, DeclaredEntry)
    except _Unreadable as error:
        return SourceEntry("", None, [DeclarationError("", str(error), "Correct the entry.")])
    except msgspec.ValidationError as error:
        return SourceEntry(event_source_id, None, [structure_error(error)])
    errors = [
        *declaration_errors(declared, event_types),
        *tag_errors(declared.tag, declared, "ext.postback.tag"),
    ]
    return SourceEntry(event_source_id, None if errors else normalized(declared), errors)


def _require_readable(raw: bytes) -> None:
    if len(raw) > _MAX_BYTES or raw.count(b"{") + raw.count(b"[") > _MAX_BRACKETS:
        raise _Unreadable(f"The entry is larger than {_MAX_BYTES // 1024} KiB or nested too deeply.")
    try:
        parse_json(raw, max_depth=_MAX_BRACKETS, wide_integers=True)
    except RepeatedName:
        raise _Unreadable("The entry contains an object with the same field name twice.") from None
    except InvalidJson:
        raise _Unreadable("The entry contains a number that is too large, or text that is not valid UTF-8.") from None
