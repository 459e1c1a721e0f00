"""Calls that bring many things at once: each is judged by itself, and one that is wrong doesn't stop the others."""

from __future__ import annotations

from typing import Any

import msgspec

from postback.errors import BatchTooLarge, InvalidRequest
from postback.ingest.event import NO_JSON
from postback.ingest.rejection import Rejection
from postback.protocol.releases import Release
from postback.protocol.vocabulary import code_for

__all__ = ["MAX_ITEMS", "items_of", "partial_failure"]

MAX_ITEMS = 10_000

_SMALL_BYTES = 1_000_000
_FirstItems = msgspec.defstruct(
    "_FirstItems",
    [(f"item_{number}", msgspec.Raw, NO_JSON) for number in range(MAX_ITEMS + 1)],
    array_like=True,
    gc=False,
)
"""An array's first members. Those behind them are read and not kept, so that millions of them take no memory."""


def items_of(array: msgspec.Raw, field: str) -> list[msgspec.Raw]:
    """The bytes of each member of the array ``field``.

    Raises:
        InvalidRequest: Not an array, or an empty one.
        BatchTooLarge: More than MAX_ITEMS.
    """
    try:
        items = _split(array)
    except msgspec.ValidationError:
        raise InvalidRequest(f"{field} must be an array of objects.", field=field) from None
    if not items:
        raise InvalidRequest(f"{field} is empty; send at least one.", field=field)
    if len(items) > MAX_ITEMS:
        raise BatchTooLarge(
            f"{field} holds more than {MAX_ITEMS:,}.",
            field=field,
            suggestion=f"Split {field} into batches of at most {MAX_ITEMS:,}.",
        )
    return items


def partial_failure(at: str, index: int, rejection: Rejection, release: Release | None) -> dict[str, Any]:
    """What is told of an item that failed, without its id.

    Args:
        at: The array's name, as ``events``.
        index: The item's place.
        rejection: Why.
        release: Whose words are used; None: the seed's dialect.
    """
    place = f"{at}[{index}]"
    return {
        "code": code_for(rejection.reason, release),
        "message": rejection.message,
        "index": index,
        "field": f"{place}.{rejection.field}" if rejection.field else place,
        "reason": rejection.reason,
        "retryable": False,
    }


def _split(array: msgspec.Raw) -> list[msgspec.Raw]:
    """The bytes of each member; of a large array only as many as tell that they are too many."""
    if memoryview(array).nbytes <= _SMALL_BYTES:
        return msgspec.json.decode(array, type=list[msgspec.Raw])
    first: tuple[msgspec.Raw, ...] = msgspec.structs.astuple(msgspec.json.decode(array, type=_FirstItems))
    return [item for item in first if item]
