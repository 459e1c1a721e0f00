"""What a sandbox simulates of a media buy is bounded: every report of the media buy reads all of it."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from postback.sandbox.seeds import FixtureError
from postback.sandbox.simulations import SimulatedDay, SimulatedDelivery


def test_delivery_is_simulated_on_so_many_days_and_each_may_have_more() -> None:
    first = date(2026, 1, 1)
    delivery = SimulatedDelivery()
    for number in range(1_000):
        delivery.add(first + timedelta(days=number), SimulatedDay(impressions=1))

    with pytest.raises(FixtureError, match="simulated on 1,000 days, which is the most"):
        delivery.add(first - timedelta(days=1), SimulatedDay(impressions=1))
    delivery.add(first, SimulatedDay(impressions=1))

    assert delivery.total().impressions == 1_001
