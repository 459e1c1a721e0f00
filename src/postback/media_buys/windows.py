"""Attribution windows: how long after a click or a view a conversion counts (core/attribution-window.json)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

__all__ = ["CLICK_WINDOWS", "VIEW_WINDOWS", "Duration", "Window", "offered_windows"]

_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400}


class Duration(msgspec.Struct, frozen=True):
    """A time span (core/duration.json).

    Attributes:
        interval: Number of units.
        unit: ``campaign`` spans the flight of the buy, whatever its length.
    """

    interval: Annotated[int, Meta(ge=1, le=10**9)]
    unit: Literal["seconds", "minutes", "hours", "days", "campaign"]

    @property
    def seconds(self) -> int | None:
        """Its length; None when it depends on the campaign."""
        return None if self.unit == "campaign" else self.interval * _SECONDS[self.unit]


_HOURS = tuple(Duration(hours, "hours") for hours in (1, 6, 12))
CLICK_WINDOWS = (*_HOURS, *(Duration(days, "days") for days in (1, 2, 3, 7, 14, 21, 28, 30, 45, 60, 90)))
"""What a goal may choose from after a click."""

VIEW_WINDOWS = (*_HOURS, *(Duration(days, "days") for days in (1, 2, 3, 7, 14, 21, 28, 30)))
"""What a goal may choose from after a view."""


class Window(msgspec.Struct, frozen=True):
    """The windows of a goal; whatever it doesn't choose is the seller's default."""

    post_click: Duration = Duration(30, "days")
    post_view: Duration = Duration(1, "days")
    model: Literal["last_touch", "first_touch", "linear", "time_decay", "data_driven"] = "last_touch"


def offered_windows() -> dict[str, Any]:
    """The windows on offer, as get_adcp_capabilities says it."""
    return {
        "post_click": [msgspec.to_builtins(window) for window in CLICK_WINDOWS],
        "post_view": [msgspec.to_builtins(window) for window in VIEW_WINDOWS],
    }
