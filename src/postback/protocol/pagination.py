"""Pages of a list, and the cursors that lead from one to the next (core/pagination-request.json)."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.errors import InvalidRequest

__all__ = ["PageInfo", "Pagination", "StoredNumber", "bad_cursor", "page_info", "position_of"]

_Position = TypeVar("_Position")

StoredNumber = Annotated[int, Meta(ge=0, lt=2**53)]
"""A number in a cursor's position. Larger ones fit no store, even in a forged cursor."""


class Pagination(msgspec.Struct, frozen=True):
    """Which page a request asks for."""

    max_results: Annotated[int, Meta(ge=1, le=100, description="Most items of the page.")] = 50
    cursor: Annotated[str, Meta(max_length=2048, description="From the last response's pagination.")] | None = None


class PageInfo(msgspec.Struct):
    """``pagination`` of a response."""

    has_more: Annotated[bool, Meta(description="Whether another page follows.")]
    cursor: Annotated[str, Meta(description="Send it to get the next page.")] | UnsetType = UNSET


def position_of(pagination: Pagination, shape: type[_Position]) -> _Position | None:
    """Where the last page ended; None for the first one.

    Args:
        pagination: The request's ``pagination``.
        shape: What identifies an item in the order of this list.

    Raises:
        InvalidRequest: This list did not return the cursor.
    """
    if pagination.cursor is None:
        return None
    try:
        return msgspec.json.decode(urlsafe_b64decode(pagination.cursor.encode("ascii")), type=shape)
    except (binascii.Error, UnicodeError, msgspec.DecodeError):
        raise bad_cursor() from None


def page_info(last: object) -> PageInfo:
    """The ``pagination`` field of a response.

    Args:
        last: The position of the page's last item; None when nothing follows.
    """
    if last is None:
        return PageInfo(has_more=False)
    return PageInfo(has_more=True, cursor=urlsafe_b64encode(msgspec.json.encode(last)).decode())


def bad_cursor() -> InvalidRequest:
    """The error for a cursor that this list did not return."""
    return InvalidRequest(
        "pagination.cursor is not one that this list returned.",
        field="pagination.cursor",
        suggestion="Send the cursor of the last response unchanged, or omit it to start again.",
    )
