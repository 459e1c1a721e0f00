"""Fixtures of the official test kits: partial products, prices, accounts and media buys, filled up to whole ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar, get_args

import msgspec
from msgspec import Meta

from postback.media_buys.budgets import Money
from postback.media_buys.buys import MediaBuy, Package
from postback.media_buys.formats import FormatKind, FormatOption
from postback.media_buys.products import Catalogue, PricingOption, Product
from postback.principal import Account
from postback.protocol.enums import AccountStatus, Channel
from postback.sandbox.statuses import FORCED
from postback.shapes import departure

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

_ANY_PRICE = PricingOption(pricing_option_id="default", pricing_model="cpm", currency="USD", floor_price=1.0)
"""What a seeded product costs until a price is seeded for it."""

_ANY_FORMAT = "display_300x250"
_FORMAT_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_CHANNELS = {"video": "olv"}
"""Words of the test kits → AdCP's."""

_FLIGHT = timedelta(days=30)

_Time = Annotated[datetime, Meta(tz=True)]


class FixtureError(ValueError):
    """A fixture says something that can't be; the text says what."""


class _FormatFixture(msgspec.Struct, frozen=True):
    id: str
    agent_url: str | None = None


class _Metrics(msgspec.Struct, frozen=True):
    supported_metrics: list[str] | None = None


class _ProductFixture(msgspec.Struct, frozen=True):
    """What is read of a product; absent and null members are made up."""

    name: str | None = None
    description: str | None = None
    delivery_type: str | None = None
    channels: list[str] | None = None
    format_ids: list[_FormatFixture] | None = None
    format_options: list[dict[str, Any]] | None = None
    metric_optimization: _Metrics | None = None
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
    """What is read of a media buy.

    Attributes:
        account: The account that it is made in (core/account-ref.json).
        status: The status that it is given; None: the one that its times give.
        currency: ISO 4217 code of its amounts.
        total_budget: What it may spend; None: the packages' budgets, or 1000.
        start_time: When it begins; None: now.
        end_time: When it ends; None: 30 days later.
        packages: Its lines; empty: one, of the first product that has a price in its currency.
        context: The buyer's own.
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
    """What a fixture says, as this shape; members that it doesn't know are passed over.

    Args:
        fixture: The fixture, or what was made of it.
        shape: What it must be.
        called: What errors call it.

    Raises:
        FixtureError: A member is not of its type.
    """
    try:
        return msgspec.convert(fixture, shape)
    except msgspec.ValidationError as error:
        path, wrong = departure(str(error))
        wrong = wrong if wrong.startswith("is ") else f"is wrong: {wrong}"
        raise FixtureError(f"{called}: {path.lstrip('.') or 'it'} {wrong}.") from None


def seeded_product(product_id: str, fixture: Mapping[str, Any], known: Product | None) -> Product:
    """The product of a fixture; prices that it leaves out are those that are known, and the rest is made up.

    Raises:
        FixtureError: The fixture says something that no product can have.
    """
    said = read_fixture(fixture, _ProductFixture)
    channels = [_CHANNELS.get(channel, channel) for channel in said.channels or ()]
    options = _format_options(said.format_options or ())
    known_prices = known.pricing_options if known else (_ANY_PRICE,)
    members = {
        "product_id": product_id,
        "name": said.name or product_id.replace("_", " "),
        "description": said.description or " ".join(["Seeded:", *channels]),
        "delivery_type": said.delivery_type or "non_guaranteed",
        "channels": [channel for channel in channels if channel in get_args(Channel)],
        "publisher_domains": ["sandbox.example"],
        "formats": _formats(said),
        "format_options": msgspec.to_builtins(options),
        "pricing_options": msgspec.to_builtins([_price(price) for price in said.pricing_options or ()] or known_prices),
        "metrics": (said.metric_optimization and said.metric_optimization.supported_metrics) or [],
    }
    return read_fixture(members, Product, "The seeded product")


def seeded_price(pricing_option_id: str, fixture: Mapping[str, Any], product: Product) -> Product:
    """The product with a seeded price before its others.

    Raises:
        FixtureError: The fixture says something that no price can have.
    """
    option = _price({**fixture, "pricing_option_id": pricing_option_id})
    others = [
        other
        for other in product.pricing_options
        if other.pricing_option_id != pricing_option_id and other != _ANY_PRICE
    ]
    return msgspec.structs.replace(product, pricing_options=(option, *others))


def seeded_account(account_id: str, fixture: Mapping[str, Any]) -> Account:
    """The account of a fixture, a sandbox.

    Raises:
        FixtureError: A member is not of its type.
    """
    said = read_fixture(fixture, _AccountFixture)
    domain = said.brand.domain if said.brand else None
    return Account(
        account_id,
        said.name or account_id,
        domain,
        said.operator or domain,
        sandbox=True,
        status=said.status or "active",
        billing="operator",
    )


def seeded_buy(catalogue: Catalogue, account_id: str, media_buy_id: str, fixture: BuyFixture) -> MediaBuy:
    """The media buy of a fixture.

    Raises:
        FixtureError: It ends before it begins, has a status that none has here, or names no package and no product is
            sold in its currency.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    start = _moment(fixture.start_time) or now
    end = _moment(fixture.end_time) or max(start, now) + _FLIGHT
    if end <= start:
        raise FixtureError("params.fixture.end_time must be after its start_time.")
    if fixture.status is not None and fixture.status not in FORCED:
        raise FixtureError(f"params.fixture.status must be one of {', '.join(FORCED)}.")
    lines = fixture.packages or (_sold_in(catalogue, fixture.currency),)
    share = (1000.0 if fixture.total_budget is None else fixture.total_budget) / len(lines)
    packages = tuple(
        Package(
            package_id=line.package_id or f"{media_buy_id}_{number}",
            product_id=line.product_id,
            pricing_option_id=line.pricing_option_id,
            budget=share if line.budget is None else line.budget,
            context=line.context,
        )
        for number, line in enumerate(lines, 1)
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


def _price(members: Mapping[str, Any]) -> PricingOption:
    """The price of a fixture: by auction when it names none, and by the thousand in dollars when it says nothing."""
    known = {field.name for field in msgspec.structs.fields(PricingOption)}
    defaults = {"pricing_model": "cpm", "currency": "USD"}
    said = {name: value for name, value in members.items() if name in known and value is not None}
    option = read_fixture(defaults | said, PricingOption, "The seeded price")
    if option.fixed_price is None and option.floor_price is None:
        return msgspec.structs.replace(option, floor_price=_ANY_PRICE.floor_price)
    return option


def _formats(said: _ProductFixture) -> Sequence[str | dict[str, str]]:
    """What the product takes: by its identifiers, or those of its options."""
    ids = [
        {"agent_url": named.agent_url, "id": named.id} if named.agent_url else named.id
        for named in said.format_ids or ()
    ]
    options = [
        name
        for option in said.format_options or ()
        if isinstance(name := option.get("format_option_id"), str) and _FORMAT_NAME.fullmatch(name)
    ]
    return ids or options or [_ANY_FORMAT]


def _format_options(options: Sequence[Mapping[str, Any]]) -> list[FormatOption]:
    """The declarations that products here can have; members and kinds that they can't are left out."""
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


def _sold_in(catalogue: Catalogue, currency: str) -> _PackageFixture:
    for product in catalogue.list():
        for option in product.pricing_options:
            if option.currency == currency:
                return _PackageFixture(product_id=product.product_id, pricing_option_id=option.pricing_option_id)
    raise FixtureError("No product is sold in params.fixture.currency. Seed a product and a price first.")
