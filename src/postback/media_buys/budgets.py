"""Amounts of budgets and prices, and budgets of packages that share a total."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Annotated

from iso4217 import Currency
from msgspec import Meta

__all__ = ["Money", "scaled"]

Money = Annotated[float, Meta(ge=0, le=1e12)]
"""An amount in a currency that is named elsewhere."""


def scaled(budgets: Sequence[float], total: float, currency: str) -> list[float]:
    """The budgets in the same proportion, so that they come to exactly ``total``.

    Each is rounded down to the currency's smallest unit; what is left goes to the last. Budgets that are all 0 have no
    proportion, and share alike.
    """
    weights = [Decimal(str(budget)) for budget in budgets]
    if not any(weights):
        weights = [Decimal(1)] * len(weights)
    whole, unit = Decimal(str(total)), Decimal(1).scaleb(-(Currency(currency).exponent or 0))
    shares = [(whole * weight / sum(weights)).quantize(unit, ROUND_DOWN) for weight in weights[:-1]]
    return [float(share) for share in (*shares, whole - sum(shares))]
