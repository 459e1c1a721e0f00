"""Products: what a seller offers for sale (core/product.json, pricing-options/*.json)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.event_sources.health import HealthIssue, Status
from postback.products.formats import FormatId, FormatName, FormatOption, format_options
from postback.protocol.domains import DOMAIN, MAX_DOMAIN_LENGTH
from postback.protocol.enums import EVENT_TYPES, Channel, PricingModel
from postback.protocol.json_schema import documented, word

__all__ = [
    "FEATURES",
    "REPORTED_METRICS",
    "TARGETS",
    "Catalogue",
    "MeasurementReadiness",
    "Money",
    "Price",
    "PricingOption",
    "Product",
    "ShownProduct",
    "TargetKind",
]

Money = Annotated[float, Meta(ge=0, le=1e12)]
"""An amount in a currency that is named elsewhere."""

TargetKind = Literal["cost_per", "per_ad_spend", "maximize_value"]

TARGETS: tuple[TargetKind, ...] = ("cost_per", "per_ad_spend", "maximize_value")
"""The targets that an event goal may have."""

_Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,128}\Z")]
_Text = Annotated[str, Meta(pattern=r"\S")]
_Domain = Annotated[str, Meta(pattern=rf"^{DOMAIN}\Z", max_length=MAX_DOMAIN_LENGTH)]

FEATURES = ("conversion_tracking",)
"""The supported features of core/media-buy-features.json, for every product."""

REPORTED_METRICS = ("impressions", "spend", "clicks", "conversions", "conversion_value", "roas", "cost_per_acquisition")
"""The metrics that are reported for every product (enums/available-metric.json)."""


class Price(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a pricing option asks for, in its currency: packages keep it, since the seller may change the option.

    Attributes:
        pricing_model: What is paid for.
        fixed_price: Price of one unit; None when an auction finds it.
        floor_price: Lowest bid of an auction.
        commission_rate: Share of the conversions' value, above 0 to 1.
    """

    pricing_model: PricingModel
    fixed_price: float | None = None
    floor_price: float | None = None
    commission_rate: float | None = None


class PricingOption(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A way to pay for a product."""

    pricing_option_id: Annotated[_Id, Meta(description="Unique in the product.")]
    pricing_model: Annotated[PricingModel, Meta(description="What is paid for.")]
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z", description="ISO 4217 code of all its amounts.")]
    fixed_price: Annotated[Money, Meta(description="Price of one unit; absent when an auction finds it.")] | None = None
    floor_price: Annotated[Money, Meta(description="Lowest bid of an auction.")] | None = None
    min_spend_per_package: Annotated[Money, Meta(description="Lowest budget of a package.")] | None = None
    parameters: Annotated[dict[str, Any], Meta(description="What a unit is; depends on the pricing model.")] | None = (
        None
    )
    event_type: (
        Annotated[str, Meta(min_length=1), word(EVENT_TYPES, "The conversion that is paid for: cpa, revenue_share.")]
        | None
    ) = None
    custom_event_name: Annotated[str, Meta(min_length=1, description="Its name, for the event_type custom.")] | None = (
        None
    )
    event_source_id: (
        Annotated[str, Meta(min_length=1, description="The event source whose conversions are paid for.")] | None
    ) = None
    commission_rate: (
        Annotated[float, Meta(gt=0, le=1, description="Share of the conversions' value: revenue_share.")] | None
    ) = None
    commission_basis_description: (
        Annotated[str, Meta(min_length=1, max_length=1000, description="What counts as that value.")] | None
    ) = None
    price_guidance: Annotated[dict[str, Any], Meta(description="What winning bids were.")] | None = None
    max_bid: Annotated[bool, Meta(description="Whether a bid is the most that is paid.")] | None = None
    price_breakdown: Annotated[dict[str, Any], Meta(description="How the price was derived.")] | None = None
    eligible_adjustments: Annotated[tuple[str, ...], Meta(description="Adjustments that apply.")] | None = None

    @property
    def price(self) -> Price:
        """What it asks for."""
        return Price(
            pricing_model=self.pricing_model,
            fixed_price=self.fixed_price,
            floor_price=self.floor_price,
            commission_rate=self.commission_rate,
        )

    @property
    def structure(self) -> Literal["fixed", "auction", "contingent"]:
        """What determines the price (enums/pricing-structure.json)."""
        if self.pricing_model == "revenue_share":
            return "contingent"
        return "auction" if self.fixed_price is None else "fixed"


class PublisherProperties(msgspec.Struct, frozen=True):
    """The publisher properties that a product runs on (core/publisher-property-selector.json)."""

    publisher_domain: Annotated[str, Meta(description="Domain of the publisher.")]
    selection_type: Annotated[str, Meta(description="all: all of its properties.")] = "all"


class ReportingCapabilities(msgspec.Struct, frozen=True, kw_only=True):
    """core/reporting-capabilities.json: the same for every product."""

    available_reporting_frequencies: Annotated[tuple[str, ...], Meta(description="How fine a report can be.")] = (
        "daily",
    )
    expected_delay_minutes: Annotated[int, Meta(description="How late a report is.")] = 0
    timezone: Annotated[str, Meta(description="Where a day begins and ends.")] = "UTC"
    supports_webhooks: Annotated[bool, Meta(description="Whether reports are pushed.")] = False
    available_metrics: Annotated[tuple[str, ...], Meta(description="What is reported.")] = REPORTED_METRICS
    date_range_support: Annotated[str, Meta(description="date_range: a report may have any period.")] = "date_range"


class ConversionTracking(msgspec.Struct, frozen=True):
    """The targets that event goals of a product may have."""

    supported_targets: Annotated[tuple[TargetKind, ...], Meta(description="Kinds of target that a goal may have.")]
    platform_managed: Annotated[bool, Meta(description="Whether the seller chooses the goals.")] = False


class MetricOptimization(msgspec.Struct, frozen=True):
    """The metrics that metric goals of a product may have."""

    supported_metrics: Annotated[tuple[str, ...], Meta(description="Metrics that a goal may name.")]


class MeasurementReadiness(msgspec.Struct, kw_only=True, frozen=True):
    """Whether an account's event sources suffice for a product (core/measurement-readiness.json)."""

    status: Annotated[Status, Meta(description="The health status of the sources that it takes.")]
    required_event_types: Annotated[
        list[Annotated[str, word(EVENT_TYPES, "An event type.")]] | UnsetType,
        Meta(description="What its prices are paid for; absent when it is nothing."),
    ] = UNSET
    missing_event_types: Annotated[
        list[Annotated[str, word(EVENT_TYPES, "An event type.")]] | UnsetType,
        Meta(description="Those of them that no event source accepts."),
    ] = UNSET
    issues: Annotated[list[HealthIssue] | UnsetType, Meta(description="What to do, the most severe first.")] = UNSET


class ShownProduct(msgspec.Struct, frozen=True, kw_only=True):
    """A product as get_products shows it (core/product.json), the same in every release."""

    product_id: Annotated[str, Meta(description="Names it in create_media_buy.")]
    name: Annotated[str, Meta(description="For people.")]
    description: Annotated[str, Meta(description="What it is.")]
    publisher_properties: Annotated[tuple[PublisherProperties, ...], Meta(description="Where it runs.")]
    channels: Annotated[tuple[Channel, ...] | UnsetType, Meta(description="What it is sold as.")] = UNSET
    format_ids: Annotated[tuple[FormatId, ...], Meta(description="The creative formats that it takes.")]
    format_options: Annotated[
        tuple[FormatOption, ...] | UnsetType, Meta(description="The same as AdCP 3.1 declares formats.")
    ] = UNSET
    delivery_type: Annotated[
        Literal["guaranteed", "non_guaranteed"], Meta(description="Whether delivery is guaranteed.")
    ]
    pricing_options: Annotated[tuple[PricingOption, ...], documented("The ways to pay for it.", minItems=1)]
    reporting_capabilities: Annotated[ReportingCapabilities, Meta(description="What is reported, and how often.")] = (
        ReportingCapabilities()
    )
    conversion_tracking: Annotated[
        ConversionTracking | UnsetType, Meta(description="What its event goals may aim at.")
    ] = UNSET
    metric_optimization: Annotated[
        MetricOptimization | UnsetType, Meta(description="What its metric goals may name.")
    ] = UNSET
    measurement_readiness: Annotated[
        MeasurementReadiness | UnsetType, Meta(description="Whether the account's event sources suffice for it.")
    ] = UNSET
    brief_relevance: Annotated[str | UnsetType, Meta(description="Words that it shares with the brief.")] = UNSET


class Product(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A product that a package can buy, as the seller's products.toml declares it.

    Attributes:
        product_id: Unique in the catalogue.
        name: Display name.
        description: For people, and for LLMs that choose products.
        delivery_type: Whether delivery is guaranteed.
        publisher_domains: Domains of the publishers that it runs on.
        formats: The creative formats that it accepts: names of this server's, or with the agent that defines them.
        pricing_options: The ways to pay for it.
        channels: The channels that it is sold in.
        conversion_targets: The targets that event goals may have.
        format_options: The formats as AdCP 3.1 declares them; derived from the names when absent.
        metrics: The metrics that metric goals may have (core/optimization-goal.json), for example viewed_seconds.
        seeded: Further fields of a product that a test controller seeded, as sent; they win over what is derived.
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
    seeded: dict[str, Any] = {}

    @property
    def reported_metrics(self) -> tuple[str, ...]:
        """The metrics that its reports are said to have (enums/available-metric.json)."""
        seeded = self._seeded_reporting.get("available_metrics")
        return tuple(seeded) if isinstance(seeded, list) and seeded else REPORTED_METRICS

    @property
    def vendor_metrics(self) -> list[dict[str, Any]]:
        """The metrics of measurement vendors that it is said to report; only seeded products have any."""
        seeded = self._seeded_reporting.get("vendor_metrics")
        return [entry for entry in seeded if isinstance(entry, dict)] if isinstance(seeded, list) else []

    @property
    def _seeded_reporting(self) -> dict[str, Any]:
        seeded = self.seeded.get("reporting_capabilities")
        return seeded if isinstance(seeded, dict) else {}

    def pricing_option(self, pricing_option_id: str) -> PricingOption | None:
        """The pricing option with this id, or None."""
        return next((p for p in self.pricing_options if p.pricing_option_id == pricing_option_id), None)

    @cached_property
    def words(self) -> str:
        """All of its text, for matching a brief."""
        formats = (entry.id if isinstance(entry, FormatId) else entry for entry in self.formats)
        texts = (self.name, self.description, *self.channels, *formats, *self.publisher_domains)
        return " ".join(texts).replace("_", " ")

    def format_ids(self, agent_url: str) -> tuple[FormatId, ...]:
        """Its formats; plain names belong to the agent at ``agent_url``."""
        return tuple(
            entry if isinstance(entry, FormatId) else FormatId(agent_url=agent_url, id=entry) for entry in self.formats
        )

    def options(self, agent_url: str) -> tuple[FormatOption, ...]:
        """Its formats as AdCP 3.1 declares them; empty if none is declared and no name is descriptive."""
        return self.format_options or format_options(self.format_ids(agent_url))

    def shown(self, agent_url: str) -> ShownProduct:
        """The product as get_products shows it.

        Args:
            agent_url: This server's URL, which qualifies the identifiers of the formats.
        """
        return ShownProduct(
            product_id=self.product_id,
            name=self.name,
            description=self.description,
            publisher_properties=tuple(map(PublisherProperties, self.publisher_domains)),
            channels=self.channels or UNSET,
            format_ids=self.format_ids(agent_url),
            format_options=self.options(agent_url) or UNSET,
            delivery_type=self.delivery_type,
            pricing_options=self.pricing_options,
            conversion_tracking=ConversionTracking(self.conversion_targets),
            metric_optimization=MetricOptimization(self.metrics) if self.metrics else UNSET,
        )


class Catalogue:
    """The products on offer, in the seller's order."""

    def __init__(self, products: Iterable[Product]) -> None:
        self._by_id = {product.product_id: product for product in products}

    def get(self, product_id: str) -> Product | None:
        """The product with this id, or None."""
        return self._by_id.get(product_id)

    def pricing_option(self, product_id: str, pricing_option_id: str) -> PricingOption | None:
        """A product's pricing option with this id, or None."""
        product = self.get(product_id)
        return product.pricing_option(pricing_option_id) if product else None

    def list(self) -> list[Product]:
        """All products."""
        return list(self._by_id.values())

    def rank(self, product_id: str) -> int:
        """How far a product precedes others, whatever the brief is; 0 if the brief decides."""
        return 0
