"""ISO 4217 currency codes."""

from __future__ import annotations

from iso4217 import Currency

__all__ = ["CURRENCIES"]

CURRENCIES: frozenset[str] = frozenset(currency.code for currency in Currency)
