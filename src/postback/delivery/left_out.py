"""What a report's figures leave out: amounts in another currency, without a number, or too late; invalid clicks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import UNSET

from postback.delivery.figures import Figures, shown_number
from postback.delivery.report import AfterFinal, InvalidClickCount, LeftOutAmount

__all__ = ["after_final", "invalid_click_counts", "left_out_amounts", "other_costs"]

_TOO_LATE = "FINAL"


def other_costs(figures: Mapping[tuple[str, str, str], Figures]) -> list[Sequence[Any]]:
    """What the spend of packages leaves out, as rows like those of sql/delivery_left_out.sql.

    Args:
        figures: By (account_id, media_buy_id, package_id).
    """
    return [
        (*package, "spend", "OTHER_CURRENCY" if currency else "NO_CURRENCY", currency, cost.items, cost.amount)
        for package, part in figures.items()
        for currency, cost in part.other_costs.items()
    ]


def left_out_amounts(rows: Iterable[Sequence[Any]]) -> list[LeftOutAmount]:
    """From such rows, what came too late excepted."""
    return [
        LeftOutAmount(figure=figure, reason=reason, **_amount(buy, package, currency, items, amount))
        for _, buy, package, figure, reason, currency, items, amount in sorted(map(tuple, rows))
        if reason != _TOO_LATE
    ]


def after_final(rows: Iterable[Sequence[Any]]) -> list[AfterFinal]:
    """From such rows, what came too late."""
    return [
        AfterFinal(**_amount(buy, package, currency, items, amount))
        for _, buy, package, _, reason, currency, items, amount in sorted(map(tuple, rows))
        if reason == _TOO_LATE
    ]


def invalid_click_counts(rows: Iterable[Sequence[Any]]) -> list[InvalidClickCount]:
    """From the rows of sql/delivery_invalid_clicks.sql."""
    return [
        InvalidClickCount(media_buy_id=buy, package_id=package, reason=reason, count=count)
        for _, buy, package, reason, count in sorted(map(tuple, rows))
    ]


def _amount(media_buy_id: str, package_id: str, currency: str, items: int, amount: Decimal) -> dict[str, Any]:
    return {
        "media_buy_id": media_buy_id,
        "package_id": package_id,
        "currency": currency or UNSET,
        "count": items,
        "value": shown_number(amount),
    }
