"""An order: the packages that a call wants, against what is on offer and the account's event sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import count

import msgspec

from postback.errors import (
    BudgetTooLow,
    InvalidPricingOption,
    InvalidRequest,
    ProductNotFound,
    RequestError,
    TermsRejected,
)
from postback.media_buys.buys import Package
from postback.media_buys.goals import goal_problems, settled
from postback.media_buys.products import Catalogue, PricingOption, Product
from postback.media_buys.request import CreateMediaBuyRequest, PackageRequest, moment
from postback.protocol.enums import released_event_types
from postback.protocol.releases import Release
from postback.sources.model import EventSource

__all__ = ["Flight", "Order", "price_problems", "size_problems", "sources_by_any_id"]

_MOST_PACKAGES = 500
_MAX_BYTES = 1_000_000


def sources_by_any_id(sources: list[EventSource]) -> dict[str, EventSource]:
    """Event sources by event_source_id, which comes first, and by seller_id."""
    return {s.seller_id: s for s in sources} | {s.event_source_id: s for s in sources}


@dataclass(frozen=True, slots=True)
class Flight:
    """When the buy runs."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, request: CreateMediaBuyRequest, now: datetime) -> Flight:
        """When the call wants it to run.

        Raises:
            InvalidRequest: A time that is none.
        """
        start = now if request.start_time == "asap" else moment(request.start_time, "start_time")
        return cls(start, moment(request.end_time, "end_time"))

    def problems(self, request: CreateMediaBuyRequest, now: datetime) -> Iterator[RequestError]:
        """Everything that is wrong with it."""
        if self.end <= self.start:
            yield InvalidRequest("end_time must be after start_time.", field="end_time")
        if request.own_id is None and request.start_time != "asap" and self.start < now:
            yield InvalidRequest(
                "start_time has passed.",
                field="start_time",
                suggestion='Start now with "asap", or later. To register a buy that already runs elsewhere, give its '
                "id in ext.postback.media_buy_id.",
            )

    def problems_of_package(self, start: datetime | None, end: datetime | None, at: str) -> Iterator[RequestError]:
        """What is wrong with the times of a package; None stands for the buy's."""
        if start and start < self.start:
            yield InvalidRequest(f"{at}.start_time is before the buy's.", field=f"{at}.start_time")
        if end and end > self.end:
            yield InvalidRequest(f"{at}.end_time is after the buy's.", field=f"{at}.end_time")
        if (end or self.end) <= (start or self.start) and self.end > self.start:
            yield InvalidRequest(f"{at}.end_time must be after its start_time.", field=f"{at}.end_time")


@dataclass(frozen=True, slots=True)
class Order:
    """What is bought: the call's packages against what is on offer."""

    lines: tuple[PackageRequest, ...]
    flight: Flight
    catalogue: Catalogue
    sources: dict[str, EventSource]
    release: Release | None
    at: str = "packages"
    taken: frozenset[str] = frozenset()
    """The package_ids that the buy has already."""

    @property
    def budget(self) -> float:
        """The sum of the packages' budgets, exact in decimals."""
        return float(sum(Decimal(str(package.budget)) for package in self.lines))

    @property
    def currency(self) -> str:
        """The currency of the first package; an order without problems has one only."""
        return next(option.currency for option in map(self._option, self.lines) if option)

    @property
    def currencies(self) -> set[str]:
        """The currencies of the prices that are asked for."""
        return {option.currency for option in map(self._option, self.lines) if option}

    def problems(self) -> Iterator[RequestError]:
        """Everything that is wrong with the packages, in their order."""
        for index, package in enumerate(self.lines):
            yield from self._package_problems(package, f"{self.at}[{index}]")
        if len(self.currencies) > 1:
            yield InvalidRequest(
                "The packages' pricing options are in several currencies; a media buy has one.",
                field=f"{self.at}[0].pricing_option_id",
            )

    def packages(self, media_buy_id: str) -> tuple[Package, ...]:
        """The packages of an order without problems, as they are kept; those without an id of their own are counted."""
        taken = {*self.taken, *(line.own_id for line in self.lines if line.own_id)}
        counted = (f"{media_buy_id}_{number}" for number in count(len(self.taken) + 1))
        free = (package_id for package_id in counted if package_id not in taken)
        return tuple(self._kept(line, line.own_id or next(free)) for line in self.lines)

    def _kept(self, package: PackageRequest, package_id: str) -> Package:
        return Package(
            package_id=package_id,
            product_id=package.product_id,
            pricing_option_id=package.pricing_option_id,
            budget=package.budget,
            bid_price=self._bid(package),
            impressions=package.impressions,
            pacing=package.pacing,
            start_at=moment(package.start_time, "start_time") if package.start_time else None,
            end_at=moment(package.end_time, "end_time") if package.end_time else None,
            paused=package.paused,
            goals=tuple(settled(goal, self.sources) for goal in package.optimization_goals or ()),
            context=package.context,
        )

    def _bid(self, package: PackageRequest) -> float | None:
        """Its bid; none for a fixed price, where official clients send one that means nothing."""
        option = self._option(package)
        return package.bid_price if option and option.fixed_price is None else None

    @property
    def _own_ids(self) -> list[str | None]:
        return [line.own_id for line in self.lines]

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
            yield from price_problems(package.budget, package.bid_price, option, at)
        yield from self._flight_problems(package, at)
        if package.measurement_terms is not None:
            yield TermsRejected(f"{at}.measurement_terms: terms are the seller's.", field=f"{at}.measurement_terms")
        if package.own_id in self.taken or (package.own_id and self._own_ids.count(package.own_id) > 1):
            field = f"{at}.ext.postback.package_id"
            yield InvalidRequest("Another package of the buy has the same package_id.", field=field)
        if product:
            yield from self._goals_problems(package, product, f"{at}.optimization_goals")

    def _goals_problems(self, package: PackageRequest, product: Product, at: str) -> Iterator[RequestError]:
        known, targets, metrics = released_event_types(self.release), product.conversion_targets, product.metrics
        for index, goal in enumerate(package.optimization_goals or ()):
            yield from goal_problems(goal, f"{at}[{index}]", self.sources, known, targets, metrics)

    def _flight_problems(self, package: PackageRequest, at: str) -> Iterator[RequestError]:
        start = moment(package.start_time, f"{at}.start_time") if package.start_time else None
        end = moment(package.end_time, f"{at}.end_time") if package.end_time else None
        return self.flight.problems_of_package(start, end, at)


def price_problems(budget: float, bid_price: float | None, option: PricingOption, at: str) -> Iterator[RequestError]:
    """What is wrong with a package's budget and bid."""
    if option.min_spend_per_package is not None and budget < option.min_spend_per_package:
        yield BudgetTooLow(
            f"{at}.budget is below {option.min_spend_per_package:,.2f} {option.currency}, the least for this pricing "
            "option.",
            field=f"{at}.budget",
            details={"minimum_budget": option.min_spend_per_package, "currency": option.currency},
        )
    if option.fixed_price is None and bid_price is not None and bid_price < (option.floor_price or 0):
        yield InvalidRequest(
            f"{at}.bid_price is below the floor of {option.floor_price:g} {option.currency}.", field=f"{at}.bid_price"
        )


def size_problems(packages: Sequence[Package], at: str) -> Iterator[RequestError]:
    """What is wrong with how many packages a buy has: they are kept, and read, as one."""
    if len(packages) > _MOST_PACKAGES:
        yield InvalidRequest(f"A media buy has at most {_MOST_PACKAGES} packages.", field=at)
    elif len(msgspec.json.encode(packages)) > _MAX_BYTES:
        yield InvalidRequest(f"The packages of a media buy take more than {_MAX_BYTES:,} bytes.", field=at)
