"""A new total is shared out as the old one was, to the last cent."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postback.media_buys.money import scaled

_BUDGETS = st.lists(st.decimals(0, 1_000_000, places=2).map(float), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("budgets", "total", "currency", "shares"),
    [
        ([60_000, 40_000], 50_000, "USD", [30_000, 20_000]),
        ([1, 1, 1], 100, "EUR", [33.33, 33.33, 33.34]),
        ([1, 1, 1], 100, "JPY", [33, 33, 34]),
        ([0, 0], 10, "USD", [5, 5]),
        ([250.5], 0, "USD", [0]),
    ],
)
def test_budgets_keep_their_proportion(budgets: list[float], total: float, currency: str, shares: list[float]) -> None:
    assert scaled(budgets, total, currency) == shares


@given(budgets=_BUDGETS, total=st.decimals(0, 10_000_000, places=2).map(float))
def test_shares_come_to_the_total_and_none_is_negative(budgets: list[float], total: float) -> None:
    shares = scaled(budgets, total, "USD")

    assert sum(Decimal(str(share)) for share in shares) == Decimal(str(total))
    assert min(shares) >= 0
