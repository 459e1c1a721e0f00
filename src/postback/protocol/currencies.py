"""ISO 4217 currency codes, and how many decimals amounts have."""

from __future__ import annotations

from iso4217 import Currency

__all__ = ["CURRENCIES", "shown_amount"]

CURRENCIES: frozenset[str] = frozenset(currency.code for currency in Currency)

_DECIMALS = {currency.code: currency.exponent for currency in Currency}
_USUAL, _FINEST = 2, 6


def shown_amount(amount: float, currency: str) -> str:
    """An amount as people read it, with the decimals of its currency: ``1,234.50``, but ``1,235`` of JPY.

    One that is smaller than the currency's smallest unit has up to six, so that it doesn't look like nothing.
    """
    decimals = _DECIMALS.get(currency)
    decimals = _USUAL if decimals is None else decimals
    if amount and abs(amount) < 10**-decimals:
        return f"{amount:.{_FINEST}f}".rstrip("0")
    return f"{amount:,.{decimals}f}"
