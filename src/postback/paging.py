"""Pages of a list, and the cursors that lead from one to the next (core/pagination-request.json)."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from postback.errors import InvalidRequest

__all__ = ["Pagination", "StoredNumber", "bad_cursor", "page_info", "position_of"]

_Position = TypeVar("_Position")

StoredNumber = Annotated[int, Meta(ge=0, lt=2**53)]
"""A number in a position that a store is asked for: no store takes larger ones, whoever made the cursor."""


class Pagination(msgspec.Struct, frozen=True):
    """Which page a call asks for."""

    max_results: Annotated[int, Meta(ge=1, le=100)] = 50
    cursor: Annotated[str, Meta(max_length=2048)] | None = None


def position_of(pagination: Pagination, shape: type[_Position]) -> _Position | None:
    """Where the last page ended; None for the first one.

    Args:
        pagination: What the call asks for.
        shape: What identifies an item in the order of this list.

    Raises:
        InvalidRequest: The cursor is none of ours, for this list.
    """
    if pagination.cursor is None:
        return None
    try:
        return msgspec.json.decode(urlsafe_b64decode(pagination.cursor.encode("ascii")), type=shape)
    except (binascii.Error, UnicodeError, msgspec.DecodeError):
        raise bad_cursor() from None


def page_info(last: object) -> dict[str, Any]:
    """The ``pagination`` member of an answer.

    Args:
        last: The position of the page's last item; None when nothing follows.
    """
    if last is None:
        return {"has_more": False}
    return {"has_more": True, "cursor": urlsafe_b64encode(msgspec.json.encode(last)).decode()}


def bad_cursor() -> InvalidRequest:
    """The error for a cursor that leads nowhere."""
    return InvalidRequest(
        "pagination.cursor is not one that this list returned.",
        field="pagination.cursor",
        suggestion="Send the cursor of the last answer unchanged, or none to begin again.",
    )
