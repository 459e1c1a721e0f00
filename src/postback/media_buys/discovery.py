"""get_products: what is on offer, best match of the buyer's words first."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from postback.accounts.references import resolve_account
from postback.errors import InvalidRequest
from postback.media_buys.products import PricingOption, Product
from postback.paging import Pagination, bad_cursor, page_info, position_of

if TYPE_CHECKING:
    from postback.tasks import TaskCall

__all__ = ["GetProductsRequest", "get_products"]

_WORD = re.compile(r"\w{3,}")
_OPTIONAL = frozenset(("channels", "conversion_tracking", "brief_relevance"))
"""What ``fields`` can leave out: a product without its other members would not be one by AdCP's schema."""


class _FormatId(msgspec.Struct, frozen=True):
    id: str


class _Filters(msgspec.Struct, frozen=True):
    """The filters that the catalogue can decide (core/product-filters.json); what it knows nothing of excludes none."""

    delivery_type: str | None = None
    is_fixed_price: bool | None = None
    pricing_currencies: Annotated[list[str], Meta(min_length=1)] | None = None
    channels: Annotated[list[str], Meta(min_length=1)] | None = None
    format_ids: Annotated[list[_FormatId], Meta(min_length=1)] | None = None


class GetProductsRequest(msgspec.Struct, frozen=True):
    """The task's own arguments (media-buy/get-products-request.json).

    Attributes:
        buying_mode: "brief" orders by the brief's words, "wholesale" lists in the seller's order.
        brief: What the buyer looks for, in words.
        filters: What products must be.
        fields: Members to show; None shows all.
        account: core/account-ref.json, or None.
        pagination: Which page.
    """

    buying_mode: Literal["brief", "wholesale", "refine"] = "brief"
    brief: str = ""
    filters: _Filters = _Filters()
    fields: Annotated[list[str], Meta(min_length=1)] | None = None
    account: Any = None
    pagination: Pagination = Pagination()


class _Match(NamedTuple):
    product: Product
    words: list[str]


async def get_products(call: TaskCall) -> dict[str, Any]:
    """List the products that fit the filters. Words order them and never exclude any.

    Returns:
        The completed arm of media-buy/get-products-response.json, without the envelope.

    Raises:
        InvalidRequest: A malformed argument, or the mode "refine", which is not offered.
        AccountNotFound, AccountAmbiguous: No single account fits the reference.
    """
    request = call.arguments.to(GetProductsRequest)
    if request.buying_mode == "refine":
        raise InvalidRequest('buying_mode "refine" is not offered; use "brief" or "wholesale".', field="buying_mode")
    account = resolve_account(call.principal, request.account) if request.account is not None else None
    fitting = [p for product in call.services.catalogue.list() if (p := _narrowed(product, request.filters))]
    matches = _ordered(fitting, request.brief if request.buying_mode == "brief" else "")
    page, last = _page(matches, request.pagination)
    url = call.services.settings.public_url
    answer: dict[str, Any] = {
        "products": [_shown(match, url, request.fields) for match in page],
        "pagination": page_info(last),
        "cache_scope": "public",  # every account sees the same catalogue
    }
    if account and account.sandbox:
        answer["sandbox"] = True
    return answer


def _narrowed(product: Product, filters: _Filters) -> Product | None:
    """The product with those of its prices that fit; None when it or all of them don't."""
    if filters.delivery_type and product.delivery_type != filters.delivery_type:
        return None
    if filters.channels and not set(filters.channels) & set(product.channels):
        return None
    if filters.format_ids and not {wanted.id for wanted in filters.format_ids} & set(product.formats):
        return None
    tests: list[Callable[[PricingOption], bool]] = []
    if filters.is_fixed_price is not None:
        tests.append(lambda option: (option.fixed_price is not None) == filters.is_fixed_price)
    if filters.pricing_currencies:
        currencies = filters.pricing_currencies
        tests.append(lambda option: option.currency in currencies)
    options = tuple(option for option in product.pricing_options if all(test(option) for test in tests))
    return msgspec.structs.replace(product, pricing_options=options) if options else None


def _ordered(products: list[Product], brief: str) -> list[_Match]:
    """Those that share most words with the brief first; the seller's order decides between equals."""
    wanted = _words(brief)
    matches = [_Match(product, sorted(wanted & _words(product.words))) for product in products]
    return sorted(matches, key=lambda match: (-match.product.seeded, -len(match.words)))


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


def _page(matches: list[_Match], pagination: Pagination) -> tuple[list[_Match], str | None]:
    """The matches of a page, and the last one's product_id when others follow."""
    ids = [match.product.product_id for match in matches]
    after = position_of(pagination, str)
    if after is not None and after not in ids:
        raise bad_cursor()
    begin = 0 if after is None else ids.index(after) + 1
    end = begin + pagination.max_results
    return matches[begin:end], ids[end - 1] if end < len(ids) else None


def _shown(match: _Match, url: str, fields: list[str] | None) -> dict[str, Any]:
    shown = match.product.described(url)
    if match.words:
        shown["brief_relevance"] = f"Shares with the brief: {', '.join(match.words)}."
    return {name: value for name, value in shown.items() if not fields or name in fields or name not in _OPTIONAL}
