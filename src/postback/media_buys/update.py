"""update_media_buy: hold, resume, end or change what was bought. All of a call happens, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from postback.accounts.references import matching_accounts
from postback.accounts.standing import require_buying
from postback.errors import (
    Contradiction,
    InvalidRequest,
    InvalidState,
    MediaBuyNotFound,
    NotCancellable,
    PackageNotFound,
    RequestError,
    RevisionConflict,
    raise_all,
)
from postback.media_buys.actions import ENDED
from postback.media_buys.answers import updated_answer
from postback.media_buys.budgets import scaled
from postback.media_buys.buys import MediaBuy, Package
from postback.media_buys.goals import goal_problems, settled
from postback.media_buys.order import Flight, Order, price_problems, size_problems, sources_by_any_id
from postback.media_buys.products import PricingOption, Product
from postback.media_buys.request import moment
from postback.media_buys.update_request import PackageUpdate, UpdateMediaBuyRequest, unfollowed
from postback.protocol.enums import released_event_types
from postback.sources.model import EventSource

if TYPE_CHECKING:
    from postback.idempotency import Keep
    from postback.principal import Account
    from postback.tasks import TaskCall

__all__ = ["update_media_buy"]


async def update_media_buy(call: TaskCall) -> dict[str, Any]:
    """Change a media buy.

    Returns:
        The success arm of media-buy/update-media-buy-response.json, without the envelope.

    Raises:
        InvalidRequest, UnsupportedMember, InvalidPricingOption, BudgetTooLow: Something is wrong with the change; the
            error carries everything else that is.
        MediaBuyNotFound, PackageNotFound: There is none of this id, or it is somebody else's.
        InvalidState, NotCancellable: The status doesn't allow it.
        RevisionConflict: It has another revision than the caller has read.
        AccountSetupRequired, AccountSuspended, AccountPaymentRequired: The account may not buy.
        IdempotencyConflict: The key was used for another call.
        StoreUnavailable: A store doesn't answer; nothing was changed.
    """
    request = call.arguments.to(UpdateMediaBuyRequest)
    named = {name: value for name in call.arguments.members if (value := call.arguments.value(name)) is not None}
    raise_all([*unfollowed(named, named.get("packages")), *request.problems()])
    raise_all(list(request.idle()))
    account = await asyncio.to_thread(_account_of, call, request)
    update = partial(_update, call, request, account)
    return await call.once_in_control(account.account_id, call.arguments.fingerprint(), update)


def _account_of(call: TaskCall, request: UpdateMediaBuyRequest) -> Account:
    accounts = matching_accounts(call.principal, request.account)
    buys = call.services.media_buys.find([account.account_id for account in accounts], [request.media_buy_id])
    if not buys:
        raise MediaBuyNotFound("media_buy_id names no media buy of yours.", field="media_buy_id")
    if len(buys) > 1:
        raise InvalidRequest("Several of your accounts have a media buy of this id; name the account.", field="account")
    return call.principal.account(buys[0].account_id)


def _update(call: TaskCall, request: UpdateMediaBuyRequest, account: Account, keep: Keep) -> dict[str, Any]:
    require_buying(account)
    sources = sources_by_any_id(call.services.sources.list(account.account_id))
    before: dict[str, Package] = {}

    def changed(buy: MediaBuy) -> MediaBuy:
        before.update({package.package_id: package for package in buy.packages})
        after = _Change(call, request, buy, sources, datetime.now(UTC).replace(microsecond=0)).made()
        return buy if after == buy else msgspec.structs.replace(after, revision=buy.revision + 1)

    def answered(buy: MediaBuy) -> dict[str, Any]:
        named = {package.package_id for package in request.packages}
        affected = [p for p in buy.packages if p.package_id in named or before.get(p.package_id) != p]
        return updated_answer(buy, affected, call.release, sandbox=account.sandbox)

    media_buys = call.services.media_buys
    after = media_buys.change(
        account.account_id, request.media_buy_id, changed, lambda connection, buy: keep(connection, answered(buy))
    )
    return answered(after)


@dataclass(frozen=True, slots=True)
class _Change:
    """A call against the media buy as it is."""

    call: TaskCall
    request: UpdateMediaBuyRequest
    buy: MediaBuy
    sources: dict[str, EventSource]
    now: datetime

    def made(self) -> MediaBuy:
        """The media buy after the change."""
        request, buy = self.request, self.buy
        self._check_state()
        if request.canceled:
            reason = request.cancellation_reason
            return msgspec.structs.replace(buy, canceled_at=self.now, cancellation_reason=reason)
        flight = self._flight()
        order = Order(
            request.new_packages,
            flight,
            self.call.services.catalogue,
            self.sources,
            self.call.release,
            at="new_packages",
            taken=frozenset(package.package_id for package in buy.packages),
        )
        updates = self._updates()
        raise_all([*self._flight_problems(flight), *self._package_problems(updates), *self._order_problems(order)])
        packages = [self._updated(package, updates.get(package.package_id)) for package in buy.packages]
        packages += order.packages(buy.media_buy_id)
        total = _total(packages)
        raise_all([*self._kept_problems(packages, flight), *self._total_problems(total)])
        return msgspec.structs.replace(
            buy,
            name=request.name or buy.name,
            paused=buy.paused if request.paused is None else request.paused,
            start_at=flight.start,
            end_at=flight.end,
            total_budget=float(total),
            packages=tuple(packages),
        )

    def _check_state(self) -> None:
        buy = self.buy
        if self.request.revision not in (None, buy.revision):
            raise RevisionConflict(
                f"The media buy is at revision {buy.revision}.",
                field="revision",
                details={"current_version": buy.revision, "expected_version": self.request.revision},
            )
        if buy.status in ENDED and self.request.canceled:
            raise NotCancellable(f"The media buy is {buy.status} already.", field="canceled")
        if buy.status in ENDED:
            raise InvalidState(f"The media buy is {buy.status}; it can't be changed any more.", field="media_buy_id")

    def _flight(self) -> Flight:
        start, end = self.request.start_time, self.request.end_time
        begin = self.now if start == "asap" else moment(start, "start_time") if start else self.buy.start_at
        return Flight(begin, moment(end, "end_time") if end else self.buy.end_at)

    def _flight_problems(self, flight: Flight) -> Iterator[RequestError]:
        if flight.start != self.buy.start_at and self.buy.start_at <= self.now:
            yield InvalidState("The media buy has begun; its start_time can't be changed.", field="start_time")
        elif flight.start != self.buy.start_at and flight.start < self.now:
            yield InvalidRequest("start_time has passed.", field="start_time")
        if flight.end <= max(flight.start, self.now if self.request.end_time else flight.start):
            yield InvalidRequest("end_time must be after start_time, and not have passed.", field="end_time")

    def _order_problems(self, order: Order) -> Iterator[RequestError]:
        yield from order.problems()
        if order.currencies - {self.buy.currency}:
            yield InvalidRequest(
                f"The media buy is in {self.buy.currency}; choose pricing options in it.",
                field="new_packages[0].pricing_option_id",
            )

    def _updates(self) -> Mapping[str, PackageUpdate]:
        """What changes of each package, by its id: what the call says, or what a new total comes to."""
        total = self.request.total_budget
        if total is None or self.request.packages or self.request.new_packages:
            return {update.package_id: update for update in self.request.packages}
        live = [package for package in self.buy.packages if package.canceled_at is None]
        budgets = scaled([package.budget for package in live], total.amount, self.buy.currency)
        return {
            package.package_id: PackageUpdate(package_id=package.package_id, budget=budget)
            for package, budget in zip(live, budgets, strict=True)
        }

    def _total_problems(self, resulting: Decimal) -> Iterator[RequestError]:
        total = self.request.total_budget
        if total and total.currency != self.buy.currency:
            yield InvalidRequest(
                f"total_budget.currency must be the media buy's, {self.buy.currency}.", field="total_budget.currency"
            )
        elif total and Decimal(str(total.amount)) != resulting:
            yield Contradiction(
                f"total_budget.amount must be the sum of the packages' budgets, which comes to {resulting:f}.",
                field="total_budget.amount",
            )

    def _package_problems(self, updates: Mapping[str, PackageUpdate]) -> Iterator[RequestError]:
        packages = {package.package_id: package for package in self.buy.packages}
        places = {update.package_id: f"packages[{index}]" for index, update in enumerate(self.request.packages)}
        for package_id, update in updates.items():
            package, at = packages.get(package_id), places.get(package_id, "total_budget")
            if package is None:
                yield PackageNotFound(f"{at}.package_id names no package of this media buy.", field=f"{at}.package_id")
            elif package.canceled_at and update.canceled:
                yield NotCancellable("The package is canceled already.", field=f"{at}.canceled")
            elif package.canceled_at:
                yield InvalidState("The package is canceled; it can't be changed any more.", field=f"{at}.package_id")
            else:
                yield from self._update_problems(update, package, at)

    def _update_problems(self, update: PackageUpdate, package: Package, at: str) -> Iterator[RequestError]:
        product, option = self._offer(package)
        if option and (update.budget is not UNSET or update.bid_price is not UNSET):
            yield from price_problems(_set(update, package.budget), _bid(update), option, at)
        known = released_event_types(self.call.release)
        targets, metrics = (product.conversion_targets, product.metrics) if product else ((), ())
        for number, goal in enumerate(update.optimization_goals or ()):
            yield from goal_problems(goal, f"{at}.optimization_goals[{number}]", self.sources, known, targets, metrics)
        if update.end_time and moment(update.end_time, f"{at}.end_time") <= self.now:
            yield InvalidRequest(f"{at}.end_time has passed.", field=f"{at}.end_time")

    def _kept_problems(self, packages: Sequence[Package], flight: Flight) -> Iterator[RequestError]:
        """What is wrong with the packages as they would be kept."""
        places = {update.package_id: f"packages[{index}]" for index, update in enumerate(self.request.packages)}
        for package in packages:
            if package.canceled_at is None:
                place = places.get(package.package_id, f"The package {package.package_id}")
                yield from flight.problems_of_package(package.start_at, package.end_at, place)
        yield from size_problems(packages, "new_packages")

    def _offer(self, package: Package) -> tuple[Product | None, PricingOption | None]:
        """What a package bought, as far as it is still on offer."""
        product = self.call.services.catalogue.get(package.product_id)
        return product, product.pricing_option(package.pricing_option_id) if product else None

    def _updated(self, package: Package, update: PackageUpdate | None) -> Package:
        if update is None:
            return package
        if update.canceled is True:
            reason = update.cancellation_reason
            return msgspec.structs.replace(package, canceled_at=self.now, cancellation_reason=reason)
        plain = ("budget", "bid_price", "impressions", "pacing", "paused")
        changes: dict[str, Any] = {name: value for name in plain if (value := getattr(update, name)) is not UNSET}
        _, option = self._offer(package)
        if option and option.fixed_price is not None:
            changes.pop("bid_price", None)  # as in create_media_buy: there it means nothing
        for name, time in (("start_at", update.start_time), ("end_at", update.end_time)):
            if time:
                changes[name] = moment(time, "packages")
        if update.optimization_goals is not UNSET:
            changes["goals"] = tuple(settled(goal, self.sources) for goal in update.optimization_goals)
        return msgspec.structs.replace(package, **changes)


def _total(packages: Sequence[Package]) -> Decimal:
    """The sum of the budgets of those that aren't canceled."""
    return sum((Decimal(str(package.budget)) for package in packages if package.canceled_at is None), Decimal(0))


def _set(update: PackageUpdate, before: float) -> float:
    return before if update.budget is UNSET else update.budget


def _bid(update: PackageUpdate) -> float | None:
    return None if update.bid_price is UNSET else update.bid_price
