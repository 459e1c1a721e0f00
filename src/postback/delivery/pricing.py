"""The price of a package in a report: what was agreed when it was bought, whatever the catalogue says today."""

from __future__ import annotations

from typing import Any

from postback.media_buys.media_buy import Package
from postback.products.product import Catalogue, Price
from postback.protocol.enums import has_pricing_model
from postback.protocol.releases import Release

__all__ = ["pricing"]


def pricing(package: Package, catalogue: Catalogue, release: Release | None) -> dict[str, Any]:
    """The ``pricing_model`` and ``rate`` of a package.

    Args:
        package: The package.
        catalogue: What is on offer, for a package that was bought before prices were kept.
        release: The release that is served.
    """
    price = package.price or _offered(package, catalogue)
    if price is None or not has_pricing_model(release, price.pricing_model):
        # Neither kept nor on offer, or unknown to the caller's release: what is left of its price is the bid.
        return {"pricing_model": "flat_rate", "rate": package.bid_price or 0}
    return {"pricing_model": price.pricing_model, "rate": _rate(price, package.bid_price)}


def _offered(package: Package, catalogue: Catalogue) -> Price | None:
    option = catalogue.pricing_option(package.product_id, package.pricing_option_id)
    return option.price if option else None


def _rate(price: Price, bid: float | None) -> float:
    agreed = (price.fixed_price, price.commission_rate, bid, price.floor_price)
    return next((amount for amount in agreed if amount is not None), 0)
