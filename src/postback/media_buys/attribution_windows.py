"""Attribution windows: how long after a click or a view a conversion counts (core/attribution-window.json)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from postback.protocol.json_schema import documented, published_as

__all__ = ["CLICK_WINDOWS", "VIEW_WINDOWS", "Duration", "Window", "offered_windows"]

_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400}


class Duration(msgspec.Struct, frozen=True):
    """A time span (core/duration.json); ``campaign`` is the flight of the buy, whatever its length."""

    interval: Annotated[int, Meta(ge=1, le=10**9, description="Number of units.")]
    unit: Annotated[
        Literal["seconds", "minutes", "hours", "days", "campaign"], Meta(description="campaign: the flight of the buy.")
    ]

    @property
    def seconds(self) -> int | None:
        """Its length; None when it depends on the campaign."""
        return None if self.unit == "campaign" else self.interval * _SECONDS[self.unit]


_HOURS = tuple(Duration(hours, "hours") for hours in (1, 6, 12))
CLICK_WINDOWS = (*_HOURS, *(Duration(days, "days") for days in (1, 2, 3, 7, 14, 21, 28, 30, 45, 60, 90)))
"""The windows after a click that a goal may have."""

VIEW_WINDOWS = (*_HOURS, *(Duration(days, "days") for days in (1, 2, 3, 7, 14, 21, 28, 30)))
"""The windows after a view that a goal may have."""


_CLICK = documented("After a click; 30 days when absent.", enum=[msgspec.to_builtins(span) for span in CLICK_WINDOWS])
_VIEW = documented("After a view; 1 day when absent.", enum=[msgspec.to_builtins(span) for span in VIEW_WINDOWS])


class Window(msgspec.Struct, frozen=True):
    """The windows of a goal; by default the seller's."""

    post_click: Annotated[Duration, _CLICK] = Duration(30, "days")
    post_view: Annotated[Duration, _VIEW] = Duration(1, "days")
    model: Annotated[
        Literal["last_touch", "first_touch", "linear", "time_decay", "data_driven"],
        published_as(Annotated[Literal["last_touch"], Meta(description="How one exposure is chosen.")]),
    ] = "last_touch"


def offered_windows() -> dict[str, Any]:
    """The windows on offer, in the form of get_adcp_capabilities."""
    return {
        "post_click": [msgspec.to_builtins(window) for window in CLICK_WINDOWS],
        "post_view": [msgspec.to_builtins(window) for window in VIEW_WINDOWS],
    }
