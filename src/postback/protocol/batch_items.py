"""The items of a batch: the array that a call brings, cut into the bytes of each, which are read alone."""

from __future__ import annotations

import msgspec

from postback.errors import BatchTooLarge, InvalidRequest
from postback.protocol.strict_json import NO_JSON

__all__ = ["MAX_ITEMS", "items_of"]

MAX_ITEMS = 10_000
"""Items in one batch."""

_SMALL_BYTES = 1_000_000

_FirstItems = msgspec.defstruct(
    "_FirstItems",
    [(f"item_{number}", msgspec.Raw, NO_JSON) for number in range(MAX_ITEMS + 1)],
    array_like=True,
    gc=False,
)
"""An array's first items. Those behind them are read and not kept, so that millions of them take no memory."""


def items_of(array: msgspec.Raw, field: str) -> list[msgspec.Raw]:
    """The bytes of each item of the array ``field``.

    Raises:
        InvalidRequest: Not an array, or an empty one.
        BatchTooLarge: More than MAX_ITEMS.
    """
    try:
        items = _split(array)
    except msgspec.ValidationError:
        raise InvalidRequest(f"{field} must be an array of objects.", field=field) from None
    if not items:
        raise InvalidRequest(f"{field} is empty. Send at least one.", field=field)
    if len(items) > MAX_ITEMS:
        raise BatchTooLarge(
            f"{field} has more than {MAX_ITEMS:,} items.",
            field=field,
            suggestion=f"Split {field} into batches of at most {MAX_ITEMS:,}.",
        )
    return items


def _split(array: msgspec.Raw) -> list[msgspec.Raw]:
    """The bytes of each item; of a large array only as many as tell that they are too many."""
    if memoryview(array).nbytes <= _SMALL_BYTES:
        return msgspec.json.decode(array, type=list[msgspec.Raw])
    first: tuple[msgspec.Raw, ...] = msgspec.structs.astuple(msgspec.json.decode(array, type=_FirstItems))
    return [item for item in first if item]
