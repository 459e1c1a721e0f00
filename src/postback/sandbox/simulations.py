"""What a sandbox simulates, stored across restarts: products, and the delivery of media buys."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, select

from postback.media_buys.media_buy import MediaBuy
from postback.products.product import Product
from postback.sandbox.seeds import FixtureError
from postback.store.control_store import ControlStore
from postback.store.tables import account, simulation

__all__ = ["Seed", "SimulatedDay", "SimulatedDelivery", "Simulations", "Viewability"]

_MOST_DAYS = 1_000
"""Of a media buy: every report of it reads all of them."""

_Measured = Annotated[float, Meta(ge=0, le=1e15)]


class Seed(msgspec.Struct, frozen=True):
    """A seeded product.

    Attributes:
        product: The product.
        batch: The number of the batch in which it was seeded; the newest has the highest.
        place: Its position in the batch, from 0.
    """

    product: Product
    batch: int
    place: int


class SimulatedDay(msgspec.Struct, omit_defaults=True):
    """The simulated delivery of a media buy on a day.

    Attributes:
        impressions: Impressions.
        clicks: Clicks.
        spend: Their cost, in the buy's currency.
        conversions: Conversions, which replace the attributed ones; None leaves those.
        conversion_value: Their value; None: that of the events that were logged for the buy's goals.
    """

    impressions: int = 0
    clicks: int = 0
    spend: Decimal = Decimal(0)
    conversions: int | None = None
    conversion_value: Decimal | None = None

    def add(self, other: SimulatedDay) -> None:
        """Add the delivery of another call."""
        self.impressions += other.impressions
        self.clicks += other.clicks
        self.spend += other.spend
        if other.conversions is not None:
            self.conversions = (self.conversions or 0) + other.conversions
        if other.conversion_value is not None:
            self.conversion_value = (self.conversion_value or Decimal(0)) + other.conversion_value


class Viewability(msgspec.Struct, omit_defaults=True):
    """The viewability of a delivery (core/delivery-metrics.json)."""

    measurable_impressions: _Measured | None = None
    viewable_impressions: _Measured | None = None
    viewable_rate: Annotated[float, Meta(ge=0, le=1)] | None = None
    viewed_seconds: _Measured | None = None
    standard: Literal["mrc", "groupm"] | None = None


class SimulatedDelivery(msgspec.Struct, omit_defaults=True):
    """The simulated delivery of a media buy by UTC day, and its latest viewability."""

    days: dict[date, SimulatedDay] = {}
    viewability: Viewability | None = None

    def add(self, day: date, more: SimulatedDay) -> None:
        """Add to the delivery of a day.

        Raises:
            FixtureError: There are too many days.
        """
        if day not in self.days and len(self.days) >= _MOST_DAYS:
            raise FixtureError(f"Delivery of this media buy is simulated on {_MOST_DAYS:,} days, which is the most.")
        self.days.setdefault(day, SimulatedDay()).add(more)

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

    def seeds(self) -> list[Seed]:
        """The seeded products."""
        rows = select(simulation.c.document).where(simulation.c.kind == "seed")
        with self._control.connect() as connection:
            return [msgspec.convert(document, Seed) for document in connection.scalars(rows)]

    def save_seed(self, seed: Seed) -> None:
        """Store a seeded product, or its new state."""
        with self._control.begin() as connection:
            self._save(connection, "seed", "", seed.product.product_id, seed)

    def deliveries(self, buys: Sequence[MediaBuy]) -> dict[tuple[str, str], SimulatedDelivery]:
        """By (account_id, media_buy_id), the simulated delivery of these buys."""
        rows = select(simulation).where(
            simulation.c.kind == "delivery",
            simulation.c.account_id.in_({buy.account_id for buy in buys}),
            simulation.c.name.in_({buy.media_buy_id for buy in buys}),
        )
        with self._control.connect() as connection:
            found = connection.execute(rows).all()
        return {(row.account_id, row.name): msgspec.convert(row.document, SimulatedDelivery) for row in found}

    def deliver(
        self, buy: MediaBuy, day: date, more: SimulatedDay, viewability: Viewability | None = None
    ) -> SimulatedDelivery:
        """Add to what a buy delivered on a day.

        Returns:
            Everything that was simulated for it.

        Raises:
            FixtureError: There are too many days.
        """

        def deliver(delivery: SimulatedDelivery) -> None:
            delivery.add(day, more)
            delivery.viewability = viewability or delivery.viewability

        return self._change(buy, deliver)

    def spend(self, buy: MediaBuy, day: date, target: Decimal) -> None:
        """Bring what a buy has spent to this amount, by what it spends on a day.

        Raises:
            FixtureError: There are too many days.
        """
        self._change(buy, lambda delivery: delivery.add(day, SimulatedDay(spend=target - delivery.total().spend)))

    def _change(self, buy: MediaBuy, change: Callable[[SimulatedDelivery], None]) -> SimulatedDelivery:
        key = ("delivery", buy.account_id, buy.media_buy_id)
        columns = (simulation.c.kind, simulation.c.account_id, simulation.c.name)
        stored = select(simulation.c.document).where(
            *(column == part for column, part in zip(columns, key, strict=True))
        )
        with self._control.begin() as connection:
            # The account's row is locked, because a buy's first simulation has no row yet.
            connection.execute(
                select(account.c.account_id).where(account.c.account_id == buy.account_id).with_for_update()
            )
            delivery = msgspec.convert(connection.scalar(stored) or {}, SimulatedDelivery)
            change(delivery)
            self._save(connection, *key, delivery)
        return delivery

    def _save(self, connection: Connection, kind: str, account_id: str, name: str, document: msgspec.Struct) -> None:
        insert = self._control.insert(simulation)
        row = {"kind": kind, "account_id": account_id, "name": name, "created_at": int(time.time())}
        latest = insert.values(**row, document=msgspec.to_builtins(document)).on_conflict_do_update(
            index_elements=("kind", "account_id", "name"), set_={"document": insert.excluded.document}
        )
        connection.execute(latest)
