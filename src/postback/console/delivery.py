"""Delivery: the media buys of an account, with what they cost and what they achieved."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import get_args
from urllib.parse import quote

import msgspec

from postback.console.csv_table import Cell, CsvTable
from postback.console.delivery_figures import COLUMNS, Figures, cells, figures_of
from postback.console.page import Page, Visit
from postback.delivery.report import DeliveryReport, MediaBuyDelivery
from postback.delivery.request import DeliveryRequest, Period
from postback.errors import InvalidRequest
from postback.media_buys.media_buy import MediaBuy
from postback.protocol.enums import MediaBuyStatus
from postback.protocol.pagination import Pagination, page_info, position_of
from postback.tasks.get_media_buy_delivery import delivery_report

__all__ = ["DELIVERY", "PAGES", "Buy", "Dates", "buy_path", "recent", "shown_buy"]

DELIVERY = "/console/delivery"
_SHOWN_BUYS, _SENT_BUYS = 50, 200
_DAY = timedelta(days=1)
_STATUSES: tuple[MediaBuyStatus, ...] = ("active", "paused", "pending_start", "completed", "canceled")
"""Those that media buys have here; AdCP has more."""


class Dates(msgspec.Struct, frozen=True):
    """The days that figures are of, as in the address; None: from the first, or until now."""

    start_date: str | None
    end_date: str | None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Dates:
        """The days of an address."""
        return cls(query.get("start_date") or None, query.get("end_date") or None)

    def period(self) -> Period:
        """The same as dates. Raises InvalidRequest and InvalidPeriod."""
        return DeliveryRequest(start_date=self.start_date, end_date=self.end_date).period()

    def parameters(self) -> dict[str, str | None]:
        """The same as parameters of an address."""
        return {"start_date": self.start_date, "end_date": self.end_date}

    def of_file(self) -> str:
        """The same in a file's name."""
        return "-".join(("", *filter(None, (self.start_date, self.end_date and f"until-{self.end_date}"))))


class Buy(msgspec.Struct, frozen=True, kw_only=True):
    """A media buy and its figures.

    Attributes:
        is_final: Whether nothing that is received later changes its numbers.
        finalized_at: Since when.
        conversions_url: The conversions behind the figures.
        url: Its page.
    """

    account_id: str
    media_buy_id: str
    name: str | None
    status: MediaBuyStatus
    start_at: datetime
    end_at: datetime
    currency: str
    is_final: bool
    finalized_at: datetime | None
    figures: Figures
    conversions_url: str
    url: str


class Buys(msgspec.Struct, frozen=True, kw_only=True):
    """What the list of media buys shows.

    Attributes:
        dates: The days that the figures are of.
        recent: Addresses of the last days, by their names.
        status: The status that all have; empty for any.
        statuses: Those that there are.
        buys: Newest first.
        complete_through: Everything received by this time is in the figures.
        next_url: The page with older ones, or None.
        csv_url: All of them as a file.
    """

    dates: Dates
    recent: dict[str, str]
    status: str
    statuses: tuple[str, ...]
    buys: tuple[Buy, ...]
    complete_through: datetime | None
    next_url: str | None
    csv_url: str


async def _list(visit: Visit) -> Buys:
    dates = Dates.of(visit.query)
    after = position_of(Pagination(cursor=visit.query.get("cursor")), tuple[int, str, str])
    buys, report = await _page_of_buys(visit, dates.period(), after, _SHOWN_BUYS + 1)
    shown, more = buys[:_SHOWN_BUYS], buys[_SHOWN_BUYS:]
    cursor = page_info(shown[-1].position).cursor if more else None
    return Buys(
        dates=dates,
        recent=recent(visit),
        status=visit.query.get("status", ""),
        statuses=_STATUSES,
        buys=tuple(shown_buy(visit, *pair, dates) for pair in zip(shown, report.media_buy_deliveries, strict=False)),
        complete_through=visit.services.attribution.complete_through(),
        next_url=visit.url(cursor=cursor) if cursor else None,
        csv_url=visit.url(format="csv", cursor=None),
    )


async def _page_of_buys(
    visit: Visit, period: Period, after: tuple[int, str, str] | None, most: int
) -> tuple[list[MediaBuy], DeliveryReport]:
    """The media buys that come next, and the report on them."""
    status = visit.query.get("status") or None
    if status is not None and status not in get_args(MediaBuyStatus):
        raise InvalidRequest(f"status must be one of {', '.join(get_args(MediaBuyStatus))}.", field="status")
    account_ids = visit.principal.account_ids

    def read() -> tuple[list[MediaBuy], DeliveryReport]:
        found = visit.services.media_buys.find(account_ids, None, [status] if status else None, after, most)
        return found, delivery_report(visit.services, found, period)

    return await visit.services.read_stored(account_ids, read)


async def _list_csv(visit: Visit) -> CsvTable:
    dates = Dates.of(visit.query)
    period = dates.period()

    async def parts() -> AsyncIterator[Iterable[Sequence[Cell]]]:
        after = None
        while True:
            buys, report = await _page_of_buys(visit, period, after, _SENT_BUYS)
            shown = [shown_buy(visit, *pair, dates) for pair in zip(buys, report.media_buy_deliveries, strict=True)]
            yield [[*_identity(buy), str(buy.is_final).lower(), *cells(buy.figures)] for buy in shown]
            if len(buys) < _SENT_BUYS:
                return
            after = buys[-1].position

    identity = ("account_id", "media_buy_id", "name", "status", "start_at", "end_at", "currency")
    return CsvTable(f"media-buys{dates.of_file()}", (*identity, "is_final", *COLUMNS), parts())


def _identity(buy: Buy) -> list[Cell]:
    return [buy.account_id, buy.media_buy_id, buy.name, buy.status, buy.start_at, buy.end_at, buy.currency]


def shown_buy(visit: Visit, buy: MediaBuy, delivery: MediaBuyDelivery, dates: Dates) -> Buy:
    """A media buy with its part of the report."""
    final = [package.finalized_at for package in buy.packages if package.finalized_at]
    return Buy(
        account_id=buy.account_id,
        media_buy_id=buy.media_buy_id,
        name=buy.name,
        status=buy.status,
        start_at=buy.start_at,
        end_at=buy.end_at,
        currency=buy.currency,
        is_final=delivery.is_final,
        finalized_at=max(final) if delivery.is_final else None,
        figures=figures_of(delivery.totals),
        conversions_url=visit.url(f"{buy_path(buy)}/conversions", account=buy.account_id, **dates.parameters()),
        url=visit.url(buy_path(buy), account=buy.account_id, **dates.parameters()),
    )


def buy_path(buy: MediaBuy) -> str:
    """The path of its page."""
    return f"{DELIVERY}/{quote(buy.media_buy_id, safe='')}"


def recent(visit: Visit) -> dict[str, str]:
    """The addresses of this page for the last days."""
    tomorrow = visit.now.date() + _DAY
    spans = {f"Last {days} days": tomorrow - _DAY * days for days in (7, 30, 90)}
    starts: dict[str, date | None] = {"Today": visit.now.date(), **spans, "All": None}
    return {name: visit.url(start_date=start, end_date=None, unit=None, cursor=None) for name, start in starts.items()}


PAGES = (Page(DELIVERY, "Delivery", "delivery.html", _list, csv=_list_csv),)
