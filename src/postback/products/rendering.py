"""Products as get_products shows them: with the values that the caller's release has, and with what was seeded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from postback.products.product import PricingOption, Product, ShownProduct
from postback.protocol.enums import has_pricing_model, released_event_types, released_metrics
from postback.protocol.releases import Release

__all__ = ["released", "with_seeded_fields"]

_OURS = frozenset(("product_id", "pricing_options", "brief_relevance"))
"""What a seeded field never replaces."""

_REPORTING = "reporting_capabilities"
_CREATIVE_POLICY = {"co_branding": "none", "landing_page": "any", "templates_available": False}
"""What AdCP requires of a creative_policy, for a partial one."""


def released(product: Product, release: Release | None) -> Product | None:
    """The product with the prices that the release has; None when it has none of them."""
    options = tuple(option for option in product.pricing_options if _has_price(option, release))
    return msgspec.structs.replace(product, pricing_options=options) if options else None


def _has_price(option: PricingOption, release: Release | None) -> bool:
    known_event = option.event_type is None or option.event_type in released_event_types(release)
    return known_event and has_pricing_model(release, option.pricing_model)


def with_seeded_fields(shown: ShownProduct, product: Product, release: Release | None) -> dict[str, Any]:
    """A product as it is shown, with the fields that a test controller seeded: objects are merged field by field."""
    merged: dict[str, Any] = msgspec.to_builtins(shown)
    for name, value in product.seeded.items():
        if name not in _OURS and value is not None:
            merged[name] = _merged(merged.get(name), value)
    merged["publisher_properties"] = _selectors(merged["publisher_properties"]) or msgspec.to_builtins(
        shown.publisher_properties
    )
    metrics = released_metrics(release, product.reported_metrics)
    merged[_REPORTING]["available_metrics"] = list(metrics) or ["impressions", "spend"]
    if isinstance(merged.get("creative_policy"), dict):
        merged["creative_policy"] = _CREATIVE_POLICY | merged["creative_policy"]
    return merged


def _selectors(properties: object) -> list[dict[str, Any]]:
    """Selectors of publishers' properties (core/publisher-property-selector.json), each with its type."""
    entries = [entry for entry in properties if isinstance(entry, dict)] if isinstance(properties, list) else []
    return [
        {"selection_type": _selection_type(entry), **entry}
        for entry in entries
        if "publisher_domain" in entry or "publisher_domains" in entry
    ]


def _selection_type(selector: Mapping[str, Any]) -> str:
    if "property_ids" in selector:
        return "by_id"
    return "by_tag" if "property_tags" in selector else "all"


def _merged(derived: object, seeded: object) -> object:
    if isinstance(derived, Mapping) and isinstance(seeded, Mapping):
        return {**derived, **seeded}
    return seeded
