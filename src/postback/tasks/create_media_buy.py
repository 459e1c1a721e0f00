"""create_media_buy: make a media buy of the products on offer, or register one that is run elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from uuid import uuid4

from postback.accounts.permissions import require_buying
from postback.accounts.references import resolve_account
from postback.auth.principal import Account
from postback.errors import InvalidRequest, RequestError, raise_all
from postback.media_buys.create_request import CreateMediaBuyRequest
from postback.media_buys.goal_spellings import misspelt_goals
from postback.media_buys.media_buy import MediaBuy
from postback.media_buys.order import Flight, Order, size_errors, sources_by_any_id
from postback.media_buys.rendering import CreatedMediaBuy, created
from postback.protocol.envelope import IDEMPOTENCY_KEY_EXAMPLE
from postback.store.idempotency import SaveIn
from postback.tasks.call import Payload, TaskCall
from postback.tasks.task import Task

__all__ = ["CREATE_MEDIA_BUY", "create_media_buy"]


async def create_media_buy(call: TaskCall) -> Payload:
    """Check the whole order against the catalogue and the account's event sources, then store it.

    Returns:
        A CreatedMediaBuy.

    Raises:
        InvalidRequest, ProductNotFound, InvalidPricingOption, BudgetTooLow: Something is wrong with the order; the
            error carries everything else that is. Or the account has too many open ones.
        AccountRequired, AccountNotFound, AccountAmbiguous: The reference doesn't match exactly one account.
        AccountSetupRequired, AccountSuspended, AccountPaymentRequired: The account may not buy.
        IdempotencyConflict: The key was used for another call.
        StoreUnavailable: A store doesn't answer; nothing was bought.
    """
    request = call.arguments.to(CreateMediaBuyRequest)
    account = resolve_account(call.principal, request.account)
    # A retry may come when the start has passed or a source is gone, so the order is checked only when it is new.

    async def create(save_in: SaveIn) -> Payload:
        return await call.services.threads.control.run(_create, call, request, account, save_in)

    return await call.once_in_control(account.account_id, call.arguments.fingerprint(), create)


def _create(call: TaskCall, request: CreateMediaBuyRequest, account: Account, save_in: SaveIn) -> CreatedMediaBuy:
    require_buying(account)
    now = call.services.clock.utc().replace(microsecond=0)
    sources = sources_by_any_id(call.services.sources.list(account.account_id))
    flight = Flight.of(request, now)
    order = Order(request.packages, flight, call.services.catalogue, sources, call.release)
    sent = {name: call.arguments.value(name) for name in call.arguments.fields}
    raise_all(
        [
            *misspelt_goals(sent, call.release),
            *flight.errors(request, now),
            *order.errors(),
            *_total_errors(request, order),
            *_unoffered(request),
        ]
    )
    media_buy_id = request.external_id or f"mb_{uuid4().hex}"
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
        context=call.arguments.context(),
    )
    raise_all(list(size_errors(ordered.packages, "packages")))
    response_to = partial(created, release=call.release, sandbox=account.sandbox)
    stored = call.services.media_buys.create(
        ordered,
        lambda connection, buy: save_in(connection, response_to(buy)),
        call.services.settings.media_buys,
    )
    if stored is None:
        raise InvalidRequest(
            "The account already has a media buy with this id.",
            field="ext.postback.media_buy_id",
            suggestion="Choose another id, or omit it to get a generated one.",
        )
    return response_to(stored)


def _total_errors(request: CreateMediaBuyRequest, order: Order) -> Iterator[RequestError]:
    total = request.total_budget
    if total and order.currencies and total.currency not in order.currencies:
        yield InvalidRequest(
            "total_budget.currency must be the currency of the pricing options.", field="total_budget.currency"
        )
    if total and Decimal(str(total.amount)) != Decimal(str(order.budget)):
        yield InvalidRequest(
            "total_budget.amount must be the sum of the packages' budgets.", field="total_budget.amount"
        )


def _unoffered(request: CreateMediaBuyRequest) -> Iterator[RequestError]:
    if request.proposal_id is not None:
        yield InvalidRequest("This seller makes no proposals. Name products in packages.", field="proposal_id")
    if request.budget_allocation and request.budget_allocation.mode != "fixed":
        yield InvalidRequest(
            'budget_allocation.mode must be "fixed": each package has its own budget.',
            field="budget_allocation.mode",
        )


CREATE_MEDIA_BUY = Task(
    name="create_media_buy",
    title="Create a media buy",
    description=(
        "Buy products: one package for each, with a budget and, in optimization_goals, the conversions that count for "
        "it. The event sources of a goal must have been set up with sync_event_sources. The call fails as a whole; "
        "errors lists everything that is wrong. To register a media buy that is run elsewhere, send its own "
        "identifiers in ext.postback; only such a media buy may have begun already."
    ),
    function=create_media_buy,
    request=CreateMediaBuyRequest,
    response=CreatedMediaBuy,
    example={
        "idempotency_key": IDEMPOTENCY_KEY_EXAMPLE,
        "brand": {"domain": "shop.example"},
        "start_time": "asap",
        "end_time": "2099-12-31T23:59:59Z",
        "packages": [
            {
                "product_id": "sandbox_display_auction",
                "pricing_option_id": "auction_cpm_usd",
                "budget": 5000,
                "optimization_goals": [
                    {
                        "kind": "event",
                        "event_sources": [
                            {"event_source_id": "website", "event_type": "purchase", "value_field": "value"}
                        ],
                        "target": {"kind": "per_ad_spend", "value": 4.0},
                        "attribution_window": {"post_click": {"interval": 7, "unit": "days"}},
                    }
                ],
            }
        ],
    },
    mutating=True,
    key="always",
)
