"""create_media_buy: make a media buy of the products on offer, or register one that is run elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from postback.accounts.references import resolve_account
from postback.accounts.standing import require_buying
from postback.errors import InvalidRequest, RequestError, raise_all
from postback.media_buys.answers import created_answer
from postback.media_buys.buys import MediaBuy
from postback.media_buys.order import Flight, Order, size_problems, sources_by_any_id
from postback.media_buys.request import CreateMediaBuyRequest

if TYPE_CHECKING:
    from postback.idempotency import Keep
    from postback.principal import Account
    from postback.tasks import TaskCall

__all__ = ["create_media_buy"]


async def create_media_buy(call: TaskCall) -> dict[str, Any]:
    """Check the whole order against the catalogue and the account's event sources, then keep it.

    Returns:
        The success arm of media-buy/create-media-buy-response.json, without the envelope.

    Raises:
        InvalidRequest, ProductNotFound, InvalidPricingOption, BudgetTooLow: Something is wrong with the order; the
            error carries everything else that is.
        AccountRequired, AccountNotFound, AccountAmbiguous: No single account fits.
        AccountSetupRequired, AccountSuspended, AccountPaymentRequired: The account may not buy.
        IdempotencyConflict: The key was used for another call.
        StoreUnavailable: A store doesn't answer; nothing was bought.
    """
    request = call.arguments.to(CreateMediaBuyRequest)
    account = resolve_account(call.principal, request.account)
    # A retry may come when the start has passed or a source is gone, so the order is checked only when it is new.
    create = partial(_create, call, request, account)
    return await call.once_in_control(account.account_id, call.arguments.fingerprint(), create)


def _create(call: TaskCall, request: CreateMediaBuyRequest, account: Account, keep: Keep) -> dict[str, Any]:
    require_buying(account)
    now = datetime.now(UTC).replace(microsecond=0)
    sources = sources_by_any_id(call.services.sources.list(account.account_id))
    flight = Flight.of(request, now)
    order = Order(request.packages, flight, call.services.catalogue, sources, call.release)
    raise_all(
        [
            *flight.problems(request, now),
            *order.problems(),
            *_total_problems(request, order),
            *_unoffered(request),
        ]
    )
    media_buy_id = request.own_id or f"mb_{uuid4().hex}"
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
    raise_all(list(size_problems(ordered.packages, "packages")))
    answered = partial(created_answer, release=call.release, sandbox=account.sandbox)
    created = call.services.media_buys.create(ordered, lambda connection, buy: keep(connection, answered(buy)))
    if created is None:
        raise InvalidRequest(
            "The account has a media buy of this id already.",
            field="ext.postback.media_buy_id",
            suggestion="Choose another one, or leave it out for a new one of ours.",
        )
    return answered(created)


def _total_problems(request: CreateMediaBuyRequest, order: Order) -> Iterator[RequestError]:
    total = request.total_budget
    if total and order.currencies and total.currency not in order.currencies:
        yield InvalidRequest("total_budget.currency is not that of the pricing options.", field="total_budget.currency")
    if total and Decimal(str(total.amount)) != Decimal(str(order.budget)):
        yield InvalidRequest(
            "total_budget.amount must be the sum of the packages' budgets.", field="total_budget.amount"
        )


def _unoffered(request: CreateMediaBuyRequest) -> Iterator[RequestError]:
    if request.proposal_id is not None:
        yield InvalidRequest("This seller makes no proposals; name products.", field="proposal_id")
    if request.budget_allocation and request.budget_allocation.mode != "fixed":
        yield InvalidRequest(
            'Budgets are fixed by package here; budget_allocation.mode must be "fixed".',
            field="budget_allocation.mode",
        )
