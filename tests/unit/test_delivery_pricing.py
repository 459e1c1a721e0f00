"""The rate of a package is the price that was agreed."""

from __future__ import annotations

from typing import Any

import pytest

from postback.delivery.pricing import pricing
from postback.media_buys.media_buy import Package
from postback.products.product import Catalogue, Price, PricingOption, Product


def package(price: Price | None, **members: Any) -> Package:
    ordered: dict[str, Any] = {"package_id": "p", "product_id": "home", "pricing_option_id": "o", "budget": 1.0}
    return Package(**ordered, price=price, **members)


def offering(**option: Any) -> Catalogue:
    product = Product(
        product_id="home",
        name="Home",
        description="Home page",
        delivery_type="guaranteed",
        publisher_domains=("news.example",),
        formats=("display_300x250",),
        pricing_options=(PricingOption(pricing_option_id="o", currency="EUR", **option),),
    )
    return Catalogue([product])


@pytest.mark.parametrize(
    ("price", "bid", "rate"),
    [
        (Price(pricing_model="cpm", floor_price=1.5), 4.0, 4),
        (Price(pricing_model="cpm", floor_price=1.5), None, 1.5),
        (Price(pricing_model="cpm"), None, 0),
        (Price(pricing_model="cpm", fixed_price=10.0), None, 10),
        (Price(pricing_model="cpm", fixed_price=0.0), 4.0, 0),
        (Price(pricing_model="revenue_share", commission_rate=0.04), None, 0.04),
    ],
)
def test_a_rate_is_the_agreed_one(price: Price, bid: float | None, rate: float) -> None:
    shown = pricing(package(price, bid_price=bid), offering(pricing_model="cpa", fixed_price=99.0), None)

    assert shown == {"pricing_model": price.pricing_model, "rate": rate}


@pytest.mark.parametrize(
    ("catalogue", "shown"),
    [
        (offering(pricing_model="cpc", fixed_price=12.0), {"pricing_model": "cpc", "rate": 12}),
        (offering(pricing_model="cpm", floor_price=1.0), {"pricing_model": "cpm", "rate": 4}),
        (Catalogue([]), {"pricing_model": "flat_rate", "rate": 4}),
    ],
)
def test_what_was_bought_before_prices_were_kept_has_that_of_the_catalogue(
    catalogue: Catalogue, shown: dict[str, Any]
) -> None:
    assert pricing(package(None, bid_price=4.0), catalogue, None) == shown


@pytest.mark.parametrize("release", ["3.0", "3.1"])
def test_a_release_without_revenue_shares_is_told_of_none(release: str) -> None:
    share = package(Price(pricing_model="revenue_share", commission_rate=0.04))

    assert pricing(share, Catalogue([]), release) == {"pricing_model": "flat_rate", "rate": 0}
