"""The price of a package in a report: what was agreed when it was bought, or what an auction's delivery came to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from postback.delivery.figures import Figures, shown_number
from postback.media_buys.media_buy import Package
from postback.products.product import Catalogue, Price
from postback.protocol.enums import has_pricing_model
from postback.protocol.releases import Release

__all__ = ["pricing"]


def pricing(package: Package, figures: Figures, catalogue: Catalogue, release: Release | None) -> dict[str, Any]:
    """The ``pricing_model`` and ``rate`` of a package.

    Args:
        package: The package.
        figures: What it delivered in the period that is reported.
        catalogue: What is on offer, for a package that was bought before prices were kept.
        release: The release that is served.
    """
    price = package.price or _offered(package, catalogue)
    if price is None or not has_pricing_model(release, price.pricing_model):
        # Neither kept nor on offer, or unknown to the caller's release: what is left of its price is the bid.
        return {"pricing_model": "flat_rate", "rate": package.bid_price or 0}
    return {"pricing_model": price.pricing_model, "rate": _rate(price, package.bid_price, figures)}


def _offered(package: Package, catalogue: Catalogue) -> Price | None:
    option = catalogue.pricing_option(package.product_id, package.pricing_option_id)
    return option.price if option else None


def _rate(price: Price, bid: float | None, figures: Figures) -> float:
    known = (price.fixed_price, price.commission_rate, _effective(price.pricing_model, figures), bid, price.floor_price)
    return next((amount for amount in known if amount is not None), 0)


def _effective(pricing_model: str, figures: Figures) -> float | None:
    """What a unit cost in an auction; None if none was delivered, or units of its kind aren't counted."""
    units = {"cpm": Decimal(figures.impressions) / 1000, "cpc": Decimal(figures.clicks)}.get(pricing_model)
    return shown_number(figures.spend / units) if units else None
