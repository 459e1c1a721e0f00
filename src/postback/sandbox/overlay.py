"""Simulated delivery, added to what a sandbox's media buys really delivered."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from decimal import Decimal
from functools import partial

import msgspec

from postback.delivery.figures import Figures
from postback.delivery.request import Period, midnight
from postback.media_buys.media_buy import MediaBuy
from postback.sandbox.logged_value import logged_value
from postback.sandbox.simulations import SimulatedDelivery, Simulations
from postback.store.shards import Shards

__all__ = ["overlay_simulations"]


def overlay_simulations(
    simulations: Simulations,
    shards: Shards,
    buys: Sequence[MediaBuy],
    figures: MutableMapping[tuple[str, str, str], Figures],
    period: Period,
) -> None:
    """Add the simulated delivery of media buys to their packages' figures, by (account, media buy, package)."""
    simulated = simulations.deliveries(buys)
    for buy in buys:
        delivery = simulated.get((buy.account_id, buy.media_buy_id))
        if delivery:
            parts = [figures[buy.account_id, buy.media_buy_id, package.package_id] for package in buy.packages]
            _overlay(parts, delivery, period, partial(_logged, shards, buy))


def _logged(shards: Shards, buy: MediaBuy) -> Decimal:
    return logged_value(shards.of(buy.account_id), buy)


def _overlay(
    figures: Sequence[Figures], delivery: SimulatedDelivery, period: Period, logged: Callable[[], Decimal]
) -> None:
    """Credit the first package. The first conversions without a value get that of the events that were ``logged``."""
    shown = {day: simulated for day, simulated in delivery.days.items() if period.start <= day < period.end}
    first = figures[0]
    if any(simulated.conversions is not None for simulated in shown.values()):
        for part in figures:
            part.clear_attributed()
    unvalued = [day for day, simulated in shown.items() if simulated.conversions and simulated.conversion_value is None]
    for day, simulated in shown.items():
        value = logged() if day in unvalued[:1] else simulated.conversion_value
        for whole in (first, first.by_time[midnight(day)]):
            whole.deliver(simulated.impressions, simulated.clicks, simulated.spend)
            whole.attributed.add(simulated.conversions or 0, value or Decimal(0))
    first.viewability = msgspec.to_builtins(delivery.viewability)
