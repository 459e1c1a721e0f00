"""A media buy and its packages, as they are stored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from postback.errors import MediaBuyNotFound
from postback.media_buys.goals import EventGoal
from postback.products.product import Price
from postback.protocol.enums import MediaBuyStatus, Pacing

__all__ = ["MediaBuy", "Package", "PackageGoals", "missing_media_buys"]


class Package(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line item of a media buy (core/package.json).

    Attributes:
        package_id: Unique in the buy.
        product_id: The product.
        pricing_option_id: Its pricing option.
        price: What that asked for when the package was bought; None if it wasn't on offer, or wasn't kept yet.
        budget: The maximum spend, in the buy's currency.
        start_at: When it starts, if later than the buy.
        end_at: When it ends, if earlier than the buy.
        goals: The conversions that count for it.
        context: The buyer's context, echoed unchanged.
        finalized_at: When its numbers became final; None while they may change.
        canceled_at: When it was canceled, or None.
        cancellation_reason: Why, in the buyer's words.
    """

    package_id: str
    product_id: str
    pricing_option_id: str
    price: Price | None = None
    budget: float
    bid_price: float | None = None
    impressions: float | None = None
    pacing: Pacing | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None
    paused: bool = False
    goals: tuple[EventGoal, ...] = ()
    context: dict[str, Any] | None = None
    finalized_at: datetime | None = None
    canceled_at: datetime | None = None
    cancellation_reason: str | None = None

    @property
    def event_goals(self) -> tuple[EventGoal, ...]:
        """The goals that count conversions."""
        return tuple(goal for goal in self.goals if goal.kind == "event")


class MediaBuy(msgspec.Struct, frozen=True, kw_only=True):
    """A media buy. Times are UTC, to the second.

    Attributes:
        account_id: The account that it is billed to.
        media_buy_id: Unique in the account.
        status: Its status when it was read.
        currency: ISO 4217 code of all its amounts.
        start_at: When it starts.
        end_at: When it ends.
        created_at: When it was created, and so confirmed by the seller.
        paused: Whether it is paused.
        canceled_at: When it was canceled, or None.
        revision: Grows with every change by buyer or seller.
        total_budget: The maximum spend.
        packages: Its line items, at least one.
        name: Display name, or None.
        context: The buyer's context, echoed unchanged.
        cancellation_reason: Why it was canceled, in the buyer's words.
    """

    account_id: str
    media_buy_id: str
    status: MediaBuyStatus = "active"
    currency: str
    start_at: datetime
    end_at: datetime
    created_at: datetime
    paused: bool = False
    canceled_at: datetime | None = None
    revision: int = 1
    total_budget: float
    packages: tuple[Package, ...]
    name: str | None = None
    context: dict[str, Any] | None = None
    cancellation_reason: str | None = None

    @property
    def position(self) -> tuple[int, str, str]:
        """Its position in the order of ``MediaBuyStore.find``."""
        return int(self.created_at.timestamp()), self.account_id, self.media_buy_id


class PackageGoals(NamedTuple):
    """A package with event goals, and its buy."""

    media_buy: MediaBuy
    package: Package


def missing_media_buys(media_buy_ids: Sequence[str], known: Collection[str]) -> list[MediaBuyNotFound]:
    """An error for each of a request's ``media_buy_ids`` that doesn't exist."""
    return [
        MediaBuyNotFound(
            f"media_buy_ids[{index}] does not name one of your media buys.", field=f"media_buy_ids[{index}]"
        )
        for index, media_buy_id in enumerate(media_buy_ids)
        if media_buy_id not in known
    ]
