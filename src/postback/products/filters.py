"""A buyer's product filters, and the products that match them (core/product-filters.json)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta

from postback.products.formats import canonical_url
from postback.products.product import FEATURES, PricingOption, Product
from postback.protocol.enums import Channel
from postback.protocol.json_schema import word

__all__ = ["Filters", "narrowed"]

_Words = Annotated[list[str], Meta(min_length=1)]
_ChannelName = Annotated[str, word(get_args(Channel), "What it is sold as.")]


class _FormatRef(msgspec.Struct, frozen=True):
    """A format of the creative agent at a URL, or of any agent."""

    id: Annotated[str, Meta(description="Identifier of the format.")]
    agent_url: Annotated[str, Meta(description="Agent that defines it; any when absent.")] | None = None


class _OptionRef(msgspec.Struct, frozen=True):
    """core/format-option-ref.json."""

    scope: Annotated[str, Meta(description="product, the only scope whose options there are here.")]
    format_option_id: Annotated[str, Meta(description="The format option of the product.")]


class _Vendor(msgspec.Struct, frozen=True):
    domain: Annotated[str, Meta(description="Domain of the vendor.")]
    brand_id: Annotated[str, Meta(description="Its brand, where the domain has several.")] | None = None


class _VendorMetric(msgspec.Struct, frozen=True):
    """A metric of a measurement vendor: any of the vendor's, any vendor's of this id, or exactly one."""

    vendor: Annotated[_Vendor | None, Meta(description="The vendor; any when absent.")] = None
    metric_id: Annotated[str, Meta(description="The metric; any of the vendor's when absent.")] | None = None

    def matches(self, declared: Mapping[str, Any]) -> bool:
        """Whether it asks for a metric that a product declares."""
        vendor = declared.get("vendor")
        if self.metric_id not in (None, declared.get("metric_id")):
            return False
        if self.vendor is None:
            return self.metric_id is not None
        same = isinstance(vendor, dict) and str(vendor.get("domain")).lower() == self.vendor.domain.lower()
        return same and self.vendor.brand_id in (None, vendor.get("brand_id") if isinstance(vendor, dict) else None)


_UNDECLARED = Meta(description="No product of this seller declares it, so a filter on it matches none.")


class Filters(msgspec.Struct, frozen=True):
    """The filters that the catalogue supports; unknown ones exclude no product.

    The last ones, from ``required_performance_standards`` on, ask for what no product declares.
    """

    delivery_type: Annotated[str, word(("guaranteed", "non_guaranteed"), "How it is delivered.")] | None = None
    exclusivity: Annotated[str, Meta(description="Whether others may buy it, too.")] | None = None
    is_fixed_price: Annotated[bool, Meta(description="true: with a fixed price; false: with an auction.")] | None = None
    pricing_structures: Annotated[_Words, Meta(description="Any of these: fixed, auction, contingent.")] | None = None
    pricing_currencies: Annotated[_Words, Meta(description="Any of these ISO 4217 codes.")] | None = None
    channels: Annotated[list[_ChannelName], Meta(min_length=1, description="Any of these.")] | None = None
    format_ids: Annotated[list[_FormatRef], Meta(min_length=1, description="Takes any of these.")] | None = None
    format_kinds: Annotated[_Words, Meta(description="Takes any of these, for example image.")] | None = None
    format_option_refs: Annotated[list[_OptionRef], Meta(min_length=1, description="Takes any of these.")] | None = None
    required_metrics: Annotated[_Words, Meta(description="Reports all of these.")] | None = None
    required_features: Annotated[dict[str, Any], Meta(description="Has all that are true.")] | None = None
    required_vendor_metrics: (
        Annotated[list[_VendorMetric], Meta(min_length=1, description="Reports all of these.")] | None
    ) = None
    required_performance_standards: Annotated[Any, _UNDECLARED] = None
    required_axe_integrations: Annotated[Any, _UNDECLARED] = None
    required_geo_targeting: Annotated[Any, _UNDECLARED] = None
    signal_targeting: Annotated[Any, _UNDECLARED] = None
    trusted_match: Annotated[Any, _UNDECLARED] = None
    audience_activation_methods: Annotated[Any, _UNDECLARED] = None
    video_placement_types: Annotated[Any, _UNDECLARED] = None
    audio_distribution_types: Annotated[Any, _UNDECLARED] = None
    sponsored_placement_types: Annotated[Any, _UNDECLARED] = None
    social_placement_surfaces: Annotated[Any, _UNDECLARED] = None

    @property
    def undeclared(self) -> bool:
        """Whether a filter asks for what no product declares."""
        names = self.__struct_fields__
        return any(getattr(self, name) for name in names[names.index("required_performance_standards") :])


def narrowed(product: Product, filters: Filters, agent_url: str) -> Product | None:
    """The product with its matching pricing options; None if it or all of them don't match.

    Args:
        product: A product on offer.
        filters: The filters.
        agent_url: This server's URL, which qualifies the names of formats.
    """
    if not all(_matches(product, filters, agent_url)):
        return None
    options = tuple(option for option in product.pricing_options if all(_price_matches(option, filters)))
    return msgspec.structs.replace(product, pricing_options=options) if options else None


def _matches(product: Product, filters: Filters, agent_url: str) -> Iterator[bool]:
    yield not filters.undeclared
    yield filters.delivery_type in (None, product.delivery_type)
    yield filters.exclusivity in (None, "none")
    yield not filters.channels or not set(filters.channels).isdisjoint(product.channels)
    yield not filters.required_metrics or set(filters.required_metrics) <= set(product.reported_metrics)
    yield all(
        any(wanted.matches(declared) for declared in product.vendor_metrics)
        for wanted in filters.required_vendor_metrics or ()
    )
    yield all(name in FEATURES for name, wanted in (filters.required_features or {}).items() if wanted is True)
    yield not filters.format_ids or any(_accepts(product, ref, agent_url) for ref in filters.format_ids)
    options = product.options(agent_url)
    yield not filters.format_kinds or any(option.format_kind in filters.format_kinds for option in options)
    local = {ref.format_option_id for ref in filters.format_option_refs or () if ref.scope == "product"}
    yield not filters.format_option_refs or any(option.format_option_id in local for option in options)


def _accepts(product: Product, ref: _FormatRef, agent_url: str) -> bool:
    agents = {canonical_url(known.agent_url) for known in product.format_ids(agent_url) if known.id == ref.id}
    return bool(agents) and (ref.agent_url is None or canonical_url(ref.agent_url) in agents)


def _price_matches(option: PricingOption, filters: Filters) -> Iterator[bool]:
    yield filters.is_fixed_price is None or option.structure == ("fixed" if filters.is_fixed_price else "auction")
    yield not filters.pricing_structures or option.structure in filters.pricing_structures
    yield not filters.pricing_currencies or option.currency in filters.pricing_currencies
