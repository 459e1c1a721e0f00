"""Figures that add up, and their fields in a report (core/delivery-metrics.json).

Money is Decimal until it is shown. AdCP's schemas allow no negative value: if refunds exceed purchases, a report shows
0 and the exact figure in ``ext``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal
from typing import Any, TypeVar

from msgspec import UNSET, UnsetType

from postback.delivery.report import ActionSourceTotal, EventTypeTotal, ExactFigures

__all__ = ["Cost", "Figures", "Tally", "shown_number", "total"]

_T = TypeVar("_T", EventTypeTotal, ActionSourceTotal)

_SHOWN = Decimal("1e-6")
"""Finer than any currency's smallest unit, and coarse enough for a JSON number."""

_DIGITS = Context(prec=60)
"""Large sums have more digits than Python's context for decimals has by default."""


@dataclass(slots=True)
class Tally:
    """Conversions and their value."""

    conversions: int = 0
    value: Decimal = Decimal(0)

    def add(self, conversions: int, value: Decimal) -> None:
        """Add some."""
        self.conversions += conversions
        self.value += value


@dataclass(slots=True)
class Cost:
    """The cost of exposures, and of hourly totals, and how many of them cost something."""

    items: int = 0
    amount: Decimal = Decimal(0)

    def add(self, items: int, amount: Decimal) -> None:
        """Add some."""
        self.items += items
        self.amount += amount


@dataclass(slots=True)
class Figures:
    """The delivery and conversions of a package, a day, a creative or a total.

    Attributes:
        impressions: Impressions.
        clicks: Clicks.
        spend: Their cost, in the buy's currency.
        attributed: Conversions and value.
        by_event_type: The same by event_type.
        by_action_source: The same by action_source; empty for events without one.
        by_creative: The figures of each creative that exposures name.
        by_time: The figures of each UTC day, or of each hour, by its beginning.
        other_costs: What exposures cost in other currencies than the buy's, by currency; empty for none.
        viewability: The viewability (core/delivery-metrics.json), or None if it was not measured.
    """

    impressions: int = 0
    clicks: int = 0
    spend: Decimal = Decimal(0)
    attributed: Tally = field(default_factory=Tally)
    by_event_type: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    by_action_source: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    by_creative: dict[str, Figures] = field(default_factory=lambda: defaultdict(Figures))
    by_time: dict[datetime, Figures] = field(default_factory=lambda: defaultdict(Figures))
    other_costs: dict[str, Cost] = field(default_factory=lambda: defaultdict(Cost))
    viewability: dict[str, Any] | None = None

    def deliver(self, impressions: int, clicks: int, spend: Decimal) -> None:
        """Add delivery."""
        self.impressions += impressions
        self.clicks += clicks
        self.spend += spend

    def attribute(self, event_type: str, action_source: str, conversions: int, value: Decimal) -> None:
        """Add attributed conversions."""
        self.attributed.add(conversions, value)
        self.by_event_type[event_type].add(conversions, value)
        self.by_action_source[action_source].add(conversions, value)

    def clear_attributed(self) -> None:
        """Drop the attributed conversions."""
        for part in (self, *self.by_creative.values(), *self.by_time.values()):
            part.attributed = Tally()
            part.by_event_type.clear()
            part.by_action_source.clear()

    def metrics(self) -> dict[str, Any]:
        """The fields of a report's Metrics."""
        return self.brief() | {
            "ctr": shown_number(Decimal(self.clicks) / self.impressions) if self._has_ctr else UNSET,
            "viewability": self.viewability or UNSET,
            "by_event_type": _totals(EventTypeTotal, "event_type", self.by_event_type),
            "by_action_source": _totals(ActionSourceTotal, "action_source", self.by_action_source),
        }

    def brief(self) -> dict[str, Any]:
        """The fields of a report's BriefMetrics."""
        attributed, value = self.attributed, max(self.attributed.value, Decimal(0))
        return {
            "impressions": self.impressions,
            "clicks": self.clicks,
            "spend": shown_number(self.spend),
            "conversions": attributed.conversions,
            **_not_negative("conversion_value", attributed.value),
            "roas": shown_number(value / self.spend) if self.spend else UNSET,
            "cost_per_acquisition": shown_number(self.spend / attributed.conversions)
            if attributed.conversions
            else UNSET,
        }

    @property
    def _has_ctr(self) -> bool:
        return 0 < self.impressions >= self.clicks


def total(parts: Iterable[Figures]) -> Figures:
    """The sum of figures, by time and without creatives."""
    whole = Figures()
    for part in parts:
        _add(whole, part)
        for moment, figures in part.by_time.items():
            _add(whole.by_time[moment], figures)
    return whole


def _add(whole: Figures, part: Figures) -> None:
    whole.deliver(part.impressions, part.clicks, part.spend)
    whole.viewability = whole.viewability or part.viewability
    whole.attributed.add(part.attributed.conversions, part.attributed.value)
    for name, tally in part.by_event_type.items():
        whole.by_event_type[name].add(tally.conversions, tally.value)
    for name, tally in part.by_action_source.items():
        whole.by_action_source[name].add(tally.conversions, tally.value)


def shown_number(amount: Decimal) -> float | int:
    """An amount as a JSON number, to six decimals."""
    rounded = _DIGITS.quantize(amount, _SHOWN)
    return int(rounded) if rounded == rounded.to_integral_value() else float(rounded)


def _totals(shape: type[_T], name: str, tallies: Mapping[str, Tally]) -> list[_T] | UnsetType:
    rows = [
        shape(**{name: kind, "count": tally.conversions, **_not_negative("value", tally.value)})
        for kind, tally in sorted(tallies.items())
        if kind
    ]
    return rows or UNSET


def _not_negative(name: str, value: Decimal) -> dict[str, Any]:
    """A value by its name; if it is negative, 0 and the exact figure in ``ext``."""
    if value >= 0:
        return {name: shown_number(value)}
    return {name: 0, "ext": ExactFigures({name: shown_number(value)})}
