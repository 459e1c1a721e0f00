"""The seller's catalogue of products, read at startup from a TOML file.

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
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from postback.errors import StartupError
from postback.event_sources.validation import structure_error
from postback.products.pricing_rules import pricing_errors
from postback.products.product import Catalogue, Product

__all__ = ["load_catalogue"]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    products: list[dict[str, Any]] = msgspec.field(default_factory=list)


def load_catalogue(path: Path | None, *, sandbox: bool) -> Catalogue:
    """The products in a file. Without a file, a sandbox offers a few built-in ones, and any other server none.

    Raises:
        StartupError: The file is unreadable or invalid; the message names the place.
    """
    if path is None:
        builtin = resources.files("postback.products") / "sandbox_products.toml"
        return _catalogue(builtin.read_text("utf-8"), builtin.name) if sandbox else Catalogue([])
    try:
        return _catalogue(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise StartupError(f"The product catalogue {path} can't be read: {error.strerror}.") from error


def _catalogue(text: str, name: str) -> Catalogue:
    try:
        tables = msgspec.convert(tomllib.loads(text), _File).products
    except msgspec.ValidationError as error:
        raise StartupError(f"{name}: {structure_error(error).message}") from error
    except ValueError as error:
        raise StartupError(f"{name} is not valid TOML: {error}.") from error
    products = [_product(table, f"{name}: products[{index}]") for index, table in enumerate(tables)]
    _require_unique([product.product_id for product in products], f"{name}: products", "product_id")
    return Catalogue(products)


def _product(table: dict[str, Any], place: str) -> Product:
    if "seeded" in table:
        raise StartupError(f"{place}: seeded is not a known field.")
    try:
        product = msgspec.convert(table, Product)
    except msgspec.ValidationError as error:
        raise StartupError(f"{place}: {structure_error(error).message}") from error
    for index, option in enumerate(product.pricing_options):
        if wrong := next(pricing_errors(option, f"pricing_options[{index}]"), None):
            raise StartupError(f"{place}.{wrong}")
    _require_unique(
        [option.pricing_option_id for option in product.pricing_options],
        f"{place}.pricing_options",
        "pricing_option_id",
    )
    _require_unique(
        [option.format_option_id or option.format_kind for option in product.format_options],
        f"{place}.format_options",
        "format_option_id",
    )
    return product


def _require_unique(ids: Sequence[str], place: str, field: str) -> None:
    for index, id_ in enumerate(ids):
        if id_ in ids[:index]:
            raise StartupError(f"{place}[{index}] has the {field} of an earlier one. Choose another.")
