"""get_media_buy_delivery: what media buys delivered, and the conversions that followed, from the sums by hour.

Exposures count on the day they occurred, conversions on the day of the event; days are UTC. What a seller reported as
a total for a package and hour replaces what was counted there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import UNSET, UnsetType

from postback.accounts.references import matching_accounts
from postback.auth.principal import Account
from postback.delivery.figures import Figures, total
from postback.delivery.left_out import after_final, invalid_click_counts, left_out_amounts, other_costs
from postback.delivery.pricing import pricing
from postback.delivery.report import (
    AggregatedTotals,
    BriefMetrics,
    CreativeDelivery,
    DayDelivery,
    DeliveryReport,
    MediaBuyDelivery,
    Metrics,
    PackageDelivery,
    ReportDetails,
    ReportExt,
    ReportingPeriod,
)
from postback.delivery.request import DeliveryRequest, Period
from postback.delivery.selection import selected
from postback.errors import AccountNotFound
from postback.media_buys.attribution_windows import Window
from postback.media_buys.media_buy import MediaBuy, Package, missing_media_buys
from postback.products.product import Catalogue
from postback.protocol.envelope import error_object
from postback.protocol.release_features import has_row_currencies
from postback.protocol.releases import Release
from postback.protocol.timestamps import rfc3339
from postback.sandbox.overlay import overlay_simulations
from postback.services import Services
from postback.store.event_store import EventStore
from postback.tasks.call import Payload, TaskCall
from postback.tasks.task import Task

__all__ = ["GET_MEDIA_BUY_DELIVERY", "delivery_report", "get_media_buy_delivery", "hourly_delivery"]

_NO_CURRENCY = "XXX"
"""ISO 4217's code for none: of an answer about no media buy."""

PackageFigures = dict[tuple[str, str, str], Figures]
"""(account_id, media_buy_id, package_id) → its figures."""


async def get_media_buy_delivery(call: TaskCall) -> Payload:
    """Report the delivery of media buys.

    Returns:
        A DeliveryReport. ``errors`` lists the named media buys that don't exist or are another caller's.

    Raises:
        InvalidRequest, InvalidPeriod, UnsupportedGranularity: A malformed argument, or one that can't be met.
        AccountNotFound: No account fits.
        StoreUnavailable: A store is unavailable.
    """
    request = call.arguments.to(DeliveryRequest)
    period = request.period()
    accounts = matching_accounts(call.principal, request.account)
    if not accounts:
        raise AccountNotFound("No account of your API key matches this reference.", field="account")
    account_ids = [account.account_id for account in accounts]
    return await call.services.read_events(account_ids, _report, call, request, period, accounts)


def _report(call: TaskCall, request: DeliveryRequest, period: Period, accounts: tuple[Account, ...]) -> Payload:
    account_ids = [account.account_id for account in accounts]
    store = call.services.media_buys
    buys = store.find(account_ids, request.media_buy_ids, request.statuses())
    days = request.include_package_daily_breakdown
    report = delivery_report(call.services, buys, period, call.release, days=days)
    named = store.find(account_ids, request.media_buy_ids) if request.media_buy_ids else []
    missing = missing_media_buys(request.media_buy_ids or (), {buy.media_buy_id for buy in named})
    report.errors = [error_object(error, call.release) for error in missing] or UNSET
    report.sandbox = all(account.sandbox for account in accounts) or UNSET
    return selected(report, request.requested_metrics, call.release)


def delivery_report(
    services: Services, buys: Sequence[MediaBuy], period: Period, release: Release | None = None, *, days: bool = False
) -> DeliveryReport:
    """The report on these media buys, with all its metrics. Reads both stores, so call it in a thread.

    Args:
        services: The opened resources.
        buys: What is reported, in this order.
        period: The days that count.
        release: The release that is served.
        days: Whether each package shows its days, too.

    Raises:
        StoreUnavailable: A store is unavailable.
    """
    figures = _figures(services, buys, period)
    now = services.clock.utc()
    start, end = period.bounds(min((buy.start_at for buy in buys), default=now), now)
    currency = _currency(buys, release)
    return DeliveryReport(
        reporting_period=ReportingPeriod(rfc3339(start), rfc3339(end)),
        currency=currency,
        attribution_window=_common_window(buys),
        aggregated_totals=_aggregated(buys, figures, currency) if currency else UNSET,
        media_buy_deliveries=[_delivery(services.catalogue, buy, figures, release, days=days) for buy in buys],
        ext=ReportExt(_details(services, buys, figures, period)),
    )


def hourly_delivery(services: Services, buy: MediaBuy, period: Period) -> list[tuple[datetime, BriefMetrics]]:
    """The metrics of each hour of a media buy that has any, as the report has them by day.

    What is simulated for a day is in its first hour.

    Raises:
        StoreUnavailable: The event store is unavailable.
    """
    whole = total(_of_buy(buy, _figures(services, [buy], period, hourly=True)))
    return [(hour, BriefMetrics(**part.brief())) for hour, part in sorted(whole.by_time.items())]


def _details(services: Services, buys: Sequence[MediaBuy], figures: PackageFigures, period: Period) -> ReportDetails:
    complete = services.attribution.complete_through({buy.account_id for buy in buys} or None)
    rows = other_costs(figures)
    invalid: list[Sequence[Any]] = []
    for events, some in services.shards.grouped(buys, _account_of):
        asked = _asked(some, period)
        rows += events.query("delivery_left_out", **asked)
        invalid += events.query("delivery_invalid_clicks", **asked)
    return ReportDetails(
        complete_through=rfc3339(complete) if complete else UNSET,
        left_out=left_out_amounts(rows) or UNSET,
        after_final=after_final(rows) or UNSET,
        invalid_clicks=invalid_click_counts(invalid) or UNSET,
    )


def _asked(buys: Sequence[MediaBuy], period: Period) -> dict[str, Any]:
    start, end = period.stored()
    return {
        "account_ids": [buy.account_id for buy in buys],
        "media_buy_ids": [buy.media_buy_id for buy in buys],
        "start": start,
        "end": end,
    }


def _figures(services: Services, buys: Sequence[MediaBuy], period: Period, *, hourly: bool = False) -> PackageFigures:
    """The figures of the buys' packages; ``hourly``: with each hour in the place of its day."""
    figures: PackageFigures = defaultdict(Figures)
    for events, some in services.shards.grouped(buys, _account_of):
        currencies = {(buy.account_id, buy.media_buy_id): buy.currency for buy in some}
        _add_figures(figures, events, _asked(some, period) | {"hourly": hourly}, currencies)
    if buys and services.settings.sandbox:
        overlay_simulations(services.simulations, services.shards, buys, figures, period)
    return figures


def _add_figures(
    figures: PackageFigures, events: EventStore, asked: Mapping[str, Any], currencies: Mapping[tuple[str, str], str]
) -> None:
    for *key, moment, creative_id, currency, impressions, clicks, cost, items in events.query(
        "delivery_exposures", **asked
    ):
        package = figures[key[0], key[1], key[2]]
        in_currency = currency == currencies[key[0], key[1]]
        for part in _parts(package, moment, creative_id):
            part.deliver(impressions, clicks, cost if in_currency else Decimal(0))
        if cost and not in_currency:
            package.other_costs[currency].add(items, cost)
    for *key, moment, event_type, action_source, creative_id, conversions, value in events.query(
        "delivery_conversions", **asked
    ):
        for part in _parts(figures[key[0], key[1], key[2]], moment, creative_id):
            part.attribute(event_type, action_source, conversions, value)


def _account_of(buy: MediaBuy) -> str:
    return buy.account_id


def _parts(package: Figures, moment: datetime, creative_id: str) -> Iterator[Figures]:
    """The figures that a row of a package counts in."""
    yield package
    yield package.by_time[moment]
    if creative_id:
        yield package.by_creative[creative_id]


def _of_buy(buy: MediaBuy, figures: PackageFigures) -> list[Figures]:
    """The figures of its packages, in their order."""
    return [figures[buy.account_id, buy.media_buy_id, package.package_id] for package in buy.packages]


def _currency(buys: Sequence[MediaBuy], release: Release | None) -> str | UnsetType:
    """That of the newest buy; from the release on in which it is that of every amount, UNSET if buys differ."""
    if has_row_currencies(release) and len({buy.currency for buy in buys}) > 1:
        return UNSET
    return buys[0].currency if buys else _NO_CURRENCY


def _aggregated(buys: Sequence[MediaBuy], figures: PackageFigures, currency: str) -> AggregatedTotals:
    """The sum over the buys in the report's currency: amounts in others are never converted. All are counted."""
    whole = total(part for buy in buys if buy.currency == currency for part in _of_buy(buy, figures))
    return AggregatedTotals(**whole.brief(), media_buy_count=len(buys))


def _delivery(
    catalogue: Catalogue, buy: MediaBuy, figures: PackageFigures, release: Release | None, *, days: bool
) -> MediaBuyDelivery:
    parts = _of_buy(buy, figures)
    whole = total(parts)
    final = [package.finalized_at for package in buy.packages if package.finalized_at]
    return MediaBuyDelivery(
        media_buy_id=buy.media_buy_id,
        currency=buy.currency if has_row_currencies(release) else UNSET,
        status=buy.status,
        **_finality(max(final) if len(final) == len(buy.packages) else None),
        totals=Metrics(**whole.metrics()),
        by_package=[
            _package(catalogue, buy, package, part, release, days=days)
            for package, part in zip(buy.packages, parts, strict=True)
        ],
        daily_breakdown=_days(whole),
    )


def _package(
    catalogue: Catalogue, buy: MediaBuy, package: Package, figures: Figures, release: Release | None, *, days: bool
) -> PackageDelivery:
    goals = package.event_goals
    creatives = sorted(figures.by_creative.items())
    return PackageDelivery(
        package_id=package.package_id,
        **figures.metrics(),
        **pricing(package, figures, catalogue, release),
        currency=buy.currency,
        paused=package.paused,
        **_finality(package.finalized_at),
        attribution_window=goals[0].window if goals else UNSET,
        by_creative=[CreativeDelivery(creative_id=name, **part.metrics()) for name, part in creatives] or UNSET,
        daily_breakdown=_days(figures) if days else UNSET,
    )


def _finality(finalized_at: datetime | None) -> dict[str, Any]:
    return {"is_final": True, "finalized_at": rfc3339(finalized_at)} if finalized_at else {"is_final": False}


def _days(figures: Figures) -> list[DayDelivery]:
    return [DayDelivery(date=day.date().isoformat(), **part.brief()) for day, part in sorted(figures.by_time.items())]


def _common_window(buys: Sequence[MediaBuy]) -> Window:
    """The window of all goals, or the seller's where they differ: packages then say their own."""
    windows = {goal.window for buy in buys for package in buy.packages for goal in package.event_goals}
    return windows.pop() if len(windows) == 1 else Window()


GET_MEDIA_BUY_DELIVERY = Task(
    name="get_media_buy_delivery",
    title="Get media buy delivery",
    description=(
        "Report impressions, clicks, spend, conversions, their value, ROAS and cost per acquisition of media buys, "
        "by package, event type, action source, creative and day. Conversions count on the day of the event, and late "
        "exposures or events restate earlier days until is_final. Changes nothing."
    ),
    function=get_media_buy_delivery,
    request=DeliveryRequest,
    response=DeliveryReport,
    example={"start_date": "2026-01-01", "end_date": "2026-02-01"},
    mutating=False,
    failure_defaults={
        "reporting_period": {"start": "1970-01-01T00:00:00Z", "end": "1970-01-01T00:00:00Z"},
        "currency": _NO_CURRENCY,
        "media_buy_deliveries": [],
    },
)
