"""The rate of a package is the agreed price, or what an auction's delivery came to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postback.delivery.figures import Figures
from postback.delivery.pricing import pricing
from postback.media_buys.media_buy import Package
from postback.products.product import Catalogue, Price, PricingOption, Product

NOTHING = Figures()
DELIVERED = Figures(impressions=1000, clicks=8, spend=Decimal(2))
CPM, CPC, CPV = (Price(pricing_model=model, floor_price=1.5) for model in ("cpm", "cpc", "cpv"))


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
    ("price", "bid", "figures", "rate"),
    [
        (CPM, 4.0, DELIVERED, 2),
        (CPM, 4.0, NOTHING, 4),
        (CPM, None, DELIVERED, 2),
        (CPM, None, NOTHING, 1.5),
        (CPM, 4.0, Figures(impressions=1000), 0),
        (CPM, 4.0, Figures(impressions=3, spend=Decimal("0.01")), 3.333333),
        (CPC, 4.0, DELIVERED, 0.25),
        (CPC, 4.0, Figures(impressions=1000, spend=Decimal(2)), 4),
        (CPV, 4.0, DELIVERED, 4),
        (CPV, None, DELIVERED, 1.5),
        (Price(pricing_model="cpm"), None, NOTHING, 0),
        (Price(pricing_model="cpm", fixed_price=10.0), None, DELIVERED, 10),
        (Price(pricing_model="cpm", fixed_price=0.0), 4.0, DELIVERED, 0),
        (Price(pricing_model="revenue_share", commission_rate=0.04), None, DELIVERED, 0.04),
    ],
)
def test_a_rate_is_the_agreed_one_or_that_of_the_delivery(
    price: Price, bid: float | None, figures: Figures, rate: float
) -> None:
    shown = pricing(package(price, bid_price=bid), figures, offering(pricing_model="cpa", fixed_price=99.0), None)

    assert shown == {"pricing_model": price.pricing_model, "rate": rate}


@pytest.mark.parametrize(
    ("catalogue", "shown"),
    [
        (offering(pricing_model="cpc", fixed_price=12.0), {"pricing_model": "cpc", "rate": 12}),
        (offering(pricing_model="cpm", floor_price=1.0), {"pricing_model": "cpm", "rate": 2}),
        (Catalogue([]), {"pricing_model": "flat_rate", "rate": 4}),
    ],
)
def test_what_was_bought_before_prices_were_kept_has_that_of_the_catalogue(
    catalogue: Catalogue, shown: dict[str, Any]
) -> None:
    assert pricing(package(None, bid_price=4.0), DELIVERED, catalogue, None) == shown


@pytest.mark.parametrize("release", ["3.0", "3.1"])
def test_a_release_without_revenue_shares_is_told_of_none(release: str) -> None:
    share = package(Price(pricing_model="revenue_share", commission_rate=0.04))

    assert pricing(share, DELIVERED, Catalogue([]), release) == {"pricing_model": "flat_rate", "rate": 0}


@given(impressions=st.integers(1, 10**15), spend=st.decimals(0, 10**15, places=6))
def test_impressions_at_their_rate_cost_what_was_spent(impressions: int, spend: Decimal) -> None:
    figures = Figures(impressions=impressions, spend=spend)

    rate = pricing(package(CPM, bid_price=4.0), figures, Catalogue([]), None)["rate"]

    assert float(rate) * impressions / 1000 == pytest.approx(float(spend), rel=1e-9, abs=1e-6 * impressions / 1000)
