"""What a buyer can do with a media buy now: exactly what update_media_buy does (enums/media-buy-valid-action.json)."""

from __future__ import annotations

from datetime import UTC, datetime

from postback.media_buys.buys import MediaBuy
from postback.protocol.differences import has_fine_actions, has_renaming
from postback.protocol.releases import Release

__all__ = ["ENDED", "available_actions", "valid_actions"]

ENDED = frozenset({"canceled", "completed", "rejected"})
"""The statuses after which nothing changes any more."""


def valid_actions(buy: MediaBuy, release: Release | None) -> list[str]:
    """The actions in words that the release knows; for 3.0 those that stand for several."""
    if has_fine_actions(release):
        return _actions(buy, release)
    if buy.status in ENDED:
        return []
    of_packages = ["update_budget", "update_packages"] if _live(buy) else []
    return [_hold(buy), "cancel", "update_dates", "add_packages", *of_packages]


def available_actions(buy: MediaBuy, release: Release | None) -> list[dict[str, str]]:
    """The same, one by one, as core/media-buy-available-action.json: nobody has to approve them."""
    return [{"action": action, "mode": "self_serve"} for action in _actions(buy, release)]


def _actions(buy: MediaBuy, release: Release | None) -> list[str]:
    if buy.status in ENDED:
        return []
    actions = [_hold(buy), "cancel", "extend_flight", "shorten_flight", "add_packages"]
    if buy.start_at > datetime.now(UTC):
        actions.append("update_flight_dates")
    if _live(buy):
        actions += ["increase_budget", "decrease_budget", "update_pacing", "remove_packages"]
    if _live(buy) > 1:
        actions.append("reallocate_budget")
    if has_renaming(release):
        actions.append("update_name")
    return actions


def _hold(buy: MediaBuy) -> str:
    return "resume" if buy.paused else "pause"


def _live(buy: MediaBuy) -> int:
    return sum(package.canceled_at is None for package in buy.packages)
