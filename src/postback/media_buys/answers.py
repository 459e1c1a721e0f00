"""Media buys as answers show them.

AdCP 3.0 has one ``status`` at the root, which for create_media_buy is the media buy's. From 3.1 on it is the task's,
and the media buy's stands in ``media_buy_status``. A caller that pins no release gets the newer shape, valid in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from postback.media_buys.actions import available_actions, valid_actions
from postback.media_buys.buys import MediaBuy, Package
from postback.protocol.differences import has_available_actions, has_one_status
from postback.protocol.releases import Release
from postback.times import rfc3339

__all__ = ["created_answer", "described_buy", "updated_answer"]


def created_answer(buy: MediaBuy, release: Release | None, *, sandbox: bool) -> dict[str, Any]:
    """The success arm of media-buy/create-media-buy-response.json, without the envelope."""
    shown = _common(buy, release) | {"media_buy_status": buy.status}
    if has_one_status(release):
        shown["status"] = buy.status
    if sandbox:
        shown["sandbox"] = True
    return shown


def updated_answer(
    buy: MediaBuy, affected: Sequence[Package], release: Release | None, *, sandbox: bool
) -> dict[str, Any]:
    """The success arm of media-buy/update-media-buy-response.json, without the envelope."""
    shown = created_answer(buy, release, sandbox=sandbox)
    del shown["packages"], shown["confirmed_at"]
    return shown | {
        "implementation_date": rfc3339(datetime.now(UTC)),
        "affected_packages": [_package(package) for package in affected],
    }


def described_buy(buy: MediaBuy, release: Release | None) -> dict[str, Any]:
    """An entry of media-buy/get-media-buys-response.json."""
    shown = _common(buy, release) | {
        "status": buy.status,
        "start_time": rfc3339(buy.start_at),
        "end_time": rfc3339(buy.end_at),
        "created_at": rfc3339(buy.created_at),
    }
    if buy.context is not None:
        shown["context"] = buy.context
    if buy.canceled_at:
        shown["cancellation"] = _cancellation(buy.canceled_at, buy.cancellation_reason)
    return shown


def _common(buy: MediaBuy, release: Release | None) -> dict[str, Any]:
    return {
        "media_buy_id": buy.media_buy_id,
        **({"name": buy.name} if buy.name else {}),
        "currency": buy.currency,
        "total_budget": buy.total_budget,
        "confirmed_at": rfc3339(buy.created_at),
        "revision": buy.revision,
        "valid_actions": valid_actions(buy, release),
        **({"available_actions": available_actions(buy, release)} if has_available_actions(release) else {}),
        "packages": [_package(package) for package in buy.packages],
    }


def _package(package: Package) -> dict[str, Any]:
    optional = {
        "bid_price": package.bid_price,
        "impressions": package.impressions,
        "pacing": package.pacing,
        "start_time": package.start_at and rfc3339(package.start_at),
        "end_time": package.end_at and rfc3339(package.end_at),
        "optimization_goals": [msgspec.to_builtins(goal) for goal in package.goals] or None,
        "context": package.context,
    }
    if package.canceled_at:
        optional["canceled"] = True
        optional["cancellation"] = _cancellation(package.canceled_at, package.cancellation_reason)
    return {
        "package_id": package.package_id,
        **({"product_id": package.product_id} if package.product_id else {}),  # a sandbox seeds some without one
        **({"pricing_option_id": package.pricing_option_id} if package.pricing_option_id else {}),
        "budget": package.budget,
        "paused": package.paused,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _cancellation(canceled_at: datetime, reason: str | None) -> dict[str, Any]:
    by_buyer = {"canceled_at": rfc3339(canceled_at), "canceled_by": "buyer"}
    return by_buyer | ({"reason": reason} if reason else {})
