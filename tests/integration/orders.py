"""What a buyer's agent orders in the tests of media buys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.acceptance.conversions import call

if TYPE_CHECKING:
    from tests.conftest import Server

__all__ = ["CPA", "ROAS", "SOURCES", "buy", "found", "found_on_all_pages", "goal", "order", "package"]

SOURCES = [
    {"event_source_id": "shop", "event_types": ["purchase", "add_to_cart", "custom"]},
    {"event_source_id": "server"},
]
ROAS = {
    "kind": "event",
    "event_sources": [
        {"event_source_id": "shop", "event_type": "purchase", "value_field": "order_total"},
        {"event_source_id": "server", "event_type": "purchase"},
    ],
    "target": {"kind": "per_ad_spend", "value": 4.0},
    "attribution_window": {"post_click": {"interval": 7, "unit": "days"}},
    "priority": 1,
}
CPA = {
    "kind": "event",
    "event_sources": [{"event_source_id": "server", "event_type": "lead"}],
    "target": {"kind": "cost_per", "value": 35},
}


def package(*goals: dict[str, Any], **members: Any) -> dict[str, Any]:
    """One package with these goals."""
    ordered = {"product_id": "sandbox_display_auction", "pricing_option_id": "auction_cpm_usd", "budget": 5000}
    return ordered | ({"optimization_goals": list(goals)} if goals else {}) | members


def order(*packages: dict[str, Any], **members: Any) -> dict[str, Any]:
    """The arguments of create_media_buy for these packages, or for one without goals."""
    return {
        "account": {"account_id": "default"},
        "idempotency_key": str(uuid4()),
        "brand": {"domain": "acmeoutdoor.example"},
        "start_time": "asap",
        "end_time": "2099-06-30T23:59:59Z",
        "packages": list(packages) or [package()],
    } | members


def buy(seller: Server, *packages: dict[str, Any], **members: Any) -> dict[str, Any]:
    """Buy these packages; returns the answer."""
    answer = call(seller, "rest", "create_media_buy", order(*packages, **members))
    assert answer["status"] == "completed", answer
    return answer


def found(seller: Server, **arguments: Any) -> list[dict[str, Any]]:
    """The media buys that get_media_buys lists."""
    buys: list[dict[str, Any]] = call(seller, "rest", "get_media_buys", arguments)["media_buys"]
    return buys


def found_on_all_pages(seller: Server) -> list[dict[str, Any]]:
    """Every media buy: other tests that share the server may have bought more than a page holds."""
    buys: list[dict[str, Any]] = []
    pagination: dict[str, Any] = {"max_results": 100}
    while True:
        page = call(seller, "rest", "get_media_buys", {"pagination": pagination})
        buys += page["media_buys"]
        if not page["pagination"]["has_more"]:
            return buys
        pagination = {"max_results": 100, "cursor": page["pagination"]["cursor"]}


def goal(*sources: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A goal that counts events of these sources, or purchases in the shop."""
    purchase = {"event_source_id": "shop", "event_type": "purchase"}
    return {"kind": "event", "event_sources": list(sources) or [purchase]} | members
