"""The figures of delivery as pages and files show them: those of the report, a negative value included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import UNSET, UnsetType

from postback.console.chart import Chart, Series
from postback.console.csv_table import Cell
from postback.delivery.report import ActionSourceTotal, BriefMetrics, EventTypeTotal

__all__ = ["COLUMNS", "Figures", "cells", "charts", "figures_of", "tally_of"]

COLUMNS = ("impressions", "clicks", "spend", "conversions", "conversion_value", "roas", "cost_per_acquisition")
"""The columns of figures in a file."""

_MOST_GAPS = 800
"""Beyond so many hours or days, those without activity are left out of a chart."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of get_media_buy_delivery.

    Attributes:
        impressions: Impressions; None, as all that follows from exposures, for what has conversions only.
        clicks: Clicks.
        spend: What they cost.
        conversions: Conversions; refunds are none.
        conversion_value: Their value less refunds: the exact one, also below 0.
        roas: Value by spend; None without spend.
        cost_per_acquisition: Spend by conversions; None without conversions.
    """

    impressions: int | None = None
    clicks: int | None = None
    spend: float | None = None
    conversions: int
    conversion_value: float
    roas: float | None = None
    cost_per_acquisition: float | None = None


def figures_of(metrics: BriefMetrics) -> Figures:
    """The figures of a part of the report, all of whose metrics were asked for."""
    return Figures(
        impressions=metrics.impressions,
        clicks=metrics.clicks or 0,
        spend=metrics.spend,
        conversions=metrics.conversions or 0,
        conversion_value=metrics.ext.postback["conversion_value"] if metrics.ext else metrics.conversion_value or 0,
        roas=_known(metrics.roas),
        cost_per_acquisition=_known(metrics.cost_per_acquisition),
    )


def tally_of(part: EventTypeTotal | ActionSourceTotal) -> Figures:
    """The figures of an event type or an action source, which have no exposures of their own."""
    value = part.ext.postback["value"] if part.ext else part.value or 0
    return Figures(conversions=part.count, conversion_value=value)


def cells(figures: Figures) -> list[Cell]:
    """The cells of COLUMNS."""
    return [getattr(figures, name) for name in COLUMNS]


def charts(rows: Sequence[tuple[datetime, Figures]], step: timedelta, currency: str) -> tuple[Chart, ...]:
    """What happened over time: conversions, and spend beside value. Hours or days without activity are 0."""
    if not rows:
        return ()
    known: Mapping[datetime, Figures] = dict(rows)
    times = tuple(_filled(min(known), max(known), step) if _fits(known, step) else sorted(known))
    each = "hour" if step < timedelta(days=1) else "day"

    def values(name: str) -> tuple[float, ...]:
        return tuple(getattr(known[time], name) or 0 if time in known else 0 for time in times)

    conversions, spend, value = values("conversions"), values("spend"), values("conversion_value")
    best = max(range(len(times)), key=conversions.__getitem__)
    return (
        Chart(
            title=f"Conversions by {each}",
            summary=f"{sum(conversions):,} conversions; the most in one {each}, {conversions[best]:,}, "
            f"on {times[best]:%-d %B %Y{'' if each == 'day' else ' at %H:%M'}}.",
            labels=times,
            series=(Series("Conversions", conversions),),
        ),
        Chart(
            title=f"Spend and value by {each}",
            summary=f"{sum(value):,.2f} {currency} of value for {sum(spend):,.2f} {currency} of spend.",
            labels=times,
            series=(Series("Spend", spend), Series("Value", value)),
            kind="lines",
            unit=currency,
        ),
    )


def _fits(known: Mapping[datetime, Figures], step: timedelta) -> bool:
    return (max(known) - min(known)) / step <= _MOST_GAPS


def _filled(first: datetime, last: datetime, step: timedelta) -> list[datetime]:
    return [first + step * number for number in range((last - first) // step + 1)]


def _known(number: float | UnsetType) -> float | None:
    return None if number is UNSET else number
