"""Refinements of a product list, and their outcomes (media-buy/get-products-request.json)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.errors import InvalidRequest, RequestError
from postback.products.product import Product

__all__ = ["AppliedRefinement", "Refinement", "refined", "refinement_errors", "refinements_applied"]


class Refinement(msgspec.Struct, frozen=True):
    """One change request."""

    scope: Annotated[Literal["request", "product", "proposal"], Meta(description="What it is about.")]
    product_id: Annotated[str, Meta(description="Required for the scope product.")] | None = None
    proposal_id: Annotated[str, Meta(description="Required for the scope proposal.")] | None = None
    action: Annotated[
        Literal["include", "omit", "more_like_this", "finalize"],
        Meta(description="What to do with it; finalize is refused, since this seller makes no proposals."),
    ] = "include"
    ask: Annotated[str, Meta(description="What else you want, in words.")] | None = None

    @property
    def named(self) -> dict[str, Any]:
        """The identifier field of the product or proposal."""
        ids = {"product": ("product_id", self.product_id), "proposal": ("proposal_id", self.proposal_id)}
        name, value = ids.get(self.scope, ("", None))
        return {} if value is None else {name: value}


def refinement_errors(refinements: Sequence[Refinement]) -> Iterator[RequestError]:
    """Errors in refinements that don't depend on the products on offer."""
    for index, refinement in enumerate(refinements):
        at = f"refine[{index}]"
        if refinement.scope != "request" and not refinement.named:
            field = f"{at}.{refinement.scope}_id"
            yield InvalidRequest(f"{field} is required for the scope {refinement.scope}.", field=field)
        if refinement.action == "finalize":
            yield InvalidRequest("This seller makes no proposals. Name products instead.", field=f"{at}.action")


def refined(products: Sequence[Product], refinements: Sequence[Refinement]) -> list[Product]:
    """The remaining products: the included ones, if there are any, without the omitted ones."""
    included = {r.product_id for r in refinements if r.scope == "product" and r.action != "omit"}
    omitted = {r.product_id for r in refinements if r.scope == "product" and r.action == "omit"}
    return [p for p in products if p.product_id not in omitted and (not included or p.product_id in included)]


class AppliedRefinement(msgspec.Struct, kw_only=True):
    """The outcome of a change request."""

    scope: Annotated[Literal["request", "product", "proposal"], Meta(description="What it is about.")]
    product_id: Annotated[str | UnsetType, Meta(description="The product.")] = UNSET
    proposal_id: Annotated[str | UnsetType, Meta(description="The proposal.")] = UNSET
    status: Annotated[Literal["applied", "partial", "unable"], Meta(description="Whether it was applied.")]
    notes: Annotated[str | UnsetType, Meta(description="Why not, or not wholly.")] = UNSET


def refinements_applied(refinements: Sequence[Refinement], remaining: Collection[str]) -> list[AppliedRefinement]:
    """``refinement_applied`` of media-buy/get-products-response.json.

    Args:
        refinements: The change requests.
        remaining: The product_id of every remaining product.
    """
    return [AppliedRefinement(scope=r.scope, **r.named, **_outcome(r, remaining)) for r in refinements]


def _outcome(refinement: Refinement, remaining: Collection[str]) -> dict[str, Any]:
    if refinement.scope == "request":
        return {"status": "unable", "notes": "An ask in words excludes no product. Use filters."}
    if refinement.scope == "proposal":
        return {"status": "unable", "notes": "This seller makes no proposals."}
    if refinement.action == "omit":
        return {"status": "applied"}
    if refinement.product_id not in remaining:
        return {"status": "unable", "notes": "No product with this id matches the filters."}
    if refinement.action == "more_like_this":
        return {"status": "partial", "notes": "Searching for similar products is not supported."}
    if refinement.ask:
        return {"status": "partial", "notes": "The product is shown as offered. An ask does not change it."}
    return {"status": "applied"}
