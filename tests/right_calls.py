"""Right calls of every task that changes something, for tests that spoil them."""

from __future__ import annotations

from typing import Any

from tests.acceptance.conversions import order

__all__ = ["RIGHT_CALLS"]

_ACCOUNT = {"account_id": "default"}
_GOAL = {
    "kind": "event",
    "event_sources": [{"event_source_id": "website", "event_type": "purchase", "value_field": "value"}],
    "target": {"kind": "per_ad_spend", "value": 4},
    "attribution_window": {"post_click": {"interval": 7, "unit": "days"}},
    "priority": 1,
}
_PACKAGE = {
    "product_id": "sandbox_display_auction",
    "pricing_option_id": "auction_cpm_usd",
    "budget": 5000,
    "bid_price": 4,
    "optimization_goals": [_GOAL],
}
RIGHT_CALLS: dict[str, list[dict[str, Any]]] = {
    "log_event": [
        {
            "event_source_id": "website",
            "test_event_code": "T",
            "events": [
                order(
                    "a",
                    custom_event_name="x",
                    custom_data={"value": 1, "currency": "EUR", "contents": [{"id": "1"}], "num_items": 1},
                    user_match={
                        "hashed_email": "a" * 64,
                        "hashed_phone": "b" * 64,
                        "uids": [{"type": "uid2", "value": "u"}],
                        "click_id": "c",
                    },
                ),
                order("b"),
            ],
        }
    ],
    "sync_event_sources": [
        {
            "account": _ACCOUNT,
            "delete_missing": False,
            "event_sources": [
                {
                    "event_source_id": "shop",
                    "name": "Shop",
                    "event_types": ["purchase"],
                    "allowed_domains": ["shop.example"],
                    "action_source": "website",
                }
            ],
        }
    ],
    "sync_accounts": [
        {
            "delete_missing": False,
            "dry_run": True,
            "accounts": [
                {"brand": {"domain": "acme.example"}, "operator": "pinnacle.example", "billing": "operator"},
                {"brand": {"domain": "other.example"}, "operator": "pinnacle.example", "billing": "operator"},
            ],
        }
    ],
    "create_media_buy": [
        {
            "account": _ACCOUNT,
            "brand": {"domain": "acme.example"},
            "start_time": "asap",
            "end_time": "2099-06-30T23:59:59Z",
            "po_number": "7",
            "packages": [_PACKAGE],
        }
    ],
    "update_media_buy": [
        {
            "account": _ACCOUNT,
            "media_buy_id": "seeded",
            "paused": True,
            "end_time": "2099-06-30T23:59:59Z",
            "packages": [{"package_id": "seeded_1", "budget": 10, "paused": False, "optimization_goals": [_GOAL]}],
            "new_packages": [_PACKAGE],
        }
    ],
    "comply_test_controller": [
        {
            "scenario": "seed_product",
            "params": {"product_id": "p", "fixture": {"channels": ["display"], "format_ids": [{"id": "f"}]}},
        },
        {
            "scenario": "seed_pricing_option",
            "params": {
                "product_id": "p",
                "pricing_option_id": "o",
                "fixture": {"pricing_model": "cpm", "currency": "USD", "floor_price": 1.5},
            },
        },
        {"scenario": "seed_account", "params": {"account_id": "a", "fixture": {"status": "active"}}},
        {"scenario": "seed_media_buy", "params": {"media_buy_id": "seeded", "fixture": {"status": "active"}}},
        {
            "scenario": "simulate_delivery",
            "params": {
                "media_buy_id": "seeded",
                "impressions": 10,
                "clicks": 1,
                "conversions": 1,
                "reported_spend": {"amount": 1, "currency": "USD"},
            },
        },
        {"scenario": "simulate_budget_spend", "params": {"media_buy_id": "seeded", "spend_percentage": 50}},
        {"scenario": "force_media_buy_status", "params": {"media_buy_id": "seeded", "status": "paused"}},
        {"scenario": "force_account_status", "params": {"account_id": "a", "status": "active"}},
    ],
}
"""By task; those that name a media buy need ``seeded``, which ``comply_test_controller`` seeds."""
