"""update_media_buy: hold, resume, end or change what was bought. All of a call happens, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from postback.accounts.references import matching_accounts
from postback.accounts.standing import require_buying
from postback.errors import (
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
from postback.media_buys.buys import MediaBuy, Package
from postback.media_buys.goals import goal_problems, settled
from postback.media_buys.order import Flight, Order, price_problems, sources_by_any_id
from postback.media_buys.products import PricingOption, Product
from postback.media_buys.request import moment
from postback.media_buys.update_request import PackageUpdate, UpdateMediaBuyRequest, unfollowed
from postback.protocol.enums import released_event_types
from postback.sources.model import EventSource

if TYPE_CHECKING:
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
    account = await asyncio.to_thread(_account_of, call, request)
    require_buying(account)
    fingerprint = call.arguments.fingerprint()

    async def update() -> dict[str, Any]:
        return await asyncio.to_thread(_update, call, request, account, fingerprint)

    return await call.once(account.account_id, fingerprint, update)


def _account_of(call: TaskCall, request: UpdateMediaBuyRequest) -> Account:
    accounts = matching_accounts(call.principal, request.account)
    buys = call.services.media_buys.find([account.account_id for account in accounts], [request.media_buy_id])
    if not buys:
        raise MediaBuyNotFound("media_buy_id names no media buy of yours.", field="media_buy_id")
    if len(buys) > 1:
        raise InvalidRequest("Several of your accounts have a media buy of this id; name the account.", field="account")
    return call.principal.account(buys[0].account_id)


def _update(call: TaskCall, request: UpdateMediaBuyRequest, account: Account, fingerprint: bytes) -> dict[str, Any]:
    sources = sources_by_any_id(call.services.sources.list(account.account_id))
    mark = _mark(call, fingerprint)

    def changed(buy: MediaBuy) -> MediaBuy:
        if mark and buy.last_update == mark:
            return buy  # a crash kept the answer to this very call from being kept
        change = _Change(call, request, buy, sources, datetime.now(UTC).replace(microsecond=0))
        return msgspec.structs.replace(change.made(), revision=buy.revision + 1, last_update=mark)

    after = call.services.media_buys.change(account.account_id, request.media_buy_id, changed)
    named = {package.package_id for package in request.packages}
    kept = len(after.packages) - len(request.new_packages)
    affected = [p for number, p in enumerate(after.packages) if p.package_id in named or number >= kept]
    return updated_answer(after, affected, call.release, sandbox=account.sandbox)


def _mark(call: TaskCall, fingerprint: bytes) -> str | None:
    if call.idempotency_key is None:
        return None
    scope = (call.principal.key_id, call.idempotency_key)
    return sha256(repr(scope).encode() + fingerprint).hexdigest()


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
        )
        raise_all([*self._flight_problems(flight), *self._package_problems(flight), *self._order_problems(order)])
        updates = {update.package_id: update for update in request.packages}
        packages = [self._updated(p, updates.get(p.package_id), flight) for p in buy.packages]
        packages += order.packages(buy.media_buy_id, first=len(buy.packages) + 1)
        live = [package.budget for package in packages if package.canceled_at is None]
        return msgspec.structs.replace(
            buy,
            name=request.name or buy.name,
            paused=buy.paused if request.paused is None else request.paused,
            start_at=flight.start,
            end_at=flight.end,
            total_budget=float(sum(Decimal(str(budget)) for budget in live)),
            packages=tuple(packages),
        )

    def _check_state(self) -> None:
        buy = self.buy
        if self.request.revision not in (None, buy.revision):
            raise RevisionConflict(f"The media buy is at revision {buy.revision}.", field="revision")
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

    def _package_problems(self, flight: Flight) -> Iterator[RequestError]:
        packages = {package.package_id: package for package in self.buy.packages}
        for index, update in enumerate(self.request.packages):
            at = f"packages[{index}]"
            package = packages.get(update.package_id)
            if package is None:
                yield PackageNotFound(f"{at}.package_id names no package of this media buy.", field=f"{at}.package_id")
            elif package.canceled_at and update.canceled:
                yield NotCancellable("The package is canceled already.", field=f"{at}.canceled")
            elif package.canceled_at:
                yield InvalidState("The package is canceled; it can't be changed any more.", field=f"{at}.package_id")
            else:
                yield from self._update_problems(update, package, flight, at)

    def _update_problems(
        self, update: PackageUpdate, package: Package, flight: Flight, at: str
    ) -> Iterator[RequestError]:
        product, option = self._offer(package)
        if option and (update.budget is not UNSET or update.bid_price is not UNSET):
            yield from price_problems(_set(update, package.budget), _bid(update), option, at)
        known = released_event_types(self.call.release)
        for number, goal in enumerate(update.optimization_goals or ()):
            yield from goal_problems(goal, f"{at}.optimization_goals[{number}]", self.sources, product, known)
        start, end = self._times(update, package, at)
        if update.start_time and start and start < flight.start:
            yield InvalidRequest(f"{at}.start_time is before the buy's.", field=f"{at}.start_time")
        if update.end_time and end and end > flight.end:
            yield InvalidRequest(f"{at}.end_time is after the buy's.", field=f"{at}.end_time")
        if start and end and end <= start:
            yield InvalidRequest(f"{at}.end_time must be after its start_time.", field=f"{at}.end_time")

    def _offer(self, package: Package) -> tuple[Product | None, PricingOption | None]:
        """What a package bought, as far as it is still on offer."""
        product = self.call.services.catalogue.get(package.product_id)
        return product, product.pricing_option(package.pricing_option_id) if product else None

    def _times(self, update: PackageUpdate, package: Package, at: str) -> tuple[datetime | None, datetime | None]:
        start = moment(update.start_time, f"{at}.start_time") if update.start_time else package.start_at
        end = moment(update.end_time, f"{at}.end_time") if update.end_time else package.end_at
        return start, end

    def _updated(self, package: Package, update: PackageUpdate | None, flight: Flight) -> Package:
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
        changes["start_at"], changes["end_at"] = self._times(update, package, "packages")
        if update.optimization_goals is not UNSET:
            changes["goals"] = tuple(settled(goal, self.sources) for goal in update.optimization_goals)
        return msgspec.structs.replace(package, **changes)


def _set(update: PackageUpdate, before: float) -> float:
    return before if update.budget is UNSET else update.budget


def _bid(update: PackageUpdate) -> float | None:
    return None if update.bid_price is UNSET else update.bid_price
