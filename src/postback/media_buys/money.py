"""Budgets of packages that share a total."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal

from iso4217 import Currency

__all__ = ["scaled"]


def scaled(budgets: Sequence[float], total: float, currency: str) -> list[float]:
    """Scale budgets in proportion, so that their sum is exactly ``total``.

    Each is rounded down to the currency's smallest unit, and the last one gets the remainder. If all budgets are 0,
    they get equal shares.
    """
    weights = [Decimal(str(budget)) for budget in budgets]
    if not any(weights):
        weights = [Decimal(1)] * len(weights)
    whole, unit = Decimal(str(total)), Decimal(1).scaleb(-(Currency(currency).exponent or 0))
    shares = [(whole * weight / sum(weights)).quantize(unit, ROUND_DOWN) for weight in weights[:-1]]
    return [float(share) for share in (*shares, whole - sum(shares))]
