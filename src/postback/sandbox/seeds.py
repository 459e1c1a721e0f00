"""Fixtures of the official test kits: partial products, prices, accounts and media buys, completed with defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar, get_args

import msgspec
from msgspec import Meta

from postback.auth.principal import Account
from postback.media_buys.media_buy import MediaBuy, Package
from postback.products.formats import FormatKind, FormatOption
from postback.products.pricing_rules import completed_price, pricing_errors
from postback.products.product import TARGETS, Catalogue, Money, PricingOption, Product
from postback.protocol.enums import AccountStatus, Channel
from postback.protocol.type_errors import describe_validation_error
from postback.sandbox.statuses import FORCED

__all__ = [
    "BuyFixture",
    "FixtureError",
    "read_fixture",
    "seeded_account",
    "seeded_buy",
    "seeded_price",
    "seeded_product",
]

_T = TypeVar("_T")

_DERIVED = frozenset(
    (
        "product_id",
        "name",
        "description",
        "delivery_type",
        "channels",
        "format_ids",
        "format_options",
        "pricing_options",
    )
)
"""Fields of a product's fixture that become fields of the product; the others are kept as they are sent."""

_ANY_PRICE = PricingOption(pricing_option_id="default", pricing_model="cpm", currency="USD", floor_price=1.0)
"""The price of a seeded product until one is seeded."""

_ANY_FORMAT = "display_300x250"
_FORMAT_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_CHANNELS = {"video": "olv"}
"""Channels of the test kits → AdCP's."""

_FLIGHT = timedelta(days=30)

_Time = Annotated[datetime, Meta(tz=True)]


class FixtureError(ValueError):
    """What is to be seeded or simulated is invalid, or more than there may be; the message says why."""


class _FormatFixture(msgspec.Struct, frozen=True):
    id: str
    agent_url: str | None = None


class _Metrics(msgspec.Struct, frozen=True):
    supported_metrics: list[str] | None = None


class _Targets(msgspec.Struct, frozen=True):
    supported_targets: list[str] | None = None


class _Reporting(msgspec.Struct, frozen=True):
    available_metrics: list[str] | None = None
    vendor_metrics: list[dict[str, Any]] | None = None


class _ProductFixture(msgspec.Struct, frozen=True):
    """The fields of a product that are read; absent and null ones get defaults."""

    name: str | None = None
    description: str | None = None
    delivery_type: str | None = None
    channels: list[str] | None = None
    format_ids: list[_FormatFixture] | None = None
    format_options: list[dict[str, Any]] | None = None
    metric_optimization: _Metrics | None = None
    conversion_tracking: _Targets | None = None
    reporting_capabilities: _Reporting | None = None
    creative_policy: dict[str, Any] | None = None
    pricing_options: list[dict[str, Any]] | None = None


class _Brand(msgspec.Struct, frozen=True):
    domain: str | None = None


class _AccountFixture(msgspec.Struct, frozen=True):
    brand: _Brand | None = None
    operator: str | None = None
    name: str | None = None
    status: AccountStatus | None = None


class _PackageFixture(msgspec.Struct, frozen=True):
    package_id: str | None = None
    product_id: str = ""
    pricing_option_id: str = ""
    budget: Money | None = None
    context: dict[str, Any] | None = None


class BuyFixture(msgspec.Struct, frozen=True):
    """The supported fields of a media buy.

    Attributes:
        account: The account that it is created in (core/account-ref.json).
        status: The status to force; None: the one that follows from its times.
        currency: ISO 4217 code of its amounts.
        total_budget: Its budget; None: the sum of the packages', or 1000.
        start_time: When it starts; None: now.
        end_time: When it ends; None: 30 days later.
        packages: Its packages; empty: one, of the first product with a price in its currency.
        context: The buyer's context.
    """

    account: dict[str, Any] | None = None
    status: str | None = None
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")] = "USD"
    total_budget: Money | None = None
    start_time: _Time | None = None
    end_time: _Time | None = None
    packages: tuple[_PackageFixture, ...] = ()
    context: dict[str, Any] | None = None


def read_fixture(fixture: object, shape: type[_T], called: str = "params.fixture") -> _T:
    """Parse a fixture as this type; unknown fields are ignored.

    Args:
        fixture: The fixture, or what was derived from it.
        shape: The type.
        called: Its name in errors.

    Raises:
        FixtureError: A field has the wrong type.
    """
    try:
        return msgspec.convert(fixture, shape)
    except msgspec.ValidationError as error:
        path, wrong = describe_validation_error(str(error))
        raise FixtureError(f"{called}: {path.lstrip('.') or 'it'} {wrong}.") from None


def seeded_product(product_id: str, fixture: Mapping[str, Any], current: Product | None) -> Product:
    """The product of a fixture. Without prices it has those of the current product; other missing fields get defaults.

    Raises:
        FixtureError: The fixture has a value that a product can't have.
    """
    parsed = read_fixture(fixture, _ProductFixture)
    channels = [_CHANNELS.get(channel, channel) for channel in parsed.channels or ()]
    options = _format_options(parsed.format_options or ())
    prices = [_price(price) for price in parsed.pricing_options or ()]
    current_prices = current.pricing_options if current else (_ANY_PRICE,)
    fields = {
        "product_id": product_id,
        "name": parsed.name or product_id.replace("_", " "),
        "description": parsed.description or " ".join(["Seeded:", *channels]),
        "delivery_type": parsed.delivery_type or "non_guaranteed",
        "channels": [channel for channel in channels if channel in get_args(Channel)],
        "publisher_domains": ["sandbox.example"],
        "formats": _formats(parsed),
        "format_options": msgspec.to_builtins(options),
        "pricing_options": msgspec.to_builtins(prices or current_prices),
        "metrics": (parsed.metric_optimization and parsed.metric_optimization.supported_metrics) or [],
        "seeded": {name: value for name, value in fixture.items() if name not in _DERIVED and value is not None},
    }
    if targets := _targets(parsed):
        fields["conversion_targets"] = targets
    return read_fixture(fields, Product, "The seeded product")


def seeded_price(pricing_option_id: str, fixture: Mapping[str, Any], product: Product) -> Product:
    """The product with a seeded price before its other prices.

    Raises:
        FixtureError: The fixture has a value that a price can't have.
    """
    option = _price({**fixture, "pricing_option_id": pricing_option_id})
    others = [
        other
        for other in product.pricing_options
        if other.pricing_option_id != pricing_option_id and other != _ANY_PRICE
    ]
    return msgspec.structs.replace(product, pricing_options=(option, *others))


def seeded_account(account_id: str, fixture: Mapping[str, Any]) -> Account:
    """The sandbox account of a fixture.

    Raises:
        FixtureError: A field has the wrong type.
    """
    parsed = read_fixture(fixture, _AccountFixture)
    domain = parsed.brand.domain if parsed.brand else None
    return Account(
        account_id,
        parsed.name or account_id,
        domain,
        parsed.operator or domain,
        sandbox=True,
        status=parsed.status or "active",
        billing="operator",
    )


def seeded_buy(catalogue: Catalogue, account_id: str, media_buy_id: str, fixture: BuyFixture) -> MediaBuy:
    """The media buy of a fixture.

    Raises:
        FixtureError: It ends before it starts, has a status that this server doesn't use, or has no packages while no
            product has a price in its currency.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    start = _moment(fixture.start_time) or now
    end = _moment(fixture.end_time) or max(start, now) + _FLIGHT
    if end <= start:
        raise FixtureError("params.fixture.end_time must be after its start_time.")
    if fixture.status is not None and fixture.status not in FORCED:
        raise FixtureError(f"params.fixture.status must be one of {', '.join(FORCED)}.")
    lines = fixture.packages or (_first_sold_in(catalogue, fixture.currency),)
    share = (1000.0 if fixture.total_budget is None else fixture.total_budget) / len(lines)
    packages = tuple(
        Package(
            package_id=line.package_id or f"{media_buy_id}_{number}",
            product_id=line.product_id,
            pricing_option_id=line.pricing_option_id,
            price=option.price if option else None,
            budget=share if line.budget is None else line.budget,
            context=line.context,
        )
        for number, line in enumerate(lines, 1)
        for option in [catalogue.pricing_option(line.product_id, line.pricing_option_id)]
    )
    return MediaBuy(
        account_id=account_id,
        media_buy_id=media_buy_id,
        currency=fixture.currency,
        start_at=start,
        end_at=end,
        created_at=now,
        total_budget=fixture.total_budget or sum(package.budget for package in packages),
        packages=packages,
        context=fixture.context,
    )


def _price(fields: Mapping[str, Any]) -> PricingOption:
    """The price of a fixture. By default it is a CPM in US dollars, and an auction if it has no fixed price.

    Raises:
        FixtureError: It has a value that a price of its model can't have.
    """
    known = {field.name for field in msgspec.structs.fields(PricingOption)}
    given = {name: value for name, value in fields.items() if name in known and value is not None}
    option = read_fixture(completed_price(given), PricingOption, "The seeded price")
    if wrong := next(pricing_errors(option, "it"), None):
        raise FixtureError(f"The seeded price: {wrong}")
    return option


def _targets(fixture: _ProductFixture) -> list[str]:
    """The targets that its event goals may have; those that AdCP doesn't know are left out."""
    sent = (fixture.conversion_tracking and fixture.conversion_tracking.supported_targets) or []
    return [target for target in sent if target in TARGETS]


def _formats(fixture: _ProductFixture) -> Sequence[str | dict[str, str]]:
    """The formats of a product: its format_ids, or else the ids of its format_options."""
    ids = [
        {"agent_url": named.agent_url, "id": named.id} if named.agent_url else named.id
        for named in fixture.format_ids or ()
    ]
    options = [
        name
        for option in fixture.format_options or ()
        if isinstance(name := option.get("format_option_id"), str) and _FORMAT_NAME.fullmatch(name)
    ]
    return ids or options or [_ANY_FORMAT]


def _format_options(options: Sequence[Mapping[str, Any]]) -> list[FormatOption]:
    """The format options that a product can have; unsupported fields and kinds are left out."""
    known = {field.name for field in msgspec.structs.fields(FormatOption)}
    offered = [option for option in options if option.get("format_kind") in get_args(FormatKind)]
    return [
        read_fixture(
            {name: value for name, value in option.items() if name in known}, FormatOption, "The seeded format"
        )
        for option in offered
    ]


def _moment(time: datetime | None) -> datetime | None:
    return time and time.astimezone(UTC).replace(microsecond=0)


def _first_sold_in(catalogue: Catalogue, currency: str) -> _PackageFixture:
    for product in catalogue.list():
        for option in product.pricing_options:
            if option.currency == currency:
                return _PackageFixture(product_id=product.product_id, pricing_option_id=option.pricing_option_id)
    raise FixtureError("No product has a price in params.fixture.currency. Seed a product and a price first.")
