"""The actions that update_media_buy allows on a media buy now (enums/media-buy-valid-action.json)."""

from __future__ import annotations

from datetime import UTC, datetime

from postback.media_buys.media_buy import MediaBuy
from postback.protocol.release_features import has_fine_actions, has_renaming
from postback.protocol.releases import Release

__all__ = ["ENDED", "available_actions", "valid_actions"]

ENDED = frozenset({"canceled", "completed", "rejected"})
"""The final statuses: no change is possible."""


def valid_actions(buy: MediaBuy, release: Release | None) -> list[str]:
    """The actions by the names that the release knows; in 3.0 a name may cover several."""
    if has_fine_actions(release):
        return available_actions(buy, release)
    if buy.status in ENDED:
        return []
    of_packages = ["update_budget", "update_packages"] if _live(buy) else []
    return [_pause_or_resume(buy), "cancel", "update_dates", "add_packages", *of_packages]


def available_actions(buy: MediaBuy, release: Release | None) -> list[str]:
    """The single actions (core/media-buy-available-action.json)."""
    if buy.status in ENDED:
        return []
    actions = [_pause_or_resume(buy), "cancel", "extend_flight", "shorten_flight", "add_packages"]
    if buy.start_at > datetime.now(UTC):
        actions.append("update_flight_dates")
    if _live(buy):
        actions += ["increase_budget", "decrease_budget", "update_pacing", "remove_packages"]
    if _live(buy) > 1:
        actions.append("reallocate_budget")
    if has_renaming(release):
        actions.append("update_name")
    return actions


def _pause_or_resume(buy: MediaBuy) -> str:
    return "resume" if buy.paused else "pause"


def _live(buy: MediaBuy) -> int:
    return sum(package.canceled_at is None and package.finalized_at is None for package in buy.packages)
