"""The arguments of create_media_buy (media-buy/create-media-buy-request.json)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from postback.errors import InvalidRequest
from postback.media_buys.budgets import Money
from postback.media_buys.goals import EventGoal
from postback.protocol.enums import Pacing

__all__ = ["CreateMediaBuyRequest", "PackageRequest", "TotalBudget", "moment"]

_OwnId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,128}\Z")]


class _OwnIds(msgspec.Struct, frozen=True):
    """How a system elsewhere calls what is registered here; its own identifiers are kept."""

    media_buy_id: _OwnId | None = None
    package_id: _OwnId | None = None


class _Ext(msgspec.Struct, frozen=True):
    postback: _OwnIds = _OwnIds()


class TotalBudget(msgspec.Struct, frozen=True):
    """The sum of a buy's budgets, in its currency."""

    amount: Money
    currency: str


class _Allocation(msgspec.Struct, frozen=True):
    mode: str = "fixed"


class PackageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One package of the call (media-buy/package-request.json)."""

    product_id: str
    pricing_option_id: str
    budget: Money
    bid_price: Money | None = None
    impressions: Money | None = None
    pacing: Pacing | None = None
    start_time: str | None = None
    end_time: str | None = None
    paused: bool = False
    optimization_goals: tuple[EventGoal, ...] | None = None
    measurement_terms: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    ext: _Ext | None = None

    @property
    def own_id(self) -> str | None:
        """``ext.postback.package_id``."""
        return self.ext.postback.package_id if self.ext else None


class CreateMediaBuyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The task's own arguments."""

    start_time: str
    end_time: str
    packages: Annotated[tuple[PackageRequest, ...], Meta(min_length=1, max_length=500)]
    account: Any = None
    name: Annotated[str, Meta(pattern=r"\S", max_length=255)] | None = None
    total_budget: TotalBudget | None = None
    budget_allocation: _Allocation | None = None
    proposal_id: str | None = None
    paused: bool = False
    ext: _Ext | None = None

    @property
    def own_id(self) -> str | None:
        """``ext.postback.media_buy_id``: the call registers a buy that a system elsewhere runs."""
        return self.ext.postback.media_buy_id if self.ext else None


class _Moment(msgspec.Struct):
    time: Annotated[datetime, Meta(tz=True)]


def moment(text: str, field: str) -> datetime:
    """A time of the call, in UTC and to the second.

    Raises:
        InvalidRequest: Not RFC 3339 with an offset.
    """
    try:
        return msgspec.convert({"time": text}, _Moment).time.astimezone(UTC).replace(microsecond=0)
    except (msgspec.ValidationError, OverflowError):
        raise InvalidRequest(
            f"{field} must be an RFC 3339 date and time with an offset, as 2026-01-15T14:30:00Z.", field=field
        ) from None
