"""create_media_buy: make a media buy of the products on offer, or register one that is run elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from postback.accounts import resolve_account
from postback.errors import (
    BudgetTooLow,
    InvalidPricingOption,
    InvalidRequest,
    ProductNotFound,
    RequestError,
    raise_all,
)
from postback.media_buys.answers import created_answer
from postback.media_buys.buys import MediaBuy, Package
from postback.media_buys.goals import goal_problems, settled
from postback.media_buys.products import Catalogue, PricingOption
from postback.media_buys.request import CreateMediaBuyRequest, PackageRequest, moment
from postback.protocol.enums import released_event_types
from postback.protocol.releases import Release
from postback.sources.model import EventSource

if TYPE_CHECKING:
    from postback.principal import Account
    from postback.tasks import TaskCall

__all__ = ["create_media_buy"]

_MAX_BYTES = 1_000_000
"""Bound on the JSON of the packages, which are kept and read as one."""


async def create_media_buy(call: TaskCall) -> dict[str, Any]:
    """Check the whole order against the catalogue and the account's event sources, then keep it.

    Returns:
        The success arm of media-buy/create-media-buy-response.json, without the envelope.

    Raises:
        InvalidRequest, ProductNotFound, InvalidPricingOption, BudgetTooLow: Something is wrong with the order; the
            error carries everything else that is.
        AccountRequired, AccountNotFound, AccountAmbiguous: No single account fits.
        IdempotencyConflict: The key was used for another call.
        StoreUnavailable: A store doesn't answer; nothing was bought.
    """
    request = call.arguments.to(CreateMediaBuyRequest)
    if memoryview(call.arguments.members["packages"]).nbytes > _MAX_BYTES:
        raise InvalidRequest(f"packages is larger than {_MAX_BYTES:,} bytes.", field="packages")
    account = resolve_account(call.principal, request.account)
    fingerprint = call.arguments.fingerprint()

    # A retry may come when the start has passed or a source is gone, so the order is checked only when it is new.
    async def create() -> dict[str, Any]:
        return await asyncio.to_thread(_create, call, request, account, fingerprint)

    return await call.once(account.account_id, fingerprint, create)


def _create(call: TaskCall, request: CreateMediaBuyRequest, account: Account, fingerprint: bytes) -> dict[str, Any]:
    now = datetime.now(UTC).replace(microsecond=0)
    sources = _by_any_id(call.services.sources.list(account.account_id))
    flight = _Flight.of(request, now)
    order = _Order(request, flight, call.services.catalogue, sources, call.release)
    raise_all([*flight.problems(request, now), *order.problems()])
    media_buy_id = request.own_id or _new_id(call, account, fingerprint)
    ordered = MediaBuy(
        account_id=account.account_id,
        media_buy_id=media_buy_id,
        currency=order.currency,
        start_at=flight.start,
        end_at=flight.end,
        created_at=now,
        paused=request.paused,
        total_budget=order.budget,
        packages=order.packages(media_buy_id),
        name=request.name,
        context=call.arguments.value("context"),
    )
    buys = call.services.media_buys
    created = buys.create(ordered)
    if created is None and request.own_id is None:
        created = buys.get(account.account_id, media_buy_id)
    if created is None:
        raise InvalidRequest(
            "The account has a media buy of this id already.",
            field="ext.postback.media_buy_id",
            suggestion="Choose another one, or leave it out for a new one of ours.",
        )
    return created_answer(created, call.release, sandbox=account.sandbox)


def _new_id(call: TaskCall, account: Account, fingerprint: bytes) -> str:
    """A fresh identifier; the same for a retry, which thereby finds what a crash kept from being answered."""
    if call.idempotency_key is None:
        return f"mb_{uuid4().hex}"
    scope = (call.principal.key_id, account.account_id, call.idempotency_key)
    return f"mb_{sha256(repr(scope).encode() + fingerprint).hexdigest()[:32]}"


def _by_any_id(sources: list[EventSource]) -> dict[str, EventSource]:
    return {s.seller_id: s for s in sources} | {s.event_source_id: s for s in sources}


@dataclass(frozen=True, slots=True)
class _Flight:
    """When the buy runs."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, request: CreateMediaBuyRequest, now: datetime) -> _Flight:
        start = now if request.start_time == "asap" else moment(request.start_time, "start_time")
        return cls(start, moment(request.end_time, "end_time"))

    def problems(self, request: CreateMediaBuyRequest, now: datetime) -> Iterator[RequestError]:
        if self.end <= self.start:
            yield InvalidRequest("end_time must be after start_time.", field="end_time")
        if request.own_id is None and request.start_time != "asap" and self.start < now:
            yield InvalidRequest(
                "start_time has passed.",
                field="start_time",
                suggestion='Start now with "asap", or later. To register a buy that already runs elsewhere, give its '
                "id in ext.postback.media_buy_id.",
            )


@dataclass(frozen=True, slots=True)
class _Order:
    """What is bought: the call's packages against what is on offer."""

    request: CreateMediaBuyRequest
    flight: _Flight
    catalogue: Catalogue
    sources: dict[str, EventSource]
    release: Release | None

    @property
    def budget(self) -> float:
        """The sum of the packages' budgets, exact in decimals."""
        return float(sum(Decimal(str(package.budget)) for package in self.request.packages))

    @property
    def currency(self) -> str:
        """The currency of the first package; an order without problems has one only."""
        return next(option.currency for option in map(self._option, self.request.packages) if option)

    def problems(self) -> Iterator[RequestError]:
        """Everything that is wrong with the packages, in their order, then with what they amount to."""
        currencies = {option.currency for option in map(self._option, self.request.packages) if option}
        for index, package in enumerate(self.request.packages):
            yield from self._package_problems(package, f"packages[{index}]")
        if len(currencies) > 1:
            yield InvalidRequest(
                "The packages' pricing options are in several currencies; a media buy has one.",
                field="packages[0].pricing_option_id",
            )
        yield from self._total_problems(currencies)
        yield from self._unoffered()

    def packages(self, media_buy_id: str) -> tuple[Package, ...]:
        """The packages of an order without problems, as they are kept."""
        return tuple(
            self._kept(package, package.own_id or f"{media_buy_id}_{number}")
            for number, package in enumerate(self.request.packages, 1)
        )

    def _kept(self, package: PackageRequest, package_id: str) -> Package:
        return Package(
            package_id=package_id,
            product_id=package.product_id,
            pricing_option_id=package.pricing_option_id,
            budget=package.budget,
            bid_price=package.bid_price,
            impressions=package.impressions,
            pacing=package.pacing,
            start_at=moment(package.start_time, "start_time") if package.start_time else None,
            end_at=moment(package.end_time, "end_time") if package.end_time else None,
            paused=package.paused,
            goals=tuple(settled(goal, self.sources) for goal in package.optimization_goals or ()),
            context=package.context,
        )

    def _option(self, package: PackageRequest) -> PricingOption | None:
        product = self.catalogue.get(package.product_id)
        return product.pricing_option(package.pricing_option_id) if product else None

    def _package_problems(self, package: PackageRequest, at: str) -> Iterator[RequestError]:
        product, option = self.catalogue.get(package.product_id), self._option(package)
        if product is None:
            yield ProductNotFound(f"{at}.product_id names no product on offer.", field=f"{at}.product_id")
        elif option is None:
            yield InvalidPricingOption(
                f"{at}.pricing_option_id names no pricing option of this product.", field=f"{at}.pricing_option_id"
            )
        else:
            yield from _price_problems(package, option, at)
        yield from self._flight_problems(package, at)
        if package.own_id and [p.own_id for p in self.request.packages].count(package.own_id) > 1:
            field = f"{at}.ext.postback.package_id"
            yield InvalidRequest("Another package of the buy has the same package_id.", field=field)
        targets = product.conversion_targets if product else ()
        event_types = released_event_types(self.release)
        for index, goal in enumerate(package.optimization_goals or () if product else ()):
            yield from goal_problems(goal, f"{at}.optimization_goals[{index}]", self.sources, targets, event_types)

    def _flight_problems(self, package: PackageRequest, at: str) -> Iterator[RequestError]:
        start = moment(package.start_time, f"{at}.start_time") if package.start_time else self.flight.start
        end = moment(package.end_time, f"{at}.end_time") if package.end_time else self.flight.end
        if start < self.flight.start:
            yield InvalidRequest(f"{at}.start_time is before the buy's.", field=f"{at}.start_time")
        if end > self.flight.end:
            yield InvalidRequest(f"{at}.end_time is after the buy's.", field=f"{at}.end_time")
        if end <= start and self.flight.end > self.flight.start:
            yield InvalidRequest(f"{at}.end_time must be after its start_time.", field=f"{at}.end_time")

    def _total_problems(self, currencies: set[str]) -> Iterator[RequestError]:
        total = self.request.total_budget
        if total and currencies and total.currency not in currencies:
            yield InvalidRequest(
                "total_budget.currency is not that of the pricing options.", field="total_budget.currency"
            )
        if total and Decimal(str(total.amount)) != Decimal(str(self.budget)):
            yield InvalidRequest(
                "total_budget.amount must be the sum of the packages' budgets.", field="total_budget.amount"
            )

    def _unoffered(self) -> Iterator[RequestError]:
        if self.request.proposal_id is not None:
            yield InvalidRequest("This seller makes no proposals; name products.", field="proposal_id")
        if self.request.budget_allocation and self.request.budget_allocation.mode != "fixed":
            yield InvalidRequest(
                'Budgets are fixed by package here; budget_allocation.mode must be "fixed".',
                field="budget_allocation.mode",
            )


def _price_problems(package: PackageRequest, option: PricingOption, at: str) -> Iterator[RequestError]:
    if option.min_spend_per_package is not None and package.budget < option.min_spend_per_package:
        yield BudgetTooLow(
            f"{at}.budget is below {option.min_spend_per_package:,.2f} {option.currency}, the least for this pricing "
            "option.",
            field=f"{at}.budget",
        )
    if package.bid_price is None:
        return
    if option.fixed_price is not None:
        yield InvalidRequest(f"{at}.bid_price is for auctions; this price is fixed.", field=f"{at}.bid_price")
    elif option.floor_price is not None and package.bid_price < option.floor_price:
        yield InvalidRequest(
            f"{at}.bid_price is below the floor of {option.floor_price:g} {option.currency}.", field=f"{at}.bid_price"
        )
