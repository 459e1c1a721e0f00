"""An order: the packages in a request, checked against the products on offer and the account's event sources."""

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
from postback.event_sources.event_source import EventSource
from postback.media_buys.create_request import CreateMediaBuyRequest, PackageRequest
from postback.media_buys.goals import goal_errors, normalized
from postback.media_buys.media_buy import Package
from postback.products.product import Catalogue, PricingOption, Product
from postback.protocol.enums import accepted_event_types
from postback.protocol.releases import Release
from postback.protocol.timestamps import moment

__all__ = ["Flight", "Order", "price_errors", "size_errors", "sources_by_any_id"]

_MAX_PACKAGES = 500
_MAX_BYTES = 1_000_000


def sources_by_any_id(sources: list[EventSource]) -> dict[str, EventSource]:
    """Event sources by event_source_id, which takes precedence, and by seller_id."""
    return {s.seller_id: s for s in sources} | {s.event_source_id: s for s in sources}


@dataclass(frozen=True, slots=True)
class Flight:
    """When the buy runs."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, request: CreateMediaBuyRequest, now: datetime) -> Flight:
        """The flight in a request.

        Raises:
            InvalidRequest: A time is malformed.
        """
        start = now if request.start_time == "asap" else moment(request.start_time, "start_time")
        return cls(start, moment(request.end_time, "end_time"))

    def errors(self, request: CreateMediaBuyRequest, now: datetime) -> Iterator[RequestError]:
        """All errors in it."""
        if self.end <= self.start:
            yield InvalidRequest("end_time must be after start_time.", field="end_time")
        if request.external_id is None and request.start_time != "asap" and self.start < now:
            yield InvalidRequest(
                "start_time has passed.",
                field="start_time",
                suggestion='Send "asap" or a later time. To register a buy that already runs elsewhere, send its id in '
                "ext.postback.media_buy_id.",
            )

    def package_errors(self, start: datetime | None, end: datetime | None, at: str) -> Iterator[RequestError]:
        """Errors in the times of a package; None means the buy's time."""
        if start and start < self.start:
            yield InvalidRequest(
                f"{at}.start_time must not be before the media buy's start_time.", field=f"{at}.start_time"
            )
        if end and end > self.end:
            yield InvalidRequest(f"{at}.end_time must not be after the media buy's end_time.", field=f"{at}.end_time")
        if (end or self.end) <= (start or self.start) and self.end > self.start:
            yield InvalidRequest(f"{at}.end_time must be after its start_time.", field=f"{at}.end_time")


@dataclass(frozen=True, slots=True)
class Order:
    """The packages in a request, with what they are checked against."""

    lines: tuple[PackageRequest, ...]
    flight: Flight
    catalogue: Catalogue
    sources: dict[str, EventSource]
    release: Release | None
    at: str = "packages"
    taken: frozenset[str] = frozenset()
    """The package_ids that the buy already has."""

    @property
    def budget(self) -> float:
        """The sum of the packages' budgets, exact in decimals."""
        return float(sum(Decimal(str(package.budget)) for package in self.lines))

    @property
    def currency(self) -> str:
        """The currency of the first package; a valid order has only one."""
        return next(option.currency for option in map(self._option, self.lines) if option)

    @property
    def currencies(self) -> set[str]:
        """The currencies of the pricing options."""
        return {option.currency for option in map(self._option, self.lines) if option}

    def errors(self) -> Iterator[RequestError]:
        """All errors in the packages, in their order."""
        for index, package in enumerate(self.lines):
            yield from self._package_errors(package, f"{self.at}[{index}]")
        if len(self.currencies) > 1:
            yield InvalidRequest(
                "The packages' pricing options must all be in one currency.",
                field=f"{self.at}[0].pricing_option_id",
            )

    def packages(self, media_buy_id: str) -> tuple[Package, ...]:
        """The packages of a valid order, as they are stored; those without an external id get a numbered one."""
        taken = {*self.taken, *(line.external_id for line in self.lines if line.external_id)}
        numbered = (f"{media_buy_id}_{number}" for number in count(len(self.taken) + 1))
        free = (package_id for package_id in numbered if package_id not in taken)
        return tuple(self._package(line, line.external_id or next(free)) for line in self.lines)

    def _package(self, package: PackageRequest, package_id: str) -> Package:
        option = self._option(package)
        return Package(
            package_id=package_id,
            product_id=package.product_id,
            pricing_option_id=package.pricing_option_id,
            price=option.price if option else None,
            budget=package.budget,
            # Without an auction it has no meaning, though official clients send one.
            bid_price=package.bid_price if option and option.structure == "auction" else None,
            impressions=package.impressions,
            pacing=package.pacing,
            start_at=moment(package.start_time, "start_time") if package.start_time else None,
            end_at=moment(package.end_time, "end_time") if package.end_time else None,
            paused=package.paused,
            goals=tuple(normalized(goal, self.sources) for goal in package.optimization_goals or ()),
            context=package.context,
        )

    @property
    def _external_ids(self) -> list[str | None]:
        return [line.external_id for line in self.lines]

    def _option(self, package: PackageRequest) -> PricingOption | None:
        return self.catalogue.pricing_option(package.product_id, package.pricing_option_id)

    def _package_errors(self, package: PackageRequest, at: str) -> Iterator[RequestError]:
        product, option = self.catalogue.get(package.product_id), self._option(package)
        if product is None:
            yield ProductNotFound(f"{at}.product_id does not name a product on offer.", field=f"{at}.product_id")
        elif option is None:
            yield InvalidPricingOption(
                f"{at}.pricing_option_id does not name a pricing option of this product.",
                field=f"{at}.pricing_option_id",
            )
        else:
            yield from price_errors(package.budget, package.bid_price, option, at)
        yield from self._flight_errors(package, at)
        if package.measurement_terms is not None:
            yield TermsRejected(
                f"{at}.measurement_terms can't be negotiated. The seller's terms apply.",
                field=f"{at}.measurement_terms",
            )
        if package.external_id in self.taken or (
            package.external_id and self._external_ids.count(package.external_id) > 1
        ):
            field = f"{at}.ext.postback.package_id"
            yield InvalidRequest("Another package of the buy has the same package_id.", field=field)
        if product:
            yield from self._goals_errors(package, product, f"{at}.optimization_goals")

    def _goals_errors(self, package: PackageRequest, product: Product, at: str) -> Iterator[RequestError]:
        known, targets, metrics = accepted_event_types(self.release), product.conversion_targets, product.metrics
        for index, goal in enumerate(package.optimization_goals or ()):
            yield from goal_errors(goal, f"{at}[{index}]", self.sources, known, targets, metrics)

    def _flight_errors(self, package: PackageRequest, at: str) -> Iterator[RequestError]:
        start = moment(package.start_time, f"{at}.start_time") if package.start_time else None
        end = moment(package.end_time, f"{at}.end_time") if package.end_time else None
        return self.flight.package_errors(start, end, at)


def price_errors(budget: float, bid_price: float | None, option: PricingOption, at: str) -> Iterator[RequestError]:
    """Errors in a package's budget and bid."""
    if option.min_spend_per_package is not None and budget < option.min_spend_per_package:
        yield BudgetTooLow(
            f"{at}.budget must be at least {option.min_spend_per_package:,.2f} {option.currency} for this pricing "
            "option.",
            field=f"{at}.budget",
            details={"minimum_budget": option.min_spend_per_package, "currency": option.currency},
        )
    if option.structure == "auction" and bid_price is not None and bid_price < (option.floor_price or 0):
        yield InvalidRequest(
            f"{at}.bid_price must be at least the floor price of {option.floor_price:g} {option.currency}.",
            field=f"{at}.bid_price",
        )


def size_errors(packages: Sequence[Package], at: str) -> Iterator[RequestError]:
    """Errors in the size of a buy's packages, which are stored and read as one document."""
    if len(packages) > _MAX_PACKAGES:
        yield InvalidRequest(f"A media buy can have at most {_MAX_PACKAGES} packages.", field=at)
    elif len(msgspec.json.encode(packages)) > _MAX_BYTES:
        yield InvalidRequest(f"The packages of a media buy can have at most {_MAX_BYTES:,} bytes.", field=at)
