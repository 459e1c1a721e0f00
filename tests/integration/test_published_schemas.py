"""What every operation answers is what its published schema says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from tests.acceptance.conversions import ago, order
from tests.acceptance.official import unique_key
from tests.conftest import eventually

from postback.protocol.json_schema import schema_of
from postback.tasks.list_conversions import ConversionsResponse
from postback.tasks.look_up_event import EventStatus
from postback.tasks.registry import SELLER_TASKS, TASKS
from postback.tasks.task import FAILURE_SCHEMA

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

_EVERY = TASKS | SELLER_TASKS
_PRODUCT = {"product_id": "sandbox_display_auction", "pricing_option_id": "auction_cpm_usd", "budget": 500}
_GOAL = {"kind": "event", "event_sources": [{"event_source_id": "published", "event_type": "purchase"}]}
_EXPOSED = {"media_buy_id": "published_buy", "package_id": "published_package"}
_MATCH = {"click_id": "published-click", "click_id_type": "gclid"}

_CALLS: dict[str, list[dict[str, Any]]] = {
    "get_adcp_capabilities": [{}, {"adcp_version": "3.0"}, {"adcp_version": "3.2"}],
    "sync_accounts": [
        {"accounts": [{"brand": {"domain": "shown.example"}, "operator": "shown.example", "billing": "operator"}]},
        {"accounts": [{"account": {"account_id": "default"}, "payment_terms": "net_30"}, 7], "dry_run": True},
    ],
    "list_accounts": [{}, {"pagination": {"max_results": 1}}],
    "sync_event_sources": [
        {"event_sources": [{"event_source_id": "published", "event_types": ["purchase"]}, {"name": "no id"}]},
        {"event_sources": [{"event_source_id": "gone"}]},
        {"event_sources": [{"event_source_id": "published"}], "delete_missing": True},
        {},
    ],
    "get_products": [
        {"buying_mode": "brief", "brief": "display"},
        {"buying_mode": "refine", "refine": [{"scope": "request", "ask": "cheaper"}]},
        {"pagination": {"max_results": 1}, "fields": ["product_id"]},
    ],
    "create_media_buy": [
        {
            "start_time": ago(days=1),
            "end_time": "2099-12-31T23:59:59Z",
            "packages": [
                _PRODUCT | {"optimization_goals": [_GOAL], "ext": {"postback": {"package_id": _EXPOSED["package_id"]}}},
                _PRODUCT,
            ],
            "ext": {"postback": {"media_buy_id": _EXPOSED["media_buy_id"]}},
        },
    ],
    "get_media_buys": [{"media_buy_ids": [_EXPOSED["media_buy_id"], "nowhere"]}, {"adcp_version": "3.0"}],
    "exposures": [
        {
            "exposures": [
                _EXPOSED
                | {"exposure_id": "e1", "kind": "click", "occurred_at": ago(hours=2), "user_match": _MATCH}
                | {"cost": 0.2, "currency": "USD", "creative_id": "banner"},
                {"exposure_id": "e2"},
            ]
        }
    ],
    "delivery": [
        {
            "totals": [
                {
                    **_EXPOSED,
                    "hour": "2026-01-15T14:00:00Z",
                    "impressions": 9,
                    "clicks": 1,
                    "spend": 2,
                    "currency": "USD",
                },
                {"hour": "now"},
            ]
        }
    ],
    "click-links": [_EXPOSED | {"destination": "https://shop.example/offer"}],
    "log_event": [
        {"event_source_id": "published", "events": [order("good", user_match=_MATCH), order("old", event_time="x"), 7]},
        {"event_source_id": "published", "events": [order("try")], "test_event_code": "TRY"},
    ],
    "get_media_buy_delivery": [
        {"media_buy_ids": [_EXPOSED["media_buy_id"], "nowhere"], "include_package_daily_breakdown": True},
        {},
    ],
    "comply_test_controller": [
        {"scenario": "list_scenarios"},
        {"scenario": "unheard_of"},
        {"scenario": "simulate_delivery", "params": {"media_buy_id": _EXPOSED["media_buy_id"], "clicks": 3}},
        {"scenario": "simulate_budget_spend", "params": {"media_buy_id": "published_buy", "spend_percentage": 50}},
        {"scenario": "force_media_buy_status", "params": {"media_buy_id": "published_buy", "status": "paused"}},
        {"scenario": "force_media_buy_status", "params": {"media_buy_id": "published_buy", "status": "active"}},
        {"scenario": "seed_product", "params": {"product_id": "seeded"}},
    ],
    "update_media_buy": [
        {"media_buy_id": _EXPOSED["media_buy_id"], "packages": [{"package_id": "published_package", "budget": 600}]},
        {"media_buy_id": _EXPOSED["media_buy_id"], "canceled": True, "adcp_version": "3.0"},
    ],
}
"""Calls that work, in an order in which each finds what it needs."""

_FAILING: dict[str, dict[str, Any]] = {name: {"adcp_version": "1.0", "context": {"trace": 1}} for name in _EVERY}


@pytest.fixture(scope="module")
def sandbox(start_server: StartServer) -> Server:
    return start_server(sandbox="true")


@pytest.fixture(scope="module")
def seller_key(sandbox: Server) -> str:
    return sandbox.command("keys", "create", "--account", "default", "--scope", "both").split()[-1]


@pytest.fixture(scope="module")
def answers(sandbox: Server, seller_key: str) -> dict[str, list[dict[str, Any]]]:
    """What every call is answered, by operation."""
    return {
        name: [_called(sandbox, seller_key, name, arguments) for arguments in calls] for name, calls in _CALLS.items()
    }


def test_every_operation_is_called() -> None:
    assert _CALLS.keys() == _EVERY.keys()


@pytest.mark.parametrize("name", _EVERY)
def test_what_succeeds_is_what_the_schema_says(answers: dict[str, list[dict[str, Any]]], name: str) -> None:
    for answer in answers[name]:
        assert answer["status"] != "failed", answer
        Draft202012Validator(_EVERY[name].success_schema).validate(answer)
        Draft202012Validator(_EVERY[name].output_schema).validate(answer)


@pytest.mark.usefixtures("answers")
def test_what_is_attributed_is_what_the_schema_says(sandbox: Server, seller_key: str) -> None:
    with sandbox.client(Authorization=f"Bearer {seller_key}") as client:

        def conversions() -> dict[str, Any] | None:
            page: dict[str, Any] = client.get("/v1/media-buys/published_buy/conversions").json()
            return page if page["conversions"] else None

        page = eventually(conversions)
        final = client.post("/v1/media-buys/published_buy/packages/published_package/finalize").json()

    Draft202012Validator(schema_of(ConversionsResponse)).validate(page)
    assert final["adcp_error"]["details"]["reason"] == "NOT_FINAL_YET"
    Draft202012Validator(FAILURE_SCHEMA).validate(final)


@pytest.mark.parametrize("name", _EVERY)
def test_what_fails_is_what_the_schema_says(sandbox: Server, seller_key: str, name: str) -> None:
    answer = _called(sandbox, seller_key, name, _FAILING[name])

    assert answer["status"] == "failed"
    Draft202012Validator(_EVERY[name].output_schema).validate(answer)


def test_what_became_of_an_event_is_what_the_schema_says(sandbox: Server) -> None:
    sandbox.call("sync_event_sources", event_sources=[{"event_source_id": "looked_up"}])
    for event in (order("1", event_time="yesterday"), order("1")):
        sandbox.call("log_event", event_source_id="looked_up", events=[event])

    with sandbox.client() as client:
        found = client.get("/v1/events/looked_up/purchase/1").json()

    assert [verdict["status"] for verdict in found["statuses"]] == ["accepted", "rejected"]
    assert found["attribution"]["status"] in ("pending", "not_attributed")
    Draft202012Validator(schema_of(EventStatus)).validate(found)


def _called(server: Server, key: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    common = {"idempotency_key": unique_key(), "account": {"account_id": "default"}}
    known = {field: common[field] for field in common.keys() & _EVERY[name].input_schema["properties"].keys()}
    with server.client(Authorization=f"Bearer {key}") as client:
        answer: dict[str, Any] = client.post(f"/v1/{name}", json=known | arguments).json()
    return answer
