"""What a buyer wants products to be, against what they are (core/product-filters.json)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from postback.media_buys.formats import canonical_url
from postback.media_buys.products import FEATURES, REPORTED_METRICS, PricingOption, Product

__all__ = ["Filters", "narrowed"]

_Words = Annotated[list[str], Meta(min_length=1)]


class _FormatRef(msgspec.Struct, frozen=True):
    """A format of the agent at a URL, or of any."""

    id: str
    agent_url: str | None = None


class _OptionRef(msgspec.Struct, frozen=True):
    """core/format-option-ref.json."""

    scope: str
    format_option_id: str


class Filters(msgspec.Struct, frozen=True):
    """The filters that the catalogue can decide; what it knows nothing of excludes none.

    The last ones ask for what no product here declares.
    """

    delivery_type: str | None = None
    exclusivity: str | None = None
    is_fixed_price: bool | None = None
    pricing_structures: _Words | None = None
    pricing_currencies: _Words | None = None
    channels: _Words | None = None
    format_ids: Annotated[list[_FormatRef], Meta(min_length=1)] | None = None
    format_kinds: _Words | None = None
    format_option_refs: Annotated[list[_OptionRef], Meta(min_length=1)] | None = None
    required_metrics: _Words | None = None
    required_features: dict[str, Any] | None = None
    required_vendor_metrics: Any = None
    required_performance_standards: Any = None
    required_axe_integrations: Any = None
    required_geo_targeting: Any = None
    signal_targeting: Any = None
    trusted_match: Any = None
    audience_activation_methods: Any = None
    video_placement_types: Any = None
    audio_distribution_types: Any = None
    sponsored_placement_types: Any = None
    social_placement_surfaces: Any = None

    @property
    def undeclared(self) -> bool:
        """Whether something is asked for that no product here declares."""
        names = self.__struct_fields__
        return any(getattr(self, name) for name in names[names.index("required_vendor_metrics") :])


def narrowed(product: Product, filters: Filters, agent_url: str) -> Product | None:
    """The product with those of its prices that fit; None when it or all of them don't.

    Args:
        product: A product on offer.
        filters: What it must be.
        agent_url: Where this server is reached; it qualifies the names of formats.
    """
    if not all(_fits(product, filters, agent_url)):
        return None
    options = tuple(option for option in product.pricing_options if all(_price_fits(option, filters)))
    return msgspec.structs.replace(product, pricing_options=options) if options else None


def _fits(product: Product, filters: Filters, agent_url: str) -> Iterator[bool]:
    yield not filters.undeclared
    yield filters.delivery_type in (None, product.delivery_type)
    yield filters.exclusivity in (None, "none")
    yield not filters.channels or not set(filters.channels).isdisjoint(product.channels)
    yield not filters.required_metrics or set(filters.required_metrics) <= set(REPORTED_METRICS)
    yield all(name in FEATURES for name, wanted in (filters.required_features or {}).items() if wanted is True)
    yield not filters.format_ids or any(_takes(product, wanted, agent_url) for wanted in filters.format_ids)
    options = product.options(agent_url)
    yield not filters.format_kinds or any(option.format_kind in filters.format_kinds for option in options)
    local = {ref.format_option_id for ref in filters.format_option_refs or () if ref.scope == "product"}
    yield not filters.format_option_refs or any(option.format_option_id in local for option in options)


def _takes(product: Product, wanted: _FormatRef, agent_url: str) -> bool:
    agents = {canonical_url(known.agent_url) for known in product.format_ids(agent_url) if known.id == wanted.id}
    return bool(agents) and (wanted.agent_url is None or canonical_url(wanted.agent_url) in agents)


def _price_fits(option: PricingOption, filters: Filters) -> Iterator[bool]:
    fixed = option.fixed_price is not None
    yield filters.is_fixed_price in (None, fixed)
    yield not filters.pricing_structures or ("fixed" if fixed else "auction") in filters.pricing_structures
    yield not filters.pricing_currencies or option.currency in filters.pricing_currencies
