"""Products: what a seller offers for sale (core/product.json, pricing-options/*.json)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from postback.media_buys.budgets import Money
from postback.media_buys.formats import FormatId, FormatName, FormatOption, format_options
from postback.media_buys.goals import TARGETS, TargetKind
from postback.protocol.domains import DOMAIN, MAX_DOMAIN_LENGTH
from postback.protocol.enums import Channel

__all__ = ["FEATURES", "REPORTED_METRICS", "Catalogue", "PricingOption", "Product"]

_Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,128}\Z")]
_Text = Annotated[str, Meta(pattern=r"\S")]
_Domain = Annotated[str, Meta(pattern=rf"^{DOMAIN}\Z", max_length=MAX_DOMAIN_LENGTH)]

FEATURES = ("conversion_tracking",)
"""What is supported of core/media-buy-features.json, for every product."""

REPORTED_METRICS = ("impressions", "spend", "clicks", "conversions", "conversion_value", "roas", "cost_per_acquisition")
"""What is reported of every product (enums/available-metric.json)."""


class PricingOption(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A way to pay for a product.

    Attributes:
        pricing_option_id: Unique in the product.
        pricing_model: What is paid for.
        currency: ISO 4217 code of all its amounts.
        fixed_price: Price of one unit; None when an auction finds it.
        floor_price: Lowest bid of an auction, or None.
        min_spend_per_package: Lowest budget of a package, or None.
    """

    pricing_option_id: _Id
    pricing_model: Literal["cpm", "vcpm", "cpc", "cpcv", "flat_rate"]
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
    fixed_price: Money | None = None
    floor_price: Money | None = None
    min_spend_per_package: Money | None = None


class Product(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Something that a package can buy, as the seller's products.toml declares it.

    Attributes:
        product_id: Unique in the catalogue.
        name: For people.
        description: For people and for LLMs that choose.
        delivery_type: Whether delivery is guaranteed.
        publisher_domains: Domains of the publishers on which it runs.
        formats: The creative formats that it takes, by name: this server's, or with the agent that defines them.
        pricing_options: The ways to pay for it.
        channels: What it is sold as.
        conversion_targets: What an event goal may aim at.
        format_options: The same as AdCP 3.1 declares formats; made of the names when absent.
        metrics: What a metric goal may name (core/optimization-goal.json), as viewed_seconds.
    """

    product_id: _Id
    name: _Text
    description: _Text
    delivery_type: Literal["guaranteed", "non_guaranteed"]
    publisher_domains: Annotated[tuple[_Domain, ...], Meta(min_length=1)]
    formats: Annotated[tuple[FormatName | FormatId, ...], Meta(min_length=1)]
    pricing_options: Annotated[tuple[PricingOption, ...], Meta(min_length=1)]
    channels: tuple[Channel, ...] = ()
    conversion_targets: Annotated[tuple[TargetKind, ...], Meta(min_length=1)] = TARGETS
    format_options: tuple[FormatOption, ...] = ()
    metrics: tuple[_Id, ...] = ()

    def pricing_option(self, pricing_option_id: str) -> PricingOption | None:
        """The pricing option with this id, or None."""
        return next((p for p in self.pricing_options if p.pricing_option_id == pricing_option_id), None)

    @cached_property
    def words(self) -> str:
        """Everything that is said about it in words."""
        formats = (entry.id if isinstance(entry, FormatId) else entry for entry in self.formats)
        said = (self.name, self.description, *self.channels, *formats, *self.publisher_domains)
        return " ".join(said).replace("_", " ")

    def format_ids(self, agent_url: str) -> tuple[FormatId, ...]:
        """Its formats; those that are only names belong to the agent at ``agent_url``."""
        return tuple(
            entry if isinstance(entry, FormatId) else FormatId(agent_url=agent_url, id=entry) for entry in self.formats
        )

    def options(self, agent_url: str) -> tuple[FormatOption, ...]:
        """Its formats as AdCP 3.1 declares them; none where nothing is declared and no name tells."""
        return self.format_options or format_options(self.format_ids(agent_url))

    def described(self, agent_url: str) -> dict[str, Any]:
        """The product as get_products shows it, the same in every release.

        Args:
            agent_url: Where this server is reached; it qualifies the identifiers of the formats.
        """
        options = self.options(agent_url)
        return {
            "product_id": self.product_id,
            "name": self.name,
            "description": self.description,
            "publisher_properties": [
                {"publisher_domain": domain, "selection_type": "all"} for domain in self.publisher_domains
            ],
            **({"channels": list(self.channels)} if self.channels else {}),
            "format_ids": msgspec.to_builtins(self.format_ids(agent_url)),
            **({"format_options": msgspec.to_builtins(options)} if options else {}),
            "delivery_type": self.delivery_type,
            "pricing_options": msgspec.to_builtins(self.pricing_options),
            "reporting_capabilities": {
                "available_reporting_frequencies": ["daily"],
                "expected_delay_minutes": 0,
                "timezone": "UTC",
                "supports_webhooks": False,
                "available_metrics": list(REPORTED_METRICS),
                "date_range_support": "date_range",
            },
            "conversion_tracking": {
                "supported_targets": list(self.conversion_targets),
                "platform_managed": False,
            },
            **({"metric_optimization": {"supported_metrics": list(self.metrics)}} if self.metrics else {}),
        }


class Catalogue:
    """The products on offer, in the seller's order."""

    def __init__(self, products: Iterable[Product]) -> None:
        self._by_id = {product.product_id: product for product in products}

    def get(self, product_id: str) -> Product | None:
        """The product with this id, or None."""
        return self._by_id.get(product_id)

    def list(self) -> list[Product]:
        """All products."""
        return list(self._by_id.values())

    def rank(self, product_id: str) -> int:
        """How far a product precedes others, whatever a buyer looks for; 0 when words decide."""
        return 0
