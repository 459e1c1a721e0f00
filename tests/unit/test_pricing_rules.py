"""Every pricing model of AdCP can be sold; what its schema requires of a price is required."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from tests.acceptance.official import enumeration, schema_errors
from tests.unit.test_products_catalog_file import HOMEPAGE

from postback.errors import StartupError
from postback.products.catalog_file import load_catalogue
from postback.products.pricing_rules import completed_price, pricing_errors
from postback.products.product import PricingOption
from postback.products.rendering import released
from postback.protocol.enums import PricingModel
from postback.protocol.releases import MAJOR_ONLY

MODELS = get_args(PricingModel)
PRICES = {
    "cpa": 'event_type = "lead"\nevent_source_id = "shop"\nfixed_price = 12',
    "cpv": "fixed_price = 0.02\nparameters = {view_threshold = {duration_seconds = 15}}",
    "cpp": 'floor_price = 100\nparameters = {demographic = "P18-49", min_points = 50}',
    "time": 'fixed_price = 900\nparameters = {time_unit = "week", min_duration = 2}',
    "revenue_share": (
        'event_type = "purchase"\nevent_source_id = "shop"\ncommission_rate = 0.04\n'
        'commission_basis_description = "Net order value."'
    ),
}


def declared(model: str, fields: str, tmp_path: Path) -> PricingOption:
    """The price that a file declares."""
    price = (
        f'[[products.pricing_options]]\npricing_option_id = "p"\npricing_model = "{model}"\ncurrency = "EUR"\n{fields}'
    )
    file = tmp_path / "products.toml"
    file.write_text(HOMEPAGE.partition("[[products.pricing_options]]")[0] + price)
    option = load_catalogue(file, sandbox=False).list()[0].pricing_option("p")
    assert option
    return option


def test_the_models_are_those_of_adcp() -> None:
    assert set(MODELS) == enumeration("3.2", "pricing-model")


@pytest.mark.parametrize("model", PRICES)
def test_a_price_of_each_model_is_kept_as_it_is_declared(model: str, tmp_path: Path) -> None:
    option = msgspec.to_builtins(declared(model, PRICES[model], tmp_path))

    for line in PRICES[model].splitlines():
        assert line.partition(" = ")[0] in option
    assert schema_errors("3.2", "core/pricing-option.json", option) == []


@pytest.mark.parametrize(
    ("model", "fields", "wrong"),
    [
        ("cpa", "fixed_price = 12", "event_type is required for the pricing model cpa"),
        ("cpa", 'event_type = "lead"', "fixed_price is required for the pricing model cpa"),
        ("cpa", 'event_type = "lead"\nfixed_price = 0', "fixed_price must be greater than 0"),
        ("cpa", 'event_type = "custom"\nfixed_price = 1', "custom_event_name is required"),
        ("cpv", "fixed_price = 1", "parameters is required for the pricing model cpv"),
        ("cpv", "parameters = {view_threshold = 50}", "parameters.view_threshold must be a share from 0 to 1"),
        ("cpp", "parameters = {}", "parameters.demographic must be a code"),
        ("time", 'parameters = {time_unit = "fortnight"}', "parameters.time_unit must be one of hour, day"),
        ("revenue_share", 'event_type = "purchase"', "event_source_id is required"),
        ("revenue_share", f"{PRICES['revenue_share']}\nfloor_price = 1", "floor_price has no meaning"),
        ("cpm", "commission_rate = 4", "commission_rate must be at most 1"),
    ],
)
def test_a_price_without_what_its_model_needs_stops_the_start(
    model: str, fields: str, wrong: str, tmp_path: Path
) -> None:
    with pytest.raises(StartupError, match=wrong):
        declared(model, fields, tmp_path)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("sent", [{}, {"fixed_price": 3.0}, {"floor_price": 2.0}, {"parameters": {"min_points": 3}}])
def test_a_partial_price_is_completed(model: str, sent: dict[str, Any]) -> None:
    if model in ("cpa", "revenue_share") and "price" in str(sent):
        sent = {}

    price = completed_price({"pricing_option_id": "p", "pricing_model": model, **sent})

    assert price.items() >= sent.items() or "parameters" in sent
    assert schema_errors("3.2", "core/pricing-option.json", price) == []
    assert list(pricing_errors(msgspec.convert(price, PricingOption), "it")) == []


@pytest.mark.parametrize(
    ("release", "models"),
    [("3.0", ["cpa"]), ("3.1", ["cpa", "cpa"]), (MAJOR_ONLY, ["cpa"]), ("3.2", ["cpa", "cpa", "revenue_share"])],
)
def test_a_release_is_shown_the_prices_that_it_has(release: str, models: list[str], tmp_path: Path) -> None:
    (tmp_path / "products.toml").write_text(HOMEPAGE)
    (product,) = load_catalogue(tmp_path / "products.toml", sandbox=False).list()
    prices = [
        {"pricing_model": "cpa"},
        {"pricing_model": "cpa", "event_type": "follow"},
        {"pricing_model": "revenue_share"},
    ]
    options = tuple(
        msgspec.convert(completed_price({"pricing_option_id": str(number), **price}), PricingOption)
        for number, price in enumerate(prices)
    )

    shown = released(msgspec.structs.replace(product, pricing_options=options), release)

    assert shown
    assert [option.pricing_model for option in shown.pricing_options] == models
    assert released(msgspec.structs.replace(product, pricing_options=options[2:]), "3.0") is None
