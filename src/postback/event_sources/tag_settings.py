"""What a source lets its browser tag do, which AdCP has no field for: ``ext.postback.tag`` of an entry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.protocol.enums import EVENT_TYPES
from postback.protocol.json_schema import published_as, word

__all__ = [
    "SERVERS_ONLY",
    "DeclaredSourceExt",
    "PostbackSourceExt",
    "SourceExt",
    "TagSettings",
    "tag_event_types",
    "unusable_event_types",
]

SERVERS_ONLY = "refund"
"""The event type that no tag sends: it subtracts, and anyone can imitate a tag."""

_Types = Annotated[
    list[Annotated[str, word(EVENT_TYPES, "An event type.")]],
    Meta(min_length=1, description="Event types that it may send; all of the source but refund when absent."),
]


class TagSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a source's browser tag."""

    enabled: Annotated[bool, Meta(description="Whether the source accepts events from browsers.")] = True
    event_types: (
        Annotated[
            tuple[str, ...],
            Meta(min_length=1),
            published_as(_Types),
        ]
        | None
    ) = None
    page_view: Annotated[bool, Meta(description="Whether it sends a page_view for each page by itself.")] = False
    gpc: Annotated[
        Literal["drop", "strip"],
        Meta(
            description="What it does for a visitor with Global Privacy Control: drop the event, or strip identifiers."
        ),
    ] = "drop"
    consent_required: Annotated[
        bool, Meta(description="Whether it stores and sends nothing before the visitor's consent.")
    ] = False
    snippet_type: Annotated[
        Literal["javascript", "pixel_url"], Meta(description="What setup shows: the script, or the pixel.")
    ] = "javascript"


class PostbackSourceExt(msgspec.Struct, frozen=True):
    """What we add to a source."""

    tag: Annotated[TagSettings, Meta(description="The settings of its browser tag.")]


class SourceExt(msgspec.Struct, frozen=True):
    """``ext`` of a source in a response."""

    postback: Annotated[PostbackSourceExt, Meta(description="What Postback adds to AdCP's fields.")]


class _DeclaredPostbackExt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tag: Annotated[
        TagSettings | UnsetType, Meta(description="The settings of its browser tag; as they are when absent.")
    ] = UNSET


class DeclaredSourceExt(msgspec.Struct, frozen=True):
    """``ext`` of a source in a request."""

    postback: Annotated[_DeclaredPostbackExt | UnsetType, Meta(description="What Postback adds to AdCP's fields.")] = (
        UNSET
    )


def tag_event_types(settings: TagSettings, of_source: Iterable[str] | None) -> frozenset[str]:
    """The event types that the tag of a source may send.

    Args:
        settings: The tag's settings.
        of_source: The event types that the source accepts; None: all.
    """
    accepted = frozenset(of_source or EVENT_TYPES) - {SERVERS_ONLY}
    return accepted.intersection(settings.event_types) if settings.event_types else accepted


def unusable_event_types(settings: TagSettings, of_source: Iterable[str] | None) -> Iterator[tuple[int, str]]:
    """The places of event types that a tag can't send, and why."""
    accepted = frozenset(of_source or EVENT_TYPES)
    for index, event_type in enumerate(settings.event_types or ()):
        if event_type == SERVERS_ONLY:
            yield index, "is refund, which browsers can't send: anyone could take back purchases"
        elif event_type not in EVENT_TYPES:
            yield index, "is not an AdCP event type"
        elif event_type not in accepted:
            yield index, "is not one of the source's event_types"
