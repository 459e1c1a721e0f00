"""The seller's catalogue of products, read at start from a TOML file.

```toml
[[products]]
product_id = "homepage_display"
name = "Homepage display"
description = "Display placements on the homepage."
delivery_type = "non_guaranteed"
channels = ["display"]
publisher_domains = ["news.example"]
formats = ["display_300x250"]
conversion_targets = ["cost_per", "per_ad_spend"]

[[products.pricing_options]]
pricing_option_id = "cpm_eur"
pricing_model = "cpm"
currency = "EUR"
floor_price = 2.5
```
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from postback.errors import StartupError
from postback.media_buys.products import Catalogue, Product
from postback.protocol.currencies import CURRENCIES
from postback.sources.declared import structure_problem

__all__ = ["load_catalogue"]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    products: list[dict[str, Any]] = msgspec.field(default_factory=list)


def load_catalogue(path: Path | None, *, sandbox: bool) -> Catalogue:
    """The products of a file. Without a file a sandbox sells a few of its own, and any other server none.

    Raises:
        StartupError: The file can't be read or used; the sentence names the place.
    """
    if path is None:
        builtin = resources.files("postback.media_buys") / "sandbox_products.toml"
        return _catalogue(builtin.read_text("utf-8"), builtin.name) if sandbox else Catalogue([])
    try:
        return _catalogue(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise StartupError(f"The catalogue of products {path} can't be read: {error.strerror}.") from error


def _catalogue(text: str, name: str) -> Catalogue:
    try:
        tables = msgspec.convert(tomllib.loads(text), _File).products
    except msgspec.ValidationError as error:
        raise StartupError(f"{name}: {structure_problem(error).message}") from error
    except ValueError as error:
        raise StartupError(f"{name} is not TOML: {error}.") from error
    products = [_product(table, f"{name}: products[{index}]") for index, table in enumerate(tables)]
    _refuse_repeated([product.product_id for product in products], f"{name}: products", "product_id")
    return Catalogue(products)


def _product(table: dict[str, Any], place: str) -> Product:
    try:
        product = msgspec.convert(table, Product)
    except msgspec.ValidationError as error:
        raise StartupError(f"{place}: {structure_problem(error).message}") from error
    if problem := next(_pricing_problems(product), None):
        raise StartupError(f"{place}.{problem}")
    _refuse_repeated(
        [option.pricing_option_id for option in product.pricing_options],
        f"{place}.pricing_options",
        "pricing_option_id",
    )
    _refuse_repeated(
        [option.format_option_id or option.format_kind for option in product.format_options],
        f"{place}.format_options",
        "format_option_id",
    )
    return product


def _pricing_problems(product: Product) -> Iterator[str]:
    for index, option in enumerate(product.pricing_options):
        at = f"pricing_options[{index}]"
        if option.currency not in CURRENCIES:
            yield f"{at}.currency is not an ISO 4217 currency code. Write it as EUR."
        if option.fixed_price is not None and option.floor_price is not None:
            yield f"{at} has a fixed_price and a floor_price. Keep one: an auction has no fixed price."


def _refuse_repeated(ids: Sequence[str], place: str, member: str) -> None:
    for index, id_ in enumerate(ids):
        if id_ in ids[:index]:
            raise StartupError(f"{place}[{index}] has a {member} that an earlier one has. Choose another.")
