"""get_media_buy_delivery: what media buys delivered and achieved, from the sums by hour.

Exposures count on the day they occurred, conversions on the day of the event; days are UTC. What a seller reported as
a total for a package and hour replaces what was counted there.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from postback.accounts.references import matching_accounts
from postback.delivery.figures import Figures, total
from postback.delivery.request import DeliveryRequest, Period
from postback.envelope import error_object
from postback.errors import AccountNotFound, MediaBuyNotFound
from postback.media_buys.buys import MediaBuy, Package
from postback.media_buys.windows import Window
from postback.sandbox.overlay import overlay_simulations
from postback.times import rfc3339

if TYPE_CHECKING:
    from postback.principal import Account
    from postback.services import Services
    from postback.tasks import TaskCall

__all__ = ["DELIVERY_BLANK", "get_media_buy_delivery"]

_NO_CURRENCY = "XXX"
"""ISO 4217's code for none: of an answer about no media buy."""

DELIVERY_BLANK = {
    "reporting_period": {"start": "1970-01-01T00:00:00Z", "end": "1970-01-01T00:00:00Z"},
    "currency": _NO_CURRENCY,
    "media_buy_deliveries": [],
}
"""What the schema requires even of a call that failed."""

PackageFigures = dict[tuple[str, str, str], Figures]
"""(account_id, media_buy_id, package_id) → its figures."""


async def get_media_buy_delivery(call: TaskCall) -> dict[str, Any]:
    """Report the delivery of media buys.

    Returns:
        media-buy/get-media-buy-delivery-response.json, without the envelope. ``errors`` lists the named buys that there
        are none of, or that are somebody else's.

    Raises:
        InvalidRequest, InvalidPeriod, UnsupportedGranularity: A malformed argument, or one that can't be met.
        AccountNotFound: No account fits.
        StoreUnavailable: A store doesn't answer.
    """
    request = call.arguments.to(DeliveryRequest)
    period = request.period()
    accounts = matching_accounts(call.principal, request.account)
    if not accounts:
        raise AccountNotFound("Your API key acts for no account that fits this reference.", field="account")
    return await asyncio.to_thread(_report, call, request, period, accounts)


def _report(call: TaskCall, request: DeliveryRequest, period: Period, accounts: tuple[Account, ...]) -> dict[str, Any]:
    account_ids = [account.account_id for account in accounts]
    store = call.services.media_buys
    complete = call.services.attribution.complete_through
    buys = store.find(account_ids, request.media_buy_ids, request.statuses())
    figures = _figures(call.services, buys, period)
    if call.services.settings.sandbox:
        overlay_simulations(call.services, buys, figures, period)
    now = datetime.now(UTC)
    start, end = period.bounds(min((buy.start_at for buy in buys), default=now), now)
    currency = buys[0].currency if buys else _NO_CURRENCY
    answer: dict[str, Any] = {
        "reporting_period": {"start": rfc3339(start), "end": rfc3339(end)},
        "currency": currency,
        "attribution_window": msgspec.to_builtins(_common_window(buys)),
        "aggregated_totals": _aggregated(buys, figures, currency),
        "media_buy_deliveries": [
            _delivery(call.services, buy, figures, days=request.include_package_daily_breakdown) for buy in buys
        ],
    }
    if complete:
        answer["ext"] = {"postback": {"complete_through": rfc3339(complete)}}
    if missing := _missing(request, store.find(account_ids, request.media_buy_ids) if request.media_buy_ids else []):
        answer["errors"] = [error_object(error, call.release) for error in missing]
    if all(account.sandbox for account in accounts):
        answer["sandbox"] = True
    return answer


def _figures(services: Services, buys: Sequence[MediaBuy], period: Period) -> PackageFigures:
    figures: PackageFigures = defaultdict(Figures)
    if not buys:
        return figures
    start, end = period.stored()
    asked = {
        "account_ids": [buy.account_id for buy in buys],
        "media_buy_ids": [buy.media_buy_id for buy in buys],
        "start": start,
        "end": end,
    }
    currencies = [buy.currency for buy in buys]
    for *key, day, creative_id, impressions, clicks, spend in services.events.query(
        "delivery_exposures", **asked, currencies=currencies
    ):
        package = figures[key[0], key[1], key[2]]
        for part in (package, package.by_day[day], *([package.by_creative[creative_id]] if creative_id else ())):
            part.deliver(impressions, clicks, spend)
    for *key, day, event_type, action_source, creative_id, conversions, value in services.events.query(
        "delivery_conversions", **asked
    ):
        package = figures[key[0], key[1], key[2]]
        for part in (package, package.by_day[day], *([package.by_creative[creative_id]] if creative_id else ())):
            part.achieve(event_type, action_source, conversions, value)
    return figures


def _of_buy(buy: MediaBuy, figures: PackageFigures) -> list[Figures]:
    """The figures of its packages, in their order."""
    return [figures[buy.account_id, buy.media_buy_id, package.package_id] for package in buy.packages]


def _aggregated(buys: Sequence[MediaBuy], figures: PackageFigures, currency: str) -> dict[str, Any]:
    """The sum over the buys in the answer's currency: amounts in others are never converted. All are counted."""
    whole = total(part for buy in buys if buy.currency == currency for part in _of_buy(buy, figures))
    return whole.shown_briefly() | {"media_buy_count": len(buys)}


def _delivery(services: Services, buy: MediaBuy, figures: PackageFigures, *, days: bool) -> dict[str, Any]:
    parts = _of_buy(buy, figures)
    whole = total(parts)
    final = [package.finalized_at for package in buy.packages if package.finalized_at]
    return {
        "media_buy_id": buy.media_buy_id,
        "status": buy.status,
        **_finality(max(final) if len(final) == len(buy.packages) else None),
        "totals": whole.shown(),
        "by_package": [
            _package(services, buy, package, part, days=days) for package, part in zip(buy.packages, parts, strict=True)
        ],
        "daily_breakdown": _days(whole),
    }


def _package(services: Services, buy: MediaBuy, package: Package, figures: Figures, *, days: bool) -> dict[str, Any]:
    shown = {
        "package_id": package.package_id,
        **figures.shown(),
        **_pricing(services, package),
        "currency": buy.currency,
        "paused": package.paused,
        **_finality(package.finalized_at),
    }
    if goals := package.event_goals:
        shown["attribution_window"] = msgspec.to_builtins(goals[0].window)
    if figures.by_creative:
        shown["by_creative"] = [
            {"creative_id": creative_id, **part.shown()} for creative_id, part in sorted(figures.by_creative.items())
        ]
    if days:
        shown["daily_breakdown"] = _days(figures)
    return shown


def _pricing(services: Services, package: Package) -> dict[str, Any]:
    product = services.catalogue.get(package.product_id)
    option = product.pricing_option(package.pricing_option_id) if product else None
    if option is None:  # no longer on offer: what is left of its price is the bid
        return {"pricing_model": "flat_rate", "rate": package.bid_price or 0}
    rate = package.bid_price or option.fixed_price or option.floor_price or 0
    return {"pricing_model": option.pricing_model, "rate": rate}


def _finality(finalized_at: datetime | None) -> dict[str, Any]:
    return {"is_final": True, "finalized_at": rfc3339(finalized_at)} if finalized_at else {"is_final": False}


def _days(figures: Figures) -> list[dict[str, Any]]:
    return [{"date": day.isoformat(), **part.shown_briefly()} for day, part in sorted(figures.by_day.items())]


def _common_window(buys: Sequence[MediaBuy]) -> Window:
    """The window of all goals, or the seller's where they differ: packages then say their own."""
    windows = {goal.window for buy in buys for package in buy.packages for goal in package.event_goals}
    return windows.pop() if len(windows) == 1 else Window()


def _missing(request: DeliveryRequest, known: Sequence[MediaBuy]) -> list[MediaBuyNotFound]:
    ids = {buy.media_buy_id for buy in known}
    return [
        MediaBuyNotFound(f"media_buy_ids[{index}] names no media buy of yours.", field=f"media_buy_ids[{index}]")
        for index, media_buy_id in enumerate(request.media_buy_ids or ())
        if media_buy_id not in ids
    ]
