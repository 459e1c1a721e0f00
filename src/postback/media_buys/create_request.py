"""The request of create_media_buy (media-buy/create-media-buy-request.json)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from postback.accounts.references import AccountArgument
from postback.media_buys.goals import EventGoal
from postback.products.product import Money
from postback.protocol.enums import Pacing
from postback.protocol.envelope import TIME
from postback.protocol.json_schema import documented, published_as

__all__ = ["CreateMediaBuyRequest", "PackageRequest", "TotalBudget"]

_ExternalId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,128}\Z")]
_EXTENSIONS = Meta(description="Extensions; unknown ones are ignored.")


class _PackageIds(msgspec.Struct, frozen=True):
    package_id: (
        Annotated[_ExternalId, Meta(description="Keep this package_id, which a system elsewhere gave it.")] | None
    ) = None


class _PackageExt(msgspec.Struct, frozen=True):
    postback: Annotated[_PackageIds, Meta(description="What Postback reads.")] = _PackageIds()


class _MediaBuyIds(msgspec.Struct, frozen=True):
    media_buy_id: (
        Annotated[_ExternalId, Meta(description="Register a media buy that is run elsewhere, under this id.")] | None
    ) = None


class _MediaBuyExt(msgspec.Struct, frozen=True):
    postback: Annotated[_MediaBuyIds, Meta(description="What Postback reads.")] = _MediaBuyIds()


class TotalBudget(msgspec.Struct, frozen=True):
    """The sum of a buy's budgets, in its currency."""

    amount: Annotated[Money, Meta(description="The sum of the packages' budgets.")]
    currency: Annotated[str, Meta(description="ISO 4217 code, the currency of the pricing options.")]


class _Allocation(msgspec.Struct, frozen=True):
    mode: Annotated[str, documented("Budgets are fixed by package.", enum=["fixed"])] = "fixed"


class _Brand(msgspec.Struct):
    domain: Annotated[str, Meta(description="Domain of the brand.")]


class PackageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One package of the request (media-buy/package-request.json)."""

    product_id: Annotated[str, Meta(description="A product that get_products returned.")]
    pricing_option_id: Annotated[str, Meta(description="One of the product's pricing options.")]
    budget: Annotated[Money, Meta(description="The most that the package may spend, in the pricing option's currency.")]
    bid_price: Annotated[Money, Meta(description="Bid, for a pricing option without a fixed price.")] | None = None
    impressions: Annotated[Money, Meta(description="Impressions to reach.")] | None = None
    pacing: Annotated[Pacing, Meta(description="How the budget is spread.")] | None = None
    start_time: (
        Annotated[str, documented(f"When it begins, if later than the buy: {TIME}", format="date-time")] | None
    ) = None
    end_time: Annotated[str, documented(f"When it ends, if sooner than the buy: {TIME}", format="date-time")] | None = (
        None
    )
    paused: Annotated[bool, Meta(description="Start it paused.")] = False
    optimization_goals: (
        Annotated[tuple[EventGoal, ...], Meta(description="The conversions that count for the package.")] | None
    ) = None
    measurement_terms: (
        Annotated[dict[str, Any], Meta(description="Not negotiable: the terms are the seller's.")] | None
    ) = None
    context: Annotated[dict[str, Any], Meta(description="Any object of yours; responses echo it.")] | None = None
    ext: Annotated[_PackageExt | None, _EXTENSIONS] = None

    @property
    def external_id(self) -> str | None:
        """``ext.postback.package_id``."""
        return self.ext.postback.package_id if self.ext else None


class CreateMediaBuyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The task's own arguments."""

    account: AccountArgument = None
    brand: Annotated[Any, published_as(Annotated[_Brand, Meta(description="Whose campaign it is.")])] = None
    name: Annotated[str, Meta(pattern=r"\S", max_length=255, description="For people.")] | None = None
    start_time: Annotated[str, Meta(description=f'"asap", or {TIME}')]
    end_time: Annotated[str, documented(f"When it ends: {TIME}", format="date-time")]
    packages: Annotated[tuple[PackageRequest, ...], Meta(min_length=1, max_length=500, description="What is bought.")]
    total_budget: Annotated[TotalBudget | None, Meta(description="A check: the sum of the packages' budgets.")] = None
    budget_allocation: Annotated[_Allocation | None, Meta(description="How budgets are allocated.")] = None
    proposal_id: Annotated[str, Meta(description="Not supported: this seller makes no proposals.")] | None = None
    paused: Annotated[bool, Meta(description="Pause it until it is resumed.")] = False
    ext: Annotated[_MediaBuyExt | None, _EXTENSIONS] = None

    @property
    def external_id(self) -> str | None:
        """``ext.postback.media_buy_id``: the call registers a buy that a system elsewhere runs."""
        return self.ext.postback.media_buy_id if self.ext else None
