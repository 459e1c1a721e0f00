"""What a sandbox makes up, kept across restarts: products, and what media buys delivered."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import select

from postback.media_buys.buys import MediaBuy
from postback.media_buys.products import Product
from postback.store.control import ControlStore
from postback.store.tables import simulation

__all__ = ["SimulatedDay", "SimulatedDelivery", "Simulations"]


class SimulatedDay(msgspec.Struct, omit_defaults=True):
    """What a media buy delivered on a day, by its test controller.

    Attributes:
        impressions: Impressions.
        clicks: Clicks.
        spend: What they cost, in the buy's currency.
        conversions: Conversions, which replace those that were counted; None leaves these.
        conversion_value: Their value; None: that of the events that were logged for the buy's goals.
    """

    impressions: int = 0
    clicks: int = 0
    spend: Decimal = Decimal(0)
    conversions: int | None = None
    conversion_value: Decimal | None = None

    def add(self, other: SimulatedDay) -> None:
        """Add what another call simulates."""
        self.impressions += other.impressions
        self.clicks += other.clicks
        self.spend += other.spend
        if other.conversions is not None:
            self.conversions = (self.conversions or 0) + other.conversions
        if other.conversion_value is not None:
            self.conversion_value = (self.conversion_value or Decimal(0)) + other.conversion_value


class SimulatedDelivery(msgspec.Struct, omit_defaults=True):
    """What a media buy delivered, by UTC day, and its viewability as it was last given."""

    days: dict[date, SimulatedDay] = {}
    viewability: dict[str, Any] | None = None

    def total(self) -> SimulatedDay:
        """The sum over all days."""
        whole = SimulatedDay()
        for day in self.days.values():
            whole.add(day)
        return whole


class Simulations:
    """The simulations of every account. Synchronous and thread-safe."""

    def __init__(self, control: ControlStore) -> None:
        self._control = control

    def products(self) -> list[Product]:
        """The products that were seeded, oldest first."""
        rows = select(simulation.c.document).where(simulation.c.kind == "product").order_by(simulation.c.created_at)
        with self._control.connect() as connection:
            return [msgspec.convert(document, Product) for document in connection.scalars(rows)]

    def keep_product(self, product: Product) -> None:
        """Keep a seeded product, or its new state."""
        self._keep("product", "", product.product_id, msgspec.to_builtins(product))

    def deliveries(self, buys: Sequence[MediaBuy]) -> dict[tuple[str, str], SimulatedDelivery]:
        """By (account_id, media_buy_id), what was simulated for these buys."""
        rows = select(simulation).where(
            simulation.c.kind == "delivery",
            simulation.c.account_id.in_({buy.account_id for buy in buys}),
            simulation.c.name.in_({buy.media_buy_id for buy in buys}),
        )
        with self._control.connect() as connection:
            found = connection.execute(rows).all()
        return {(row.account_id, row.name): msgspec.convert(row.document, SimulatedDelivery) for row in found}

    def deliver(
        self, buy: MediaBuy, day: date, more: SimulatedDay, viewability: dict[str, Any] | None = None
    ) -> SimulatedDelivery:
        """Add to what a buy delivered on a day.

        Returns:
            Everything that was simulated for it.
        """
        known = self.deliveries([buy]).get((buy.account_id, buy.media_buy_id))
        delivery = known or SimulatedDelivery(days={})
        delivery.days.setdefault(day, SimulatedDay()).add(more)
        delivery.viewability = viewability or delivery.viewability
        self._keep("delivery", buy.account_id, buy.media_buy_id, msgspec.to_builtins(delivery))
        return delivery

    def _keep(self, kind: str, account_id: str, name: str, document: Mapping[str, Any]) -> None:
        insert = self._control.insert(simulation)
        row = {"kind": kind, "account_id": account_id, "name": name, "created_at": int(time.time())}
        latest = insert.values(**row, document=document).on_conflict_do_update(
            index_elements=("kind", "account_id", "name"), set_={"document": insert.excluded.document}
        )
        with self._control.begin() as connection:
            connection.execute(latest)
