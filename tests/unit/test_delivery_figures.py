"""Whatever is added up, the parts of a report make its whole."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from postback.delivery.figures import Figures, shown_number, total

_AMOUNTS = st.decimals(-1000, 1000, places=4, allow_nan=False)
_ACHIEVED = st.tuples(
    st.sampled_from(["purchase", "refund", "lead"]),
    st.sampled_from(["website", "app"]),
    st.integers(0, 5),
    _AMOUNTS,
    st.integers(1, 3),
)


@given(packages=st.lists(st.lists(_ACHIEVED, max_size=8), min_size=1, max_size=3))
def test_types_sources_and_days_each_add_up_to_the_total(
    packages: list[list[tuple[str, str, int, Decimal, int]]],
) -> None:
    parts = []
    for achieved in packages:
        figures = Figures()
        for event_type, action_source, conversions, value, day in achieved:
            for part in (figures, figures.by_time[datetime(2026, 1, day, tzinfo=UTC)]):
                part.attribute(event_type, action_source, conversions, value)
        parts.append(figures)

    whole = total(parts)

    for tallies in (whole.by_event_type.values(), whole.by_action_source.values()):
        assert sum(tally.conversions for tally in tallies) == whole.attributed.conversions
        assert sum((tally.value for tally in tallies), Decimal()) == whole.attributed.value
    assert sum(day.attributed.conversions for day in whole.by_time.values()) == whole.attributed.conversions
    assert sum(part.attributed.value for part in parts) == whole.attributed.value


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", 0),
        ("19.99", 19.99),
        ("999999999999999.99", 999999999999999.99),
        ("0.000000001", 0),
        ("2.0000005", 2),
        ("12.50", 12.5),
        ("1E+27", 10**27),
    ],
)
def test_an_amount_is_shown_to_six_decimals(amount: str, shown: float) -> None:
    assert shown_number(Decimal(amount)) == shown


def test_nothing_is_divided_by_nothing() -> None:
    shown = Figures().metrics()
    assert {shown[name] for name in ("roas", "cost_per_acquisition", "ctr")} == {UNSET}
