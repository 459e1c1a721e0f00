"""One media buy: what it cost and achieved over time and by its parts, what counts 0, and why."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from postback.attribution.value_reasons import VALUE_REASONS
from postback.console.chart import Chart
from postback.console.conversions import sums_by_source
from postback.console.csv_table import Cell, CsvTable, whole
from postback.console.delivery import DELIVERY, Buy, Dates, buy_path, recent, shown_buy
from postback.console.delivery_figures import COLUMNS, Figures, cells, charts, figures_of, tally_of
from postback.console.page import Page, Visit
from postback.delivery.report import DeliveryReport, MediaBuyDelivery
from postback.delivery.request import Period, midnight
from postback.errors import InvalidRequest
from postback.exposures.invalid_clicks import INVALID_CLICKS
from postback.media_buys.media_buy import MediaBuy
from postback.protocol.timestamps import rfc3339
from postback.tasks.get_media_buy_delivery import delivery_report, hourly_delivery
from postback.tasks.list_conversions import find_media_buy

__all__ = ["PAGES"]

_HOURLY_DAYS = 14
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)

BY = ("package", "creative", "event_type", "action_source", "source")
"""What the figures of a media buy can be taken apart by."""

_TABLES = ("time", "parts", "left_out", "invalid_clicks")

_SPEND_REASONS = {
    "OTHER_CURRENCY": "Their cost is not in the media buy's currency. Amounts are never converted.",
    "NO_CURRENCY": "Their cost has no currency. Send currency with every cost.",
}


class Moment(msgspec.Struct, frozen=True):
    """The figures of a day or an hour, and the address of its conversions."""

    begins_at: datetime
    figures: Figures
    conversions_url: str


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a package, a creative, an event type, an action source or an event source.

    Attributes:
        package_id: The package of a creative.
        is_final: Whether a package's numbers are final.
        refunds: How many refunds an event source sent that are subtracted; known by event source only.
        refunded: What they subtract; at most 0.
        conversions_url: The conversions and refunds behind it.
        refunds_url: The refunds alone.
    """

    name: str
    package_id: str | None = None
    is_final: bool | None = None
    figures: Figures
    refunds: int | None = None
    refunded: float | None = None
    conversions_url: str
    refunds_url: str


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """An amount that the figures leave out, and why."""

    figure: str
    package_id: str
    reason: str
    meaning: str
    count: int
    value: float
    currency: str
    conversions_url: str | None


class InvalidClicks(msgspec.Struct, frozen=True):
    """Clicks on click links that don't count, and why."""

    package_id: str
    reason: str
    meaning: str
    count: int


class BuyDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """What the page of one media buy shows.

    Attributes:
        unit: ``day`` or ``hour``: of ``moments`` and ``charts``.
        units: The addresses of both; hours are offered for few days only.
        by: What ``parts`` are, one of BY.
        tabs: The address of each.
        left_out: Amounts that count 0.
        after_final: What came after a package's numbers were final.
        csv_urls: The tables as files.
    """

    buy: Buy
    dates: Dates
    recent: dict[str, str]
    complete_through: datetime | None
    unit: str
    units: dict[str, str]
    moments: tuple[Moment, ...]
    charts: tuple[Chart, ...]
    by: str
    tabs: dict[str, str]
    parts: tuple[Part, ...]
    left_out: tuple[LeftOut, ...]
    after_final: tuple[LeftOut, ...]
    invalid_clicks: tuple[InvalidClicks, ...]
    csv_urls: dict[str, str]


async def _one(visit: Visit) -> BuyDelivery:
    dates, by = Dates.of(visit.query), _by(visit)
    period = dates.period()

    def read() -> BuyDelivery:
        buy = find_media_buy(visit.services, visit.principal, visit.path["media_buy_id"])
        report = delivery_report(visit.services, [buy], period)
        [delivery] = report.media_buy_deliveries
        unit = _unit(visit, dates, delivery)
        shown = shown_buy(visit, buy, delivery, dates)
        moments = tuple(_moments(visit, buy, delivery, period, unit))
        each = _HOUR if unit == "hour" else _DAY
        return BuyDelivery(
            buy=shown,
            dates=dates,
            recent=recent(visit),
            complete_through=visit.services.attribution.complete_through([buy.account_id]),
            unit=unit,
            units={name: visit.url(unit=name) for name in ("day", "hour") if name == unit or _few(dates, delivery)},
            moments=moments,
            charts=charts([(moment.begins_at, moment.figures) for moment in moments], each, buy.currency),
            by=by,
            tabs={name: visit.url(by=name) for name in BY},
            parts=tuple(_parts(visit, buy, delivery, period, by)),
            **_apart(visit, buy, report),
            csv_urls={name: visit.url(format="csv", table=name) for name in _TABLES},
        )

    return await visit.services.read_stored(visit.principal.account_ids, read)


def _by(visit: Visit) -> str:
    by = visit.query.get("by", "package")
    if by not in BY:
        raise InvalidRequest(f"by must be one of {', '.join(BY)}.", field="by")
    return by


def _few(dates: Dates, delivery: MediaBuyDelivery) -> bool:
    """Whether there are so few days that hours can be shown."""
    if dates.start_date and dates.end_date:
        return date.fromisoformat(dates.end_date) - date.fromisoformat(dates.start_date) <= _DAY * _HOURLY_DAYS
    days = [date.fromisoformat(day.date) for day in delivery.daily_breakdown]
    return not days or max(days) - min(days) < _DAY * _HOURLY_DAYS


def _unit(visit: Visit, dates: Dates, delivery: MediaBuyDelivery) -> str:
    """What the figures over time are by: days, or hours where these are asked for or there is but one day."""
    unit = visit.query.get("unit") or ("hour" if len(delivery.daily_breakdown) == 1 else "day")
    if unit not in ("day", "hour"):
        raise InvalidRequest("unit must be day or hour.", field="unit")
    if unit == "hour" and not _few(dates, delivery):
        raise InvalidRequest(
            f"Hours are shown for at most {_HOURLY_DAYS} days.",
            field="unit",
            suggestion="Choose fewer days with start_date and end_date, or unit=day.",
        )
    return unit


def _moments(visit: Visit, buy: MediaBuy, delivery: MediaBuyDelivery, period: Period, unit: str) -> Iterable[Moment]:
    if unit == "hour":
        for hour, metrics in hourly_delivery(visit.services, buy, period):
            yield Moment(hour, figures_of(metrics), _conversions(visit, buy, hour=rfc3339(hour)))
        return
    for breakdown in delivery.daily_breakdown:
        day = date.fromisoformat(breakdown.date)
        url = _conversions(visit, buy, start_date=day, end_date=day + _DAY)
        yield Moment(midnight(day), figures_of(breakdown), url)


def _parts(visit: Visit, buy: MediaBuy, delivery: MediaBuyDelivery, period: Period, by: str) -> Iterable[Part]:
    def part(name: str, figures: Figures, filters: dict[str, str], **more: Any) -> Part:
        conversions_url, refunds_url = (_conversions(visit, buy, **filters, kind=kind) for kind in (None, "refund"))
        return Part(name=name, figures=figures, conversions_url=conversions_url, refunds_url=refunds_url, **more)

    match by:
        case "package":
            for package in delivery.by_package:
                filters = {"package_id": package.package_id}
                yield part(package.package_id, figures_of(package), filters, is_final=package.is_final)
        case "creative":
            for package in delivery.by_package:
                for creative in package.by_creative or ():
                    filters = {"package_id": package.package_id, "creative_id": creative.creative_id}
                    more = {"package_id": package.package_id}
                    yield part(creative.creative_id, figures_of(creative), filters, **more)
        case "event_type":
            for kind in delivery.totals.by_event_type or ():
                yield part(kind.event_type, tally_of(kind), {"event_type": kind.event_type})
        case "action_source":
            for place in delivery.totals.by_action_source or ():
                yield part(place.action_source, tally_of(place), {"action_source": place.action_source})
        case _:
            for source, figures, refunds, refunded in sums_by_source(visit, buy, period):
                yield part(source, figures, {"event_source_id": source}, refunds=refunds, refunded=refunded)


def _conversions(visit: Visit, buy: MediaBuy, **filters: object) -> str:
    """The address of the conversions that are reported under these values, in the page's days."""
    parameters = {**Dates.of(visit.query).parameters(), **filters}
    return visit.url(f"{buy_path(buy)}/conversions", account=buy.account_id, **parameters)


def _apart(visit: Visit, buy: MediaBuy, report: DeliveryReport) -> dict[str, tuple[Any, ...]]:
    """What the figures leave out."""
    details = report.ext.postback if report.ext else None
    left_out = (details and details.left_out) or ()
    after_final = (details and details.after_final) or ()
    invalid = (details and details.invalid_clicks) or ()
    return {
        "left_out": tuple(_left_out(visit, buy, entry.figure, entry.reason, entry) for entry in left_out),
        "after_final": tuple(_left_out(visit, buy, "conversion_value", "FINAL", entry) for entry in after_final),
        "invalid_clicks": tuple(
            InvalidClicks(entry.package_id, entry.reason, INVALID_CLICKS[entry.reason], entry.count)
            for entry in invalid
        ),
    }


def _left_out(visit: Visit, buy: MediaBuy, figure: str, reason: str, entry: Any) -> LeftOut:
    of_value = figure == "conversion_value"
    filters = {"package_id": entry.package_id, "value_reason": reason}
    return LeftOut(
        figure=figure,
        package_id=entry.package_id,
        reason=reason,
        meaning=VALUE_REASONS[reason] if of_value else _SPEND_REASONS[reason],
        count=entry.count,
        value=entry.value,
        currency=entry.currency or "",
        conversions_url=_conversions(visit, buy, **filters) if of_value else None,
    )


_OF_PART = ("package_id", "currency", *COLUMNS, "refunds", "refunded")
_OF_LEFT_OUT = ("figure", "package_id", "reason", "count", "value", "currency", "meaning")


async def _one_csv(visit: Visit) -> CsvTable:
    model = await _one(visit)
    name = f"{model.buy.media_buy_id}{model.dates.of_file()}"
    currency = model.buy.currency
    match visit.query.get("table", "time"):
        case "time":
            rows = [[moment.begins_at, currency, *cells(moment.figures)] for moment in model.moments]
            return CsvTable(f"{name}-by-{model.unit}", (model.unit, "currency", *COLUMNS), whole(rows))
        case "parts":
            parts: list[list[Cell]] = [
                [part.name, part.package_id, currency, *cells(part.figures), part.refunds, part.refunded]
                for part in model.parts
            ]
            return CsvTable(f"{name}-by-{model.by}", (model.by, *_OF_PART), whole(parts))
        case "left_out":
            left_out: list[list[Cell]] = [
                [out.figure, out.package_id, out.reason, out.count, out.value, out.currency, out.meaning]
                for out in (*model.left_out, *model.after_final)
            ]
            return CsvTable(f"{name}-left-out", _OF_LEFT_OUT, whole(left_out))
        case "invalid_clicks":
            clicks: list[list[Cell]] = [
                [entry.package_id, entry.reason, entry.count, entry.meaning] for entry in model.invalid_clicks
            ]
            return CsvTable(f"{name}-invalid-clicks", ("package_id", "reason", "count", "meaning"), whole(clicks))
    raise InvalidRequest(f"table must be one of {', '.join(_TABLES)}.", field="table")


PAGES = (Page(f"{DELIVERY}/{{media_buy_id}}", "Media buy", "media_buy.html", _one, below=DELIVERY, csv=_one_csv),)
