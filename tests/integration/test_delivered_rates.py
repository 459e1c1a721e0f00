"""A report's rates are what was agreed and delivered, whatever the seller asks today."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.acceptance.conversions import call
from tests.acceptance.official import pinned, refuse_unless_valid
from tests.conftest import eventually
from tests.integration.orders import buy, package

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

PRODUCT = """
[[products]]
product_id = "NAME"
name = "NAME"
description = "Placements of this kind."
delivery_type = "non_guaranteed"
publisher_domains = ["news.example"]
formats = ["display_300x250"]
pricing_options = [
    {pricing_option_id = "fixed", pricing_model = "cpm", currency = "EUR", fixed_price = PRICE},
    {pricing_option_id = "auction", pricing_model = "cpm", currency = "EUR", floor_price = 1},
]
"""
FIXED = {"product_id": "banner", "pricing_option_id": "fixed"}
AUCTION = {"product_id": "banner", "pricing_option_id": "auction"}


def rates(server: Server, media_buy_id: str) -> list[tuple[str, float]]:
    answer = call(server, "rest", "get_media_buy_delivery", {"media_buy_ids": [media_buy_id]})
    refuse_unless_valid("get_media_buy_delivery", answer, None)
    [delivery] = answer["media_buy_deliveries"]
    return [(shown["pricing_model"], shown["rate"]) for shown in delivery["by_package"]]


def test_what_was_agreed_outlives_a_new_price_and_the_product(start_own_server: StartServer, tmp_path: Path) -> None:
    products = tmp_path / "products.toml"

    def offer(name: str, price: int) -> Server:
        products.write_text(PRODUCT.replace("NAME", name).replace("PRICE", str(price)))
        return start_own_server(sandbox="true", products=products, data=tmp_path / "data")

    server = offer("banner", 10)
    bought = buy(server, package(**FIXED), package(**AUCTION, bid_price=4), package(**AUCTION, bid_price=4))
    media_buy_id = str(bought["media_buy_id"])
    total = {
        "media_buy_id": media_buy_id,
        "package_id": bought["packages"][1]["package_id"],
        "hour": "2026-01-15T14:00:00Z",
        "impressions": 1000,
        "clicks": 3,
        "spend": 2,
        "currency": "EUR",
    }
    reported = call(server, "rest", "delivery", {"totals": [total]})
    assert reported["totals_processed"] == 1, reported
    agreed = [("cpm", 10), ("cpm", 2), ("cpm", 4)]
    eventually(lambda: rates(server, media_buy_id) == agreed)
    server.stop()

    server = offer("banner", 12)
    added = call(
        server,
        "rest",
        "update_media_buy",
        pinned("3.2") | {"media_buy_id": media_buy_id, "new_packages": [package(**FIXED)]},
    )
    assert added["status"] == "completed", added
    agreed.append(("cpm", 12))
    assert rates(server, media_buy_id) == agreed
    server.stop()

    assert rates(offer("other", 1), media_buy_id) == agreed


def test_a_seeded_buy_keeps_the_price_that_it_was_seeded_with(start_own_server: StartServer) -> None:
    seller = start_own_server(sandbox="true")

    def control(scenario: str, **params: Any) -> None:
        asked = pinned("3.2") | {"scenario": scenario, "params": params}
        answer = call(seller, "rest", "comply_test_controller", asked)
        assert answer["success"] is True, answer

    option = {"product_id": "seeded_at_10", "pricing_option_id": "cpm"}
    control("seed_product", product_id="seeded_at_10", fixture={})
    control("seed_pricing_option", **option, fixture={"fixed_price": 10})
    control("seed_media_buy", media_buy_id="at_10", fixture={"packages": [option]})
    control("seed_pricing_option", **option, fixture={"fixed_price": 12})

    assert rates(seller, "at_10") == [("cpm", 10)]
