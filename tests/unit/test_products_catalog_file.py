"""A seller lists the products on offer in a file; the server reads it at every start."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from postback.errors import StartupError
from postback.products import catalog_file
from postback.products.catalog_file import load_catalogue

HOMEPAGE = """
[[products]]
product_id = "homepage_display"
name = "Homepage display"
description = "Display placements on the homepage."
delivery_type = "non_guaranteed"
channels = ["display"]
publisher_domains = ["news.example"]
formats = ["display_300x250"]
conversion_targets = ["cost_per"]

[[products.pricing_options]]
pricing_option_id = "cpm_eur"
pricing_model = "cpm"
currency = "EUR"
floor_price = 2
"""
PRICE = HOMEPAGE.partition("[[products.pricing_options]]")[2]
REF = '{agent_url = "https://creative.example", id = "image"}'
EXCLUSIVE = f'{{format_kind = "image", params = {{}}, canonical_formats_only = true, v1_format_ref = [{REF}]}}'
IMAGE = '{format_kind = "image", params = {}}'


def declaring(*options: str) -> str:
    """The file with these format_options."""
    return HOMEPAGE.replace("channels", f"format_options = [{', '.join(options)}]\nchannels")


def test_a_listed_product_is_on_offer(tmp_path: Path) -> None:
    (tmp_path / "products.toml").write_text(HOMEPAGE)

    catalogue = load_catalogue(tmp_path / "products.toml", sandbox=True)

    [product] = catalogue.list()
    assert product == catalogue.get("homepage_display")
    assert product.conversion_targets == ("cost_per",)
    price = product.pricing_option("cpm_eur")
    assert price is not None
    assert price.floor_price == 2.0


def test_the_example_that_the_module_shows_can_be_used(tmp_path: Path) -> None:
    example = str(catalog_file.__doc__).partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "products.toml").write_text(example)

    assert tomllib.loads(example)["products"][0]["product_id"] == "homepage_display"
    assert load_catalogue(tmp_path / "products.toml", sandbox=False).get("homepage_display")


def test_without_a_file_only_a_sandbox_has_products() -> None:
    assert len(load_catalogue(None, sandbox=True).list()) == 3
    assert load_catalogue(None, sandbox=False).list() == []


@pytest.mark.parametrize(
    ("toml", "place", "what"),
    [
        ("[[products", "", "is not valid TOML"),
        ("[[product]]", "", "product is not a known field"),
        (HOMEPAGE.replace("[[products]]", "[[products]]\nseeded = 7"), "products[0]", "seeded is not a known field"),
        (HOMEPAGE.replace('name = "Homepage display"\n', ""), "products[0]", "name is required"),
        (HOMEPAGE.replace("homepage_display", "home page"), "products[0]", "product_id must match the pattern"),
        (
            HOMEPAGE.replace('["display"]', '["displays"]'),
            "products[0]",
            "channels[0] is not one of the allowed values",
        ),
        (
            HOMEPAGE.replace("cost_per", "cheap"),
            "products[0]",
            "conversion_targets[0] is not one of the allowed values",
        ),
        (
            HOMEPAGE.replace("news.example", "https://news"),
            "products[0]",
            "publisher_domains[0] must match the pattern",
        ),
        (HOMEPAGE.replace('"EUR"', '"EUX"'), "products[0].pricing_options[0]", "not an ISO 4217"),
        (
            HOMEPAGE.replace('"cpm"', '"cpx"'),
            "products[0]",
            "pricing_options[0].pricing_model is not one of the allowed values",
        ),
        (HOMEPAGE.replace('"display_300x250"', '{id = "a"}'), "products[0]", "formats[0].agent_url is required"),
        (
            declaring(EXCLUSIVE),
            "products[0]",
            "canonical_formats_only and v1_format_ref exclude each other",
        ),
        (
            declaring(IMAGE, IMAGE),
            "products[0].format_options[1]",
            "has the format_option_id of an earlier one",
        ),
        (HOMEPAGE + "fixed_price = 3.0", "products[0].pricing_options[0]", "both fixed_price and floor_price"),
        (HOMEPAGE + HOMEPAGE, "products[1]", "has the product_id of an earlier one"),
        (
            f"{HOMEPAGE}[[products.pricing_options]]{PRICE}",
            "products[0].pricing_options[1]",
            "has the pricing_option_id of an earlier one",
        ),
    ],
)
def test_a_file_that_cannot_be_used_stops_the_start_with_a_sentence(
    tmp_path: Path, toml: str, place: str, what: str
) -> None:
    path = tmp_path / "products.toml"
    path.write_text(toml)

    with pytest.raises(StartupError) as caught:
        load_catalogue(path, sandbox=False)

    assert str(caught.value).startswith(str(path))
    assert place in str(caught.value)
    assert what in str(caught.value)


def test_a_missing_file_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="can't be read: No such file"):
        load_catalogue(tmp_path / "none.toml", sandbox=True)
