"""A buyer's agent finds the products that fit: by formats, metrics and prices, and by refining a list."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import DOORS, Door, call
from tests.acceptance.official import DIALECTS, pinned, refuse_unless_valid

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

PRODUCT = """
[[products]]
product_id = "NAME"
name = "NAME"
description = "Placements of this kind."
delivery_type = "non_guaranteed"
publisher_domains = ["news.example"]
formats = FORMATS
pricing_options = [{pricing_option_id = "cpm", pricing_model = "cpm", currency = "EUR", PRICE}]
"""
STANDARD = "https://creative.adcontextprotocol.org"
FORMATS = {
    "own": '["display_300x250"]',
    "standard": f'[{{agent_url = "{STANDARD}", id = "display_300x250"}}]',
    "declared": """["takeover"]
format_options = [{format_kind = "image", format_option_id = "takeover", params = {width = 970, height = 250}}]""",
}


def catalogue() -> str:
    """Three products that differ in formats and prices."""
    prices = {"own": "floor_price = 1.0", "standard": "fixed_price = 2.0", "declared": "fixed_price = 3.0"}
    return "".join(
        PRODUCT.replace("NAME", name).replace("FORMATS", formats).replace("PRICE", prices[name])
        for name, formats in FORMATS.items()
    )


@pytest.fixture(scope="module")
def shop(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A seller with these products."""
    products: Path = tmp_path_factory.mktemp("products") / "products.toml"
    products.write_text(catalogue())
    return start_server(products=products)


def listed(shop: Server, **arguments: Any) -> list[str]:
    """The product_ids that are listed."""
    answer = call(shop, "rest", "get_products", {"buying_mode": "wholesale"} | arguments)
    refuse_unless_valid("get_products", answer, None)
    return [product["product_id"] for product in answer["products"]]


@pytest.mark.parametrize("release", DIALECTS)
def test_formats_of_other_agents_keep_their_agent(shop: Server, release: str | None) -> None:
    answer = call(shop, "rest", "get_products", pinned(release) | {"buying_mode": "wholesale"})

    refuse_unless_valid("get_products", answer, release)
    own, standard, declared = answer["products"]
    assert own["format_ids"] == [{"agent_url": shop.url, "id": "display_300x250"}]
    assert standard["format_ids"] == [{"agent_url": STANDARD, "id": "display_300x250"}]
    assert standard["format_options"][0]["v1_format_ref"] == standard["format_ids"]
    assert declared["format_options"] == [
        {"format_kind": "image", "format_option_id": "takeover", "params": {"width": 970, "height": 250}}
    ]


@pytest.mark.parametrize(
    ("filters", "fitting"),
    [
        ({"format_ids": [{"agent_url": STANDARD, "id": "display_300x250"}]}, ["standard"]),
        ({"format_ids": [{"agent_url": f"{STANDARD}:443/", "id": "display_300x250"}]}, ["standard"]),
        ({"format_ids": [{"agent_url": "https://x.example", "id": "display_300x250"}]}, []),
        ({"format_ids": [{"id": "display_300x250"}]}, ["own", "standard"]),
        ({"format_kinds": ["image", "html5"]}, ["own", "standard", "declared"]),
        ({"format_kinds": ["video_hosted"]}, []),
        ({"format_option_refs": [{"scope": "product", "format_option_id": "takeover"}]}, ["declared"]),
        ({"required_metrics": ["impressions", "roas"]}, ["own", "standard", "declared"]),
        ({"required_metrics": ["impressions", "completed_views"]}, []),
        ({"required_vendor_metrics": [{"vendor": {"domain": "attention.example"}}]}, []),
        ({"required_features": {"conversion_tracking": True, "catalog_management": False}}, [*FORMATS]),
        ({"required_features": {"catalog_management": True}}, []),
        ({"pricing_structures": ["fixed"]}, ["standard", "declared"]),
        ({"pricing_structures": ["auction", "contingent"]}, ["own"]),
        ({"pricing_structures": ["auction"], "is_fixed_price": True}, []),
        ({"exclusivity": "none"}, [*FORMATS]),
        ({"exclusivity": "exclusive"}, []),
        ({"countries": ["DE"]}, [*FORMATS]),
    ],
)
def test_what_does_not_fit_is_left_out(shop: Server, filters: dict[str, Any], fitting: list[str]) -> None:
    assert listed(shop, filters=filters) == fitting


@pytest.mark.parametrize("release", DIALECTS)
@pytest.mark.parametrize("door", DOORS)
def test_a_list_is_refined_and_each_request_answered(shop: Server, door: Door, release: str | None) -> None:
    wishes: list[dict[str, Any]] = [
        {"scope": "request", "ask": "Only guaranteed packages."},
        {"scope": "product", "product_id": "own"},
        {"scope": "product", "product_id": "declared", "ask": "A larger budget"},
        {"scope": "product", "product_id": "standard", "action": "omit"},
        {"scope": "product", "product_id": "nowhere", "action": "more_like_this"},
        {"scope": "proposal", "proposal_id": "p1", "ask": "More video"},
    ]

    answer = call(shop, door, "get_products", pinned(release) | {"buying_mode": "refine", "refine": wishes})

    refuse_unless_valid("get_products", answer, release)
    assert [product["product_id"] for product in answer["products"]] == ["own", "declared"]
    applied = answer["refinement_applied"]
    assert [entry["status"] for entry in applied] == ["unable", "applied", "partial", "applied", "unable", "unable"]
    assert [entry.get("product_id") for entry in applied] == [None, "own", "declared", "standard", "nowhere", None]
    assert applied[5]["proposal_id"] == "p1"


def test_without_named_products_all_but_the_omitted_stay(shop: Server) -> None:
    wishes = [{"scope": "product", "product_id": "own", "action": "omit"}, {"scope": "request", "ask": "Cheaper"}]

    assert listed(shop, buying_mode="refine", refine=wishes) == ["standard", "declared"]


@pytest.mark.parametrize(
    ("refine", "field"),
    [
        (None, "refine"),
        ([], "refine"),
        ([{"scope": "everything"}], "refine[0].scope"),
        ([{"scope": "product"}], "refine[0].product_id"),
        ([{"scope": "request", "ask": "x"}, {"scope": "proposal", "ask": "x"}], "refine[1].proposal_id"),
        ([{"scope": "proposal", "proposal_id": "p1", "action": "finalize"}], "refine[0].action"),
    ],
)
def test_a_refinement_that_says_nothing_is_refused(shop: Server, refine: Any, field: str) -> None:
    answer = call(shop, "rest", "get_products", {"buying_mode": "refine", "refine": refine})

    assert (answer["adcp_error"]["code"], answer["adcp_error"]["field"]) == ("INVALID_REQUEST", field)
