"""update_media_buy: pause, resume, cancel or change a media buy. A call applies as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection

from postback.accounts.permissions import require_buying
from postback.accounts.references import matching_accounts
from postback.auth.principal import Account
from postback.errors import (
    ConflictingFields,
    InvalidRequest,
    InvalidState,
    MediaBuyNotFound,
    NotCancellable,
    PackageNotFound,
    RequestError,
    RevisionConflict,
    raise_all,
)
from postback.event_sources.event_source import EventSource
from postback.media_buys.actions import ENDED
from postback.media_buys.goal_spellings import misspelt_goals
from postback.media_buys.goals import goal_errors, normalized
from postback.media_buys.media_buy import MediaBuy, Package
from postback.media_buys.money import scaled
from postback.media_buys.order import Flight, Order, price_errors, size_errors, sources_by_any_id
from postback.media_buys.rendering import UpdatedMediaBuy, updated
from postback.media_buys.update_request import PackageUpdate, UpdateMediaBuyRequest, unsupported_fields
from postback.products.product import PricingOption, Product
from postback.protocol.enums import accepted_event_types
from postback.protocol.envelope import IDEMPOTENCY_KEY_EXAMPLE
from postback.protocol.timestamps import moment
from postback.store.idempotency import SaveIn
from postback.tasks.call import Payload, TaskCall
from postback.tasks.task import Task

__all__ = ["UPDATE_MEDIA_BUY", "update_media_buy"]


async def update_media_buy(call: TaskCall) -> Payload:
    """Change a media buy.

    Returns:
        An UpdatedMediaBuy.

    Raises:
        InvalidRequest, UnsupportedField, InvalidPricingOption, BudgetTooLow: The change is invalid; ``also`` has all
            other errors.
        MediaBuyNotFound, PackageNotFound: It doesn't exist, or belongs to another caller.
        InvalidState, NotCancellable: The status doesn't allow it.
        RevisionConflict: Its revision is not the one that the caller has read.
        AccountSetupRequired, AccountSuspended, AccountPaymentRequired: The account's status doesn't allow buying.
        IdempotencyConflict: The key was used for another call.
        StoreUnavailable: A store is unavailable; nothing is changed.
    """
    request = call.arguments.to(UpdateMediaBuyRequest)
    named = {name: value for name in call.arguments.fields if (value := call.arguments.value(name)) is not None}
    misspelt = misspelt_goals(named, call.release, ("packages", "new_packages"))
    raise_all([*misspelt, *unsupported_fields(named, named.get("packages")), *request.errors()])
    raise_all(list(request.no_op_errors(named)))
    account = await call.services.threads.control.run(_account_of, call, request)

    async def update(save_in: SaveIn) -> Payload:
        return await call.services.threads.control.run(_update, call, request, account, save_in)

    return await call.once_in_control(account.account_id, call.arguments.fingerprint(), update)


def _account_of(call: TaskCall, request: UpdateMediaBuyRequest) -> Account:
    accounts = matching_accounts(call.principal, request.account)
    buys = call.services.media_buys.find([account.account_id for account in accounts], [request.media_buy_id])
    if not buys:
        raise MediaBuyNotFound("media_buy_id does not name one of your media buys.", field="media_buy_id")
    if len(buys) > 1:
        raise InvalidRequest(
            "Several of your accounts have a media buy with this id. Name the account.", field="account"
        )
    return call.principal.account(buys[0].account_id)


def _update(call: TaskCall, request: UpdateMediaBuyRequest, account: Account, save_in: SaveIn) -> UpdatedMediaBuy:
    require_buying(account)
    sources = sources_by_any_id(call.services.sources.list(account.account_id))
    before: dict[str, Package] = {}

    def changed(buy: MediaBuy) -> MediaBuy:
        before.update({package.package_id: package for package in buy.packages})
        after = _Change(call, request, buy, sources, call.services.clock.utc().replace(microsecond=0)).made()
        return buy if after == buy else msgspec.structs.replace(after, revision=buy.revision + 1)

    responses: list[UpdatedMediaBuy] = []

    def save(connection: Connection, buy: MediaBuy) -> None:
        named = {package.package_id for package in request.packages}
        affected = [p for p in buy.packages if p.package_id in named or before.get(p.package_id) != p]
        responses.append(updated(buy, affected, call.release, sandbox=account.sandbox))  # once, since it has the time
        save_in(connection, responses[0])

    most = call.services.settings.media_buys
    call.services.media_buys.update(account.account_id, request.media_buy_id, changed, save, most)
    return responses[0]


@dataclass(frozen=True, slots=True)
class _Change:
    """An update, with the media buy that it applies to."""

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
        raise_all([*self._flight_errors(flight), *self._package_errors(updates), *self._order_errors(order)])
        packages = [self._updated(package, updates.get(package.package_id)) for package in buy.packages]
        packages += order.packages(buy.media_buy_id)
        total = _total(packages)
        raise_all([*self._result_errors(packages, flight), *self._total_errors(total)])
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
                f"The media buy has changed since you read it. It is at revision {buy.revision}.",
                field="revision",
                details={"current_version": buy.revision, "expected_version": self.request.revision},
            )
        if buy.status in ENDED and self.request.canceled:
            raise NotCancellable(f"The media buy is already {buy.status}.", field="canceled")
        if buy.status in ENDED:
            raise InvalidState(f"The media buy is {buy.status} and can no longer be changed.", field="media_buy_id")

    def _flight(self) -> Flight:
        start, end = self.request.start_time, self.request.end_time
        begin = self.now if start == "asap" else moment(start, "start_time") if start else self.buy.start_at
        return Flight(begin, moment(end, "end_time") if end else self.buy.end_at)

    def _flight_errors(self, flight: Flight) -> Iterator[RequestError]:
        if flight.start != self.buy.start_at and self.buy.start_at <= self.now:
            yield InvalidState(
                "The media buy has started, so its start_time can no longer be changed.", field="start_time"
            )
        elif flight.start != self.buy.start_at and flight.start < self.now:
            yield InvalidRequest("start_time has passed.", field="start_time")
        if flight.end <= max(flight.start, self.now if self.request.end_time else flight.start):
            yield InvalidRequest("end_time must be in the future and after start_time.", field="end_time")

    def _order_errors(self, order: Order) -> Iterator[RequestError]:
        yield from order.errors()
        if order.currencies - {self.buy.currency}:
            yield InvalidRequest(
                f"The pricing options must be in {self.buy.currency}, the media buy's currency.",
                field="new_packages[0].pricing_option_id",
            )

    def _updates(self) -> Mapping[str, PackageUpdate]:
        """The changes to each package, by its id: those in the call, or its share of a new total."""
        total = self.request.total_budget
        if total is None or self.request.packages or self.request.new_packages:
            return {update.package_id: update for update in self.request.packages}
        live = [package for package in self.buy.packages if package.canceled_at is None]
        budgets = scaled([package.budget for package in live], total.amount, self.buy.currency)
        return {
            package.package_id: PackageUpdate(package_id=package.package_id, budget=budget)
            for package, budget in zip(live, budgets, strict=True)
        }

    def _total_errors(self, resulting: Decimal) -> Iterator[RequestError]:
        total = self.request.total_budget
        if total and total.currency != self.buy.currency:
            yield InvalidRequest(
                f"total_budget.currency must be {self.buy.currency}, the media buy's currency.",
                field="total_budget.currency",
            )
        elif total and Decimal(str(total.amount)) != resulting:
            yield ConflictingFields(
                f"total_budget.amount must be the sum of the packages' budgets, which is {resulting:f}.",
                field="total_budget.amount",
            )

    def _package_errors(self, updates: Mapping[str, PackageUpdate]) -> Iterator[RequestError]:
        packages = {package.package_id: package for package in self.buy.packages}
        places = {update.package_id: f"packages[{index}]" for index, update in enumerate(self.request.packages)}
        for package_id, update in updates.items():
            package, at = packages.get(package_id), places.get(package_id, "total_budget")
            if package is None:
                yield PackageNotFound(
                    f"{at}.package_id does not name a package of this media buy.", field=f"{at}.package_id"
                )
            elif package.canceled_at and update.canceled:
                yield NotCancellable("The package is already canceled.", field=f"{at}.canceled")
            elif package.canceled_at:
                yield InvalidState("The package is canceled and can no longer be changed.", field=f"{at}.package_id")
            elif package.finalized_at:
                yield InvalidState(
                    f"The numbers of the package {package_id} are final, so it can no longer be changed. Change others "
                    "by their package_id.",
                    field=f"{at}.package_id" if package_id in places else at,
                )
            else:
                yield from self._update_errors(update, package, at)

    def _update_errors(self, update: PackageUpdate, package: Package, at: str) -> Iterator[RequestError]:
        product, option = self._offer(package)
        if option and (update.budget is not UNSET or update.bid_price is not UNSET):
            yield from price_errors(_budget(update, package.budget), _bid(update), option, at)
        known = accepted_event_types(self.call.release)
        targets, metrics = (product.conversion_targets, product.metrics) if product else ((), ())
        for number, goal in enumerate(update.optimization_goals or ()):
            yield from goal_errors(goal, f"{at}.optimization_goals[{number}]", self.sources, known, targets, metrics)
        if update.end_time and moment(update.end_time, f"{at}.end_time") <= self.now:
            yield InvalidRequest(f"{at}.end_time has passed.", field=f"{at}.end_time")

    def _result_errors(self, packages: Sequence[Package], flight: Flight) -> Iterator[RequestError]:
        """Errors in the packages after the change."""
        places = {update.package_id: f"packages[{index}]" for index, update in enumerate(self.request.packages)}
        for package in packages:
            if package.canceled_at is None:
                place = places.get(package.package_id, f"The package {package.package_id}")
                yield from flight.package_errors(package.start_at, package.end_at, place)
        yield from size_errors(packages, "new_packages")

    def _offer(self, package: Package) -> tuple[Product | None, PricingOption | None]:
        """The product and pricing option of a package, if they are still on offer."""
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
        if option and option.structure != "auction":
            changes.pop("bid_price", None)  # it has no meaning without an auction, as in create_media_buy
        for name, time in (("start_at", update.start_time), ("end_at", update.end_time)):
            if time:
                changes[name] = moment(time, "packages")
        if update.optimization_goals is not UNSET:
            changes["goals"] = tuple(normalized(goal, self.sources) for goal in update.optimization_goals)
        return msgspec.structs.replace(package, **changes)


def _total(packages: Sequence[Package]) -> Decimal:
    """The sum of the budgets of the packages that aren't canceled."""
    return sum((Decimal(str(package.budget)) for package in packages if package.canceled_at is None), Decimal(0))


def _budget(update: PackageUpdate, before: float) -> float:
    return before if update.budget is UNSET else update.budget


def _bid(update: PackageUpdate) -> float | None:
    return None if update.bid_price is UNSET else update.bid_price


UPDATE_MEDIA_BUY = Task(
    name="update_media_buy",
    title="Update a media buy",
    description=(
        "Pause, resume or cancel a media buy or its packages, change budgets, dates and goals, or add packages. All of "
        "a call happens, or nothing. valid_actions and available_actions of get_media_buys list what is possible now."
    ),
    function=update_media_buy,
    request=UpdateMediaBuyRequest,
    response=UpdatedMediaBuy,
    example={"idempotency_key": IDEMPOTENCY_KEY_EXAMPLE, "media_buy_id": "mb_17", "paused": True},
    mutating=True,
    key="always",
)
