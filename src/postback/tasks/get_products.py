"""get_products: the products on offer, best match of the brief first."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.accounts.references import AccountArgument, resolve_account
from postback.auth.principal import Account
from postback.errors import InvalidRequest, raise_all
from postback.products.filters import Filters, narrowed
from postback.products.product import Catalogue, MeasurementReadiness, Product, ShownProduct
from postback.products.readiness import measurement_readiness
from postback.products.refinements import (
    AppliedRefinement,
    Refinement,
    refined,
    refinement_errors,
    refinements_applied,
)
from postback.products.rendering import released, with_seeded_fields
from postback.protocol.json_schema import published_as
from postback.protocol.pagination import PageInfo, Pagination, bad_cursor, page_info, position_of
from postback.protocol.releases import Release
from postback.tasks.call import TaskCall
from postback.tasks.task import Task

__all__ = ["BUYING_MODES", "GET_PRODUCTS", "GetProductsRequest", "GetProductsResponse", "get_products"]

BuyingMode = Literal["brief", "wholesale", "refine"]
BUYING_MODES = get_args(BuyingMode)

Readiness = Callable[[Product], MeasurementReadiness]

_WORD = re.compile(r"\w{3,}")
_OPTIONAL = frozenset(("channels", "conversion_tracking", "measurement_readiness", "brief_relevance"))
"""What ``fields`` can leave out. AdCP's schema requires a product's other fields."""


class GetProductsRequest(msgspec.Struct, frozen=True):
    """The task's own arguments (media-buy/get-products-request.json)."""

    buying_mode: Annotated[
        BuyingMode,
        Meta(
            description="brief orders by the brief's words, wholesale lists in the seller's order, refine lists what "
            "refine asks for."
        ),
    ] = "brief"
    brief: Annotated[str, Meta(description="What you look for, in words.")] = ""
    refine: (
        Annotated[
            tuple[Refinement, ...],
            Meta(min_length=1, max_length=1000, description="Change requests, for the buying_mode refine."),
        ]
        | None
    ) = None
    filters: Annotated[Filters, Meta(description="What products must be.")] = Filters()
    fields: Annotated[list[str], Meta(min_length=1, description="Optional fields to show; all when absent.")] | None = (
        None
    )
    account: AccountArgument = None
    pagination: Annotated[Pagination, Meta(description="Which page.")] = Pagination()

    def refinements(self) -> tuple[Refinement, ...]:
        """The change requests; none in other modes.

        Raises:
            InvalidRequest: There are none in the mode "refine", or they are invalid.
        """
        if self.buying_mode != "refine":
            return ()
        if not self.refine:
            raise InvalidRequest('refine is required for the buying_mode "refine".', field="refine")
        raise_all([*refinement_errors(self.refine)])
        return self.refine


class _Match(NamedTuple):
    product: Product
    words: list[str]


class GetProductsResponse(msgspec.Struct, kw_only=True):
    """The completed arm of media-buy/get-products-response.json, without the envelope."""

    products: Annotated[
        list[Any], published_as(Annotated[list[ShownProduct], Meta(description="Best match of the brief first.")])
    ]
    pagination: Annotated[PageInfo, Meta(description="What follows.")]
    cache_scope: Annotated[
        Literal["public", "account"],
        Meta(description="account when products show measurement_readiness; else every account sees the same."),
    ] = "public"
    refinement_applied: Annotated[
        list[AppliedRefinement] | UnsetType, Meta(description="The outcome of each change request.")
    ] = UNSET
    sandbox: Annotated[bool | UnsetType, Meta(description="True: the account is a sandbox.")] = UNSET


async def get_products(call: TaskCall) -> GetProductsResponse:
    """List the products that match the filters. A brief orders them and never excludes any.

    Raises:
        InvalidRequest: An argument is malformed.
        AccountNotFound, AccountAmbiguous: The reference doesn't match exactly one account.
    """
    request = call.arguments.to(GetProductsRequest)
    account = resolve_account(call.principal, request.account) if request.account is not None else None
    catalogue, refinements = call.services.catalogue, request.refinements()
    url = call.services.settings.public_url
    fitting = [
        product
        for offered in refined(catalogue.list(), refinements)
        if (known := released(offered, call.release)) and (product := narrowed(known, request.filters, url))
    ]
    matches = _ordered(fitting, request.brief if request.buying_mode == "brief" else "", catalogue)
    page, last = _page(matches, request.pagination)
    ready = await call.services.threads.control.run(_readiness, call, account) if account else None
    return GetProductsResponse(
        products=[_shown(match, url, request.fields, call.release, ready) for match in page],
        cache_scope="account" if ready else "public",
        pagination=page_info(last),
        refinement_applied=refinements_applied(refinements, {p.product_id for p in fitting}) or UNSET,
        sandbox=(account is not None and account.sandbox) or UNSET,
    )


def _readiness(call: TaskCall, account: Account) -> Readiness | None:
    """Of a product, how ready the account is; None while a server that has just started doesn't know."""
    statuses = call.services.source_watch.statuses(account.account_id)
    if statuses is None:
        return None
    sources = call.services.sources.list(account.account_id)
    return lambda product: measurement_readiness(product, sources, statuses)


def _ordered(products: Sequence[Product], brief: str, catalogue: Catalogue) -> list[_Match]:
    """Products by rank, then by the number of words that they share with the brief, then in the catalogue's order."""
    brief_words = _words(brief)
    matches = [_Match(product, sorted(brief_words & _words(product.words))) for product in products]

    def place(match: _Match) -> tuple[int, int]:
        rank = catalogue.rank(match.product.product_id)
        return -rank, 0 if rank else -len(match.words)

    return sorted(matches, key=place)


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


def _shown(
    match: _Match, url: str, fields: list[str] | None, release: Release | None, ready: Readiness | None
) -> ShownProduct | dict[str, Any]:
    product = match.product
    relevance = f"Shares with the brief: {', '.join(match.words)}." if match.words else UNSET
    shown = msgspec.structs.replace(
        product.shown(url), brief_relevance=relevance, measurement_readiness=ready(product) if ready else UNSET
    )
    if product.seeded:
        whole = with_seeded_fields(shown, product, release)
        optional = _OPTIONAL | (product.seeded.keys() - ShownProduct.__struct_fields__)
        return {name: value for name, value in whole.items() if not fields or name in fields or name not in optional}
    left_out = {name: UNSET for name in _OPTIONAL if fields and name not in fields}
    return msgspec.structs.replace(shown, **left_out)


GET_PRODUCTS = Task(
    name="get_products",
    title="Get products",
    description=(
        "List what this seller sells: products with their pricing options and the conversion targets that they "
        "support. A brief orders them by the words they share with it and excludes none; filters exclude. Changes "
        "nothing."
    ),
    function=get_products,
    request=GetProductsRequest,
    response=GetProductsResponse,
    example={"buying_mode": "brief", "brief": "Display on news pages for a shop, paid by CPM"},
    mutating=False,
    failure_defaults={"products": [], "cache_scope": "public"},
)
