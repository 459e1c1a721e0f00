"""Figures that add up, and how an answer shows them (core/delivery-metrics.json).

Money is Decimal until it is shown. Schemas know no negative value: where refunds exceed purchases, an answer shows 0
and the exact figure beside it in ``ext``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Context, Decimal
from typing import Any

__all__ = ["Figures", "Tally", "shown_number", "total"]

_SHOWN = Decimal("1e-6")
_DIGITS = Context(prec=60)
"""Large sums have more digits than Python's context for decimals has by default."""
"""Finer than any currency's smallest unit, and coarse enough that a JSON number holds it."""


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
class Figures:
    """What was delivered and achieved, of a package, a day, a creative or all of them.

    Attributes:
        impressions: Impressions.
        clicks: Clicks.
        spend: What they cost, in the buy's currency.
        achieved: Conversions and value.
        by_event_type: The same by event_type.
        by_action_source: The same by action_source; empty for events that named none.
        by_creative: The figures of each creative that exposures name.
        by_day: The figures of each UTC day.
        viewability: How much of it could be seen (core/delivery-metrics.json), or None when nobody measured.
    """

    impressions: int = 0
    clicks: int = 0
    spend: Decimal = Decimal(0)
    achieved: Tally = field(default_factory=Tally)
    by_event_type: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    by_action_source: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    by_creative: dict[str, Figures] = field(default_factory=lambda: defaultdict(Figures))
    by_day: dict[date, Figures] = field(default_factory=lambda: defaultdict(Figures))
    viewability: dict[str, Any] | None = None

    def deliver(self, impressions: int, clicks: int, spend: Decimal) -> None:
        """Add what was delivered."""
        self.impressions += impressions
        self.clicks += clicks
        self.spend += spend

    def achieve(self, event_type: str, action_source: str, conversions: int, value: Decimal) -> None:
        """Add what was achieved."""
        self.achieved.add(conversions, value)
        self.by_event_type[event_type].add(conversions, value)
        self.by_action_source[action_source].add(conversions, value)

    def forget_achieved(self) -> None:
        """Drop what was achieved."""
        for part in (self, *self.by_creative.values(), *self.by_day.values()):
            part.achieved = Tally()
            part.by_event_type.clear()
            part.by_action_source.clear()

    def shown(self) -> dict[str, Any]:
        """The members of core/delivery-metrics.json."""
        return self.shown_briefly() | {
            **({"ctr": shown_number(Decimal(self.clicks) / self.impressions)} if self._has_ctr else {}),
            **({"viewability": self.viewability} if self.viewability else {}),
            **_shown_breakdown("by_event_type", "event_type", self.by_event_type),
            **_shown_breakdown("by_action_source", "action_source", self.by_action_source),
        }

    def shown_briefly(self) -> dict[str, Any]:
        """The members that a day has, too."""
        shown: dict[str, Any] = {
            "impressions": self.impressions,
            "clicks": self.clicks,
            "spend": shown_number(self.spend),
            "conversions": self.achieved.conversions,
            **_shown_value("conversion_value", self.achieved.value),
        }
        if self.spend:
            shown["roas"] = shown_number(max(self.achieved.value, Decimal(0)) / self.spend)
        if self.achieved.conversions:
            shown["cost_per_acquisition"] = shown_number(self.spend / self.achieved.conversions)
        return shown

    @property
    def _has_ctr(self) -> bool:
        return 0 < self.impressions >= self.clicks


def total(parts: Iterable[Figures]) -> Figures:
    """The sum of figures, by day and without creatives."""
    whole = Figures()
    for part in parts:
        _add(whole, part)
        for day, figures in part.by_day.items():
            _add(whole.by_day[day], figures)
    return whole


def _add(whole: Figures, part: Figures) -> None:
    whole.deliver(part.impressions, part.clicks, part.spend)
    whole.viewability = whole.viewability or part.viewability
    whole.achieved.add(part.achieved.conversions, part.achieved.value)
    for name, tally in part.by_event_type.items():
        whole.by_event_type[name].add(tally.conversions, tally.value)
    for name, tally in part.by_action_source.items():
        whole.by_action_source[name].add(tally.conversions, tally.value)


def shown_number(amount: Decimal) -> float | int:
    """An amount as a JSON number, to six decimals."""
    rounded = _DIGITS.quantize(amount, _SHOWN)
    return int(rounded) if rounded == rounded.to_integral_value() else float(rounded)


def _shown_breakdown(name: str, member: str, tallies: Mapping[str, Tally]) -> dict[str, Any]:
    rows = [
        {member: kind, "count": tally.conversions, **_shown_value("value", tally.value)}
        for kind, tally in sorted(tallies.items())
        if kind
    ]
    return {name: rows} if rows else {}


def _shown_value(name: str, value: Decimal) -> dict[str, Any]:
    if value >= 0:
        return {name: shown_number(value)}
    return {name: 0, "ext": {"postback": {name: shown_number(value)}}}
