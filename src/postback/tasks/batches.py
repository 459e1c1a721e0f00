"""Calls that bring many items at once: each is validated alone, and one that is wrong doesn't stop the others."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from postback.events.rejection import Rejection
from postback.protocol.error_codes import code_for
from postback.protocol.releases import Release

__all__ = ["ItemFailure", "item_failure"]


class ItemFailure(msgspec.Struct, kw_only=True):
    """An item that was not accepted."""

    code: Annotated[str, Meta(description="For programs; depends on the AdCP release that the call pins.")]
    message: Annotated[str, Meta(description="What is wrong and what to send instead.")]
    index: Annotated[int, Meta(ge=0, description="Its place in the array, from 0.")]
    field: Annotated[str, Meta(description="Which field, for example events[17].event_time.")]
    reason: Annotated[str, Meta(description="For programs; the same in every release.")]
    retryable: Annotated[bool, Meta(description="Whether the same item may be accepted later.")]


def item_failure(at: str, index: int, rejection: Rejection, release: Release | None) -> dict[str, Any]:
    """The fields of an ItemFailure, as keyword arguments: a task adds the item's own id.

    Args:
        at: The array's name, as ``events``.
        index: The item's place.
        rejection: Why.
        release: Whose error codes are used; None: an unversioned request.
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
