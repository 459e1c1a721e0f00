"""Fixtures of the official test kits: partial products, prices, accounts and media buys, filled up to whole ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from postback.media_buys.buys import MediaBuy, Package
from postback.media_buys.products import Catalogue, PricingOption, Product
from postback.principal import Account
from postback.protocol.enums import AccountStatus, Channel

if TYPE_CHECKING:
    from postback.services import Services

__all__ = ["seeded_account", "seeded_buy", "seeded_price", "seeded_product"]

_ANY_PRICE = PricingOption(pricing_option_id="default", pricing_model="cpm", currency="USD", floor_price=1.0)
"""What a seeded product costs until a price is seeded for it. Official runners name ``default`` even then: it stays, as
another name of the newest price."""

_CHANNELS = {"video": "olv"}
"""Words of the test kits → AdCP's."""

_FLIGHT = timedelta(days=30)


def seeded_product(product_id: str, fixture: Mapping[str, Any], known: Product | None) -> Product:
    """The product of a fixture; what it leaves out is made up.

    Raises:
        ValueError: The fixture says something that no product can have.
    """
    channels = [_CHANNELS.get(channel, channel) for channel in fixture.get("channels") or ()]
    formats = [entry.get("id") for entry in fixture.get("format_ids") or [] if isinstance(entry, Mapping)]
    goals = fixture.get("metric_optimization") or {}
    prices = fixture.get("pricing_options") or (msgspec.to_builtins(known.pricing_options) if known else None)
    members = {
        "product_id": product_id,
        "name": fixture.get("name") or product_id.replace("_", " "),
        "description": fixture.get("description") or " ".join(["Seeded:", *(fixture.get("channels") or [])]),
        "delivery_type": fixture.get("delivery_type", "non_guaranteed"),
        "channels": [channel for channel in channels if channel in get_args(Channel)],
        "publisher_domains": ["sandbox.example"],
        "formats": formats or ["display_300x250"],
        "pricing_options": prices or [msgspec.to_builtins(_ANY_PRICE)],
        "metrics": goals.get("supported_metrics") or [],
    }
    return msgspec.convert(members, Product)


def seeded_price(pricing_option_id: str, fixture: Mapping[str, Any], product: Product) -> Product:
    """The product with a seeded price, first, and last the same price under its default name.

    Raises:
        ValueError: The fixture says something that no price can have.
    """
    known = {field.name for field in msgspec.structs.fields(PricingOption)}
    members = {name: value for name, value in fixture.items() if name in known}
    defaults = {"pricing_model": "cpm", "currency": "USD"}
    option = msgspec.convert(defaults | members | {"pricing_option_id": pricing_option_id}, PricingOption)
    if option.fixed_price is None and option.floor_price is None:
        option = msgspec.structs.replace(option, floor_price=_ANY_PRICE.floor_price)
    default = msgspec.structs.replace(option, pricing_option_id=_ANY_PRICE.pricing_option_id)
    replaced = {pricing_option_id, default.pricing_option_id}
    others = [other for other in product.pricing_options if other.pricing_option_id not in replaced]
    return msgspec.structs.replace(product, pricing_options=(option, *others, default))


def seeded_account(account_id: str, fixture: Mapping[str, Any]) -> Account:
    """The account of a fixture, a sandbox.

    Raises:
        ValueError: Its status is none.
    """
    brand = fixture.get("brand")
    domain = brand.get("domain") if isinstance(brand, Mapping) else None
    status = msgspec.convert(fixture.get("status", "active"), AccountStatus)
    operator = fixture.get("operator") or domain
    return Account(
        account_id,
        str(fixture.get("name") or account_id),
        None if domain is None else str(domain),
        None if operator is None else str(operator),
        sandbox=True,
        status=status,
        billing="operator",
    )


def seeded_buy(services: Services, account_id: str, media_buy_id: str, fixture: Mapping[str, Any]) -> MediaBuy:
    """The media buy of a fixture: one package of the newest product that has a price in its currency.

    Raises:
        ValueError: No product is sold in its currency.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    currency = fixture.get("currency", "USD")
    product, option = _sold_in(services.catalogue, str(currency))
    budget = msgspec.convert(fixture.get("total_budget", 1000.0), float)
    package = Package(
        package_id=f"{media_buy_id}_1",
        product_id=product.product_id,
        pricing_option_id=option.pricing_option_id,
        budget=budget,
    )
    return MediaBuy(
        account_id=account_id,
        media_buy_id=media_buy_id,
        currency=option.currency,
        start_at=now,
        end_at=now + _FLIGHT,
        created_at=now,
        total_budget=budget,
        packages=(package,),
    )


def _sold_in(catalogue: Catalogue, currency: str) -> tuple[Product, PricingOption]:
    for product in catalogue.list():
        for option in product.pricing_options:
            if option.currency == currency:
                return product, option
    raise ValueError(f"no product is sold in {currency!r}")
