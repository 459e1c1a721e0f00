"""What a buyer can do with a media buy now (enums/media-buy-valid-action.json)."""

from __future__ import annotations

from postback.media_buys.buys import MediaBuy

__all__ = ["ENDED", "valid_actions"]

ENDED = frozenset({"canceled", "completed", "rejected"})
"""The statuses after which nothing changes any more."""


def valid_actions(buy: MediaBuy) -> list[str]:
    """The actions that update_media_buy takes in the buy's status."""
    if buy.status in ENDED:
        return []
    hold = "resume" if buy.paused else "pause"
    return [hold, "cancel", "update_budget", "update_dates", "update_packages", "add_packages"]
