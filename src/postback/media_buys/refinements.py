"""Change requests to a list of products, and what becomes of them (media-buy/get-products-request.json)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Literal

import msgspec

from postback.errors import InvalidRequest, RequestError
from postback.media_buys.products import Product

__all__ = ["Refinement", "refined", "refinement_problems", "refinements_applied"]


class Refinement(msgspec.Struct, frozen=True):
    """One change request.

    Attributes:
        scope: What it is about.
        product_id: The product, for the scope "product".
        proposal_id: The proposal, for the scope "proposal".
        action: What to do with it.
        ask: What else the buyer wants, in words.
    """

    scope: Literal["request", "product", "proposal"]
    product_id: str | None = None
    proposal_id: str | None = None
    action: Literal["include", "omit", "more_like_this", "finalize"] = "include"
    ask: str | None = None

    @property
    def named(self) -> dict[str, str]:
        """The identifier by which the answer is told apart."""
        ids = {"product": ("product_id", self.product_id), "proposal": ("proposal_id", self.proposal_id)}
        name, value = ids.get(self.scope, ("", None))
        return {} if value is None else {name: value}


def refinement_problems(refinements: Sequence[Refinement]) -> Iterator[RequestError]:
    """Everything that is wrong with them, whatever is on offer."""
    for index, refinement in enumerate(refinements):
        at = f"refine[{index}]"
        if refinement.scope != "request" and not refinement.named:
            field = f"{at}.{refinement.scope}_id"
            yield InvalidRequest(f"{field} is required for this scope.", field=field)
        if refinement.action == "finalize":
            yield InvalidRequest("This seller makes no proposals; name products.", field=f"{at}.action")


def refined(products: Sequence[Product], refinements: Sequence[Refinement]) -> list[Product]:
    """The products that stay: the included ones if any are, without the omitted."""
    included = {r.product_id for r in refinements if r.scope == "product" and r.action != "omit"}
    omitted = {r.product_id for r in refinements if r.scope == "product" and r.action == "omit"}
    return [p for p in products if p.product_id not in omitted and (not included or p.product_id in included)]


def refinements_applied(refinements: Sequence[Refinement], kept: Collection[str]) -> list[dict[str, Any]]:
    """``refinement_applied`` of media-buy/get-products-response.json.

    Args:
        refinements: The change requests.
        kept: The product_id of every product that stays.
    """
    return [{"scope": r.scope, **r.named, **_outcome(r, kept)} for r in refinements]


def _outcome(refinement: Refinement, kept: Collection[str]) -> dict[str, str]:
    if refinement.scope == "request":
        return {"status": "unable", "notes": "Words exclude nothing here; say it with filters."}
    if refinement.scope == "proposal":
        return {"status": "unable", "notes": "This seller makes no proposals."}
    if refinement.action == "omit":
        return {"status": "applied"}
    if refinement.product_id not in kept:
        return {"status": "unable", "notes": "No product of this id is on offer that passes the filters."}
    if refinement.action == "more_like_this":
        return {"status": "partial", "notes": "Similar products are not looked for."}
    if refinement.ask:
        return {"status": "partial", "notes": "The product is shown as it is on offer; an ask doesn't change it."}
    return {"status": "applied"}
