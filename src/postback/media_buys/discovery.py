"""get_products: what is on offer, best match of the buyer's words first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args

import msgspec
from msgspec import Meta

from postback.accounts.references import resolve_account
from postback.errors import InvalidRequest, raise_all
from postback.media_buys.filters import Filters, narrowed
from postback.media_buys.products import Catalogue, Product
from postback.media_buys.refinements import Refinement, refined, refinement_problems, refinements_applied
from postback.paging import Pagination, bad_cursor, page_info, position_of

if TYPE_CHECKING:
    from postback.tasks import TaskCall

__all__ = ["BUYING_MODES", "GetProductsRequest", "get_products"]

BuyingMode = Literal["brief", "wholesale", "refine"]
BUYING_MODES = get_args(BuyingMode)

_WORD = re.compile(r"\w{3,}")
_OPTIONAL = frozenset(("channels", "conversion_tracking", "brief_relevance"))
"""What ``fields`` can leave out: a product without its other members would not be one by AdCP's schema."""


class GetProductsRequest(msgspec.Struct, frozen=True):
    """The task's own arguments (media-buy/get-products-request.json).

    Attributes:
        buying_mode: "brief" orders by the brief's words, "wholesale" lists in the seller's order, "refine" keeps of it
            what ``refine`` says.
        brief: What the buyer looks for, in words.
        refine: Change requests, for the mode of that name.
        filters: What products must be.
        fields: Members to show; None shows all.
        account: core/account-ref.json, or None.
        pagination: Which page.
    """

    buying_mode: BuyingMode = "brief"
    brief: str = ""
    refine: Annotated[tuple[Refinement, ...], Meta(min_length=1, max_length=1000)] | None = None
    filters: Filters = Filters()
    fields: Annotated[list[str], Meta(min_length=1)] | None = None
    account: Any = None
    pagination: Pagination = Pagination()

    def refinements(self) -> tuple[Refinement, ...]:
        """The change requests; none in other modes.

        Raises:
            InvalidRequest: There are none in the mode "refine", or something is wrong with them.
        """
        if self.buying_mode != "refine":
            return ()
        if not self.refine:
            raise InvalidRequest('refine is required for the buying_mode "refine".', field="refine")
        raise_all([*refinement_problems(self.refine)])
        return self.refine


class _Match(NamedTuple):
    product: Product
    words: list[str]


async def get_products(call: TaskCall) -> dict[str, Any]:
    """List the products that fit the filters. Words order them and never exclude any.

    Returns:
        The completed arm of media-buy/get-products-response.json, without the envelope.

    Raises:
        InvalidRequest: A malformed argument.
        AccountNotFound, AccountAmbiguous: No single account fits the reference.
    """
    request = call.arguments.to(GetProductsRequest)
    account = resolve_account(call.principal, request.account) if request.account is not None else None
    catalogue, refinements = call.services.catalogue, request.refinements()
    url = call.services.settings.public_url
    fitting = [
        product
        for offered in refined(catalogue.list(), refinements)
        if (product := narrowed(offered, request.filters, url))
    ]
    matches = _ordered(fitting, request.brief if request.buying_mode == "brief" else "", catalogue)
    page, last = _page(matches, request.pagination)
    answer: dict[str, Any] = {
        "products": [_shown(match, url, request.fields) for match in page],
        "pagination": page_info(last),
        "cache_scope": "public",  # every account sees the same catalogue
    }
    if refinements:
        answer["refinement_applied"] = refinements_applied(refinements, {p.product_id for p in fitting})
    if account and account.sandbox:
        answer["sandbox"] = True
    return answer


def _ordered(products: Sequence[Product], brief: str, catalogue: Catalogue) -> list[_Match]:
    """Those that share most words with the brief first; the catalogue's order decides between equals, and ranks."""
    wanted = _words(brief)
    matches = [_Match(product, sorted(wanted & _words(product.words))) for product in products]

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


def _shown(match: _Match, url: str, fields: list[str] | None) -> dict[str, Any]:
    shown = match.product.described(url)
    if match.words:
        shown["brief_relevance"] = f"Shares with the brief: {', '.join(match.words)}."
    return {name: value for name, value in shown.items() if not fields or name in fields or name not in _OPTIONAL}
