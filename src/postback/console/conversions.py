"""The conversions behind a figure of delivery: those that are reported under the same values, with the same sums."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from urllib.parse import quote

import msgspec

from postback.attribution.explain import Attribution
from postback.attribution.value_reasons import VALUE_REASONS
from postback.console.csv_table import Cell, CsvTable
from postback.console.delivery_figures import Figures
from postback.console.page import Page, Visit
from postback.delivery.figures import shown_number
from postback.delivery.request import Period
from postback.media_buys.media_buy import MediaBuy
from postback.tasks.list_conversions import (
    Conversion,
    ConversionFilter,
    ConversionsResponse,
    find_media_buy,
    media_buy_conversions,
    read_conversions,
)

__all__ = ["PAGES", "sums_by_source"]

_SHOWN, _SENT = 100, 5000
_FILTERS = {
    "package_id": "package",
    "creative_id": "creative",
    "event_type": "event type",
    "action_source": "action source",
    "event_source_id": "event source",
    "value_reason": "value reason",
    "kind": "kind",
    "hour": "hour",
    "start_date": "from",
    "end_date": "before",
}
"""The parameters that choose conversions → their names."""


class ShownConversion(msgspec.Struct, frozen=True, kw_only=True):
    """An event that is attributed to the media buy.

    Attributes:
        reported_at: When it is reported, if not at its own time.
        status: ``attributed``; ``superseded`` if the same event from another source counts instead.
        conversions: What it counts as: 1; 0 for a refund.
        value: What it adds; negative for a refund.
        left_out, left_out_currency: The amount that is not counted.
        note: Why it counts 0, or not all of it; or why another source's event counts instead.
        message: Why it is attributed as it is.
        event_url: Its page.
    """

    event_source_id: str
    event_type: str
    event_id: str
    event_time: datetime
    reported_at: datetime | None
    action_source: str | None
    package_id: str | None
    creative_id: str | None
    exposure_kind: str | None
    identifier: str | None
    status: str
    conversions: int
    value: float
    value_reason: str | None
    left_out: float | None
    left_out_currency: str | None
    note: str | None
    message: str
    event_url: str


class Conversions(msgspec.Struct, frozen=True, kw_only=True):
    """What the list shows.

    Attributes:
        filters: What was chosen, by its name.
        sums: Those of all that were chosen, on every page; None in figures of delivery.
        conversions: Newest first.
        complete_through: Everything received by this time is in the list.
        buy_url: The page of the media buy.
        all_url: The list without filters, or None.
        next_url: The page with older ones, or None.
        csv_url: All of them as a file.
    """

    account_id: str
    media_buy_id: str
    currency: str
    filters: dict[str, str]
    sums: Figures
    conversions: tuple[ShownConversion, ...]
    complete_through: datetime | None
    buy_url: str
    all_url: str | None
    next_url: str | None
    csv_url: str


async def _listed(visit: Visit) -> Conversions:
    query = {**visit.query, "max_results": str(_SHOWN)}

    def read() -> tuple[MediaBuy, ConversionsResponse, Figures]:
        buy = find_media_buy(visit.services, visit.principal, visit.path["media_buy_id"])
        chosen = ConversionFilter.of(query)
        answer = media_buy_conversions(visit.services, visit.principal, buy.media_buy_id, query)
        return buy, answer, _sums(visit, buy, chosen)

    buy, answer, sums = await visit.services.read_stored(visit.principal.account_ids, read)
    filters = {name: visit.query[key] for key, name in _FILTERS.items() if visit.query.get(key)}
    path = f"/console/delivery/{quote(buy.media_buy_id, safe='')}"
    return Conversions(
        account_id=buy.account_id,
        media_buy_id=buy.media_buy_id,
        currency=buy.currency,
        filters=filters,
        sums=sums,
        conversions=tuple(_shown(visit, buy.account_id, conversion) for conversion in answer.conversions),
        complete_through=visit.services.attribution.complete_through([buy.account_id]),
        buy_url=visit.url(path, account=buy.account_id),
        all_url=visit.url(f"{path}/conversions", account=buy.account_id) if filters else None,
        next_url=visit.url(cursor=answer.pagination.cursor) if answer.pagination.cursor else None,
        csv_url=visit.url(format="csv", cursor=None),
    )


def sums_by_source(visit: Visit, buy: MediaBuy, period: Period) -> Iterable[tuple[str, Figures, int, float]]:
    """Of each source of events that count: its figures, how many refunds it sent, and what they subtract."""
    for source, conversions, value, refunds, refunded in _by_source(visit, buy, ConversionFilter(period=period)):
        yield source, _figures(conversions, value), refunds, shown_number(refunded)


def _sums(visit: Visit, buy: MediaBuy, chosen: ConversionFilter) -> Figures:
    """The sums of what was chosen, from those that reports read."""
    rows = _by_source(visit, buy, chosen)
    refunded = sum((refunded for *_, refunded in rows), Decimal(0))
    if chosen.kind == "refund":
        return _figures(0, refunded)
    value = sum((value for _, _, value, *_ in rows), Decimal(0))
    return _figures(
        sum(conversions for _, conversions, *_ in rows), value - refunded if chosen.kind == "conversion" else value
    )


def _figures(conversions: int, value: Decimal) -> Figures:
    return Figures(conversions=conversions, conversion_value=shown_number(value))


def _by_source(
    visit: Visit, buy: MediaBuy, chosen: ConversionFilter
) -> Sequence[tuple[str, int, Decimal, int, Decimal]]:
    of_buy = {"account_id": buy.account_id, "media_buy_id": buy.media_buy_id}
    rows = visit.services.shards.of(buy.account_id).query("conversion_sums", **of_buy, **chosen.stored())
    return [(source, conversions, value, refunds, refunded) for source, conversions, value, refunds, refunded in rows]


def _shown(visit: Visit, account_id: str, conversion: Conversion) -> ShownConversion:
    event = conversion.event_source_id, conversion.event_type, conversion.event_id
    path = "/".join(("/console/events", *(quote(part, safe="") for part in event)))
    found = conversion.attribution
    return ShownConversion(
        event_source_id=conversion.event_source_id,
        event_type=conversion.event_type,
        event_id=conversion.event_id,
        event_time=datetime.fromisoformat(conversion.event_time),
        reported_at=datetime.fromisoformat(conversion.reported_at) if conversion.reported_at else None,
        action_source=conversion.action_source or None,
        package_id=found.package_id or None,
        creative_id=found.creative_id or None,
        exposure_kind=found.exposure_kind or None,
        identifier=found.identifier or None,
        status=found.status,
        conversions=found.conversions or 0,
        value=found.value or 0,
        value_reason=found.value_reason or None,
        left_out=found.left_out.value if found.left_out else None,
        left_out_currency=found.left_out.currency if found.left_out else None,
        note=VALUE_REASONS[found.value_reason] if found.value_reason else _of_superseded(found),
        message=found.message,
        event_url=visit.url(path, account=account_id),
    )


def _of_superseded(found: Attribution) -> str | None:
    return found.message if found.status == "superseded" else None


_COLUMNS = (
    *("event_source_id", "event_type", "event_id", "event_time", "reported_at", "action_source", "package_id"),
    *("creative_id", "exposure_kind", "identifier", "status", "conversions", "value", "value_reason", "left_out"),
    *("left_out_currency", "message"),
)


async def _as_file(visit: Visit) -> CsvTable:
    buy = await visit.services.threads.reports.run(
        find_media_buy, visit.services, visit.principal, visit.path["media_buy_id"]
    )
    chosen = ConversionFilter.of(visit.query)

    async def parts() -> AsyncIterator[Iterable[Sequence[Cell]]]:
        after = None
        while True:
            found, after = await visit.services.read_stored(
                [buy.account_id], read_conversions, visit.services, buy, chosen, after, _SENT
            )
            shown = [_shown(visit, buy.account_id, conversion) for conversion in found]
            yield [[*(getattr(conversion, name) for name in _COLUMNS), buy.currency] for conversion in shown]
            if after is None:
                return

    filters = "".join(f"-{visit.query[key]}" for key in _FILTERS if visit.query.get(key))
    return CsvTable(f"{buy.media_buy_id}-conversions{filters}", (*_COLUMNS, "currency"), parts())


PAGES = (
    Page(
        "/console/delivery/{media_buy_id}/conversions",
        "Conversions",
        "conversions.html",
        _listed,
        below="/console/delivery",
        csv=_as_file,
    ),
)
