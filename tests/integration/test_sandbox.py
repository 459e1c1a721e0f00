"""An official test runner drives a sandbox; nobody drives a server that is none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from tests.acceptance.conversions import call
from tests.acceptance.official import pinned, refuse_unless_valid, unique_key

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

KEY = "demo-acme-outdoor-v1"
ACCOUNT = {"brand": {"domain": "acmeoutdoor.example"}, "operator": "pinnacle-agency.example"}


@pytest.fixture
def sandbox(start_own_server: StartServer) -> Server:
    return start_own_server(sandbox="true")


def control(server: Server, scenario: str, release: str | None = "3.2", **params: Any) -> dict[str, Any]:
    arguments = {"scenario": scenario, "params": params, "account": {"sandbox": True}} | pinned(release)
    answer = call(server, "mcp", "comply_test_controller", arguments, Authorization=f"Bearer {KEY}")
    refuse_unless_valid("comply_test_controller", answer, release)
    return answer


def demo(server: Server, task: str, **arguments: Any) -> dict[str, Any]:
    keyed = {"account": ACCOUNT, "idempotency_key": unique_key()} | arguments
    answer = call(server, "rest", task, keyed, Authorization=f"Bearer {KEY}")
    assert answer["status"] == "completed", answer
    return answer


def bought(server: Server, *goals: dict[str, Any]) -> str:
    control(server, "seed_product", product_id="kit", fixture={"channels": ["video"], "format_ids": [{"id": "v_30s"}]})
    control(server, "seed_pricing_option", product_id="kit", pricing_option_id="p", fixture={"floor_price": 2.0})
    package = {"product_id": "kit", "pricing_option_id": "p", "budget": 5000, "optimization_goals": list(goals)}
    order = {"start_time": "asap", "end_time": "2099-01-01T00:00:00Z", "packages": [package]}
    media_buy_id: str = demo(server, "create_media_buy", **order)["media_buy_id"]
    return media_buy_id


def delivery(server: Server, media_buy_id: str, **arguments: Any) -> dict[str, Any]:
    answer = demo(server, "get_media_buy_delivery", media_buy_ids=[media_buy_id], **arguments)
    refuse_unless_valid("get_media_buy_delivery", answer, None)
    totals: dict[str, Any] = answer["media_buy_deliveries"][0]["totals"]
    return totals


def test_a_server_that_is_no_sandbox_has_no_controller(server: Server) -> None:
    answer = call(server, "rest", "comply_test_controller", {"scenario": "list_scenarios"})
    capabilities = call(server, "rest", "get_adcp_capabilities", {})
    as_demo = call(server, "rest", "get_adcp_capabilities", {}, Authorization=f"Bearer {KEY}")
    document = httpx2.get(f"{server.url}/openapi.json").text
    card = httpx2.get(f"{server.url}/.well-known/agent-card.json").text

    assert answer["adcp_error"]["code"] == "UNSUPPORTED_FEATURE"
    assert "comply_test_controller" not in answer["adcp_error"]["details"]["supported_tasks"]
    assert "compliance_testing" not in capabilities
    assert as_demo["adcp_error"]["code"] == "AUTH_INVALID"
    assert "comply_test_controller" not in document + card


@pytest.mark.parametrize("key", [KEY, "demo-acme-outdoor-"])
def test_demo_keys_end_with_the_sandbox(sandbox: Server, start_own_server: StartServer, key: str) -> None:
    taken = call(sandbox, "rest", "list_accounts", {}, Authorization=f"Bearer {key}")
    sandbox.stop()
    live = start_own_server(data=sandbox.data)

    refused = call(live, "rest", "list_accounts", {}, Authorization=f"Bearer {key}")

    assert taken["status"] == "completed"
    assert refused["adcp_error"]["code"] == "AUTH_INVALID"


def test_an_account_is_there_on_first_use_and_stays(sandbox: Server) -> None:
    first = demo(sandbox, "sync_event_sources", event_sources=[{"event_source_id": "shop"}])
    again = demo(sandbox, "sync_event_sources", account=ACCOUNT | {"sandbox": False})
    listed = demo(sandbox, "list_accounts")

    assert first["event_sources"][0]["action"] == "created"
    assert [source["event_source_id"] for source in again["event_sources"]] == ["shop"]
    assert [account["sandbox"] for account in listed["accounts"]] == [True]


def test_seeded_products_come_first_and_survive_a_restart(sandbox: Server, start_own_server: StartServer) -> None:
    bought(sandbox)
    before = demo(sandbox, "get_products", brief="display")["products"]
    sandbox.stop()
    restarted = start_own_server(sandbox="true", data=sandbox.data)

    after = demo(restarted, "get_products", brief="display")["products"]

    assert before[0]["product_id"] == after[0]["product_id"] == "kit"
    assert [price["pricing_option_id"] for price in after[0]["pricing_options"]] == ["p", "default"]
    assert after[0]["channels"] == ["olv"]


def test_simulated_conversions_take_the_place_of_logged_ones_and_are_worth_what_was_logged(sandbox: Server) -> None:
    demo(sandbox, "sync_event_sources", event_sources=[{"event_source_id": "pixel"}, {"event_source_id": "server"}])
    sources = [
        {"event_source_id": source, "event_type": "purchase", "value_field": "order_total"}
        for source in ("pixel", "server")
    ]
    target = {"kind": "per_ad_spend", "value": 4}
    media_buy_id = bought(sandbox, {"kind": "event", "event_sources": sources, "target": target})
    event = {
        "event_id": "order_1",
        "event_type": "purchase",
        "event_time": "2099-06-05T14:30:00Z",
        "custom_data": {"order_total": 149.99, "currency": "USD"},
    }
    for source in ("pixel", "server"):
        demo(sandbox, "log_event", event_source_id=source, events=[event])

    spend = {"amount": 100.0, "currency": "USD"}
    control(sandbox, "simulate_delivery", media_buy_id=media_buy_id, impressions=900, clicks=9, reported_spend=spend)
    more = control(sandbox, "simulate_delivery", media_buy_id=media_buy_id, impressions=100, conversions=2)

    totals = delivery(sandbox, media_buy_id)
    assert more["cumulative"]["impressions"] == totals["impressions"] == 1000
    assert (totals["conversions"], totals["conversion_value"]) == (2, 149.99)
    assert (totals["roas"], totals["cost_per_acquisition"]) == (1.4999, 50)


def test_delivery_counts_on_its_day(sandbox: Server) -> None:
    media_buy_id = bought(sandbox)
    today = datetime.now(UTC).date().isoformat()
    control(sandbox, "simulate_delivery", media_buy_id=media_buy_id, impressions=5, delivery_date="2026-01-02")
    control(sandbox, "simulate_budget_spend", media_buy_id=media_buy_id, spend_percentage=95)

    early = delivery(sandbox, media_buy_id, start_date="2026-01-01", end_date="2026-01-03")

    assert (early["impressions"], early["spend"]) == (5, 0)
    assert delivery(sandbox, media_buy_id, start_date=today)["spend"] == 4750


def test_a_status_is_forced_and_final_ones_stay(sandbox: Server) -> None:
    media_buy_id = bought(sandbox)

    for status in ("pending_start", "paused", "active", "completed"):
        assert control(sandbox, "force_media_buy_status", media_buy_id=media_buy_id, status=status)["success"] is True
        listed = demo(sandbox, "get_media_buys", media_buy_ids=[media_buy_id])["media_buys"]
        assert listed[0]["status"] == status

    stuck = control(sandbox, "force_media_buy_status", media_buy_id=media_buy_id, status="active")
    assert (stuck["success"], stuck["error"]) == (False, "INVALID_TRANSITION")


def test_an_account_is_suspended_and_taken_back(sandbox: Server) -> None:
    control(sandbox, "seed_account", account_id="acc_kit", fixture={"brand": {"domain": "kit.example"}})

    suspended = control(sandbox, "force_account_status", account_id="acc_kit", status="suspended")
    active = control(sandbox, "force_account_status", account_id="acc_kit", status="active")

    assert (suspended["previous_state"], suspended["current_state"]) == ("active", "suspended")
    assert active["previous_state"] == "suspended"


@pytest.mark.parametrize(
    ("scenario", "params", "error"),
    [
        ("make_coffee", {}, "UNKNOWN_SCENARIO"),
        ("force_account_status", {}, "INVALID_PARAMS"),
        ("force_account_status", {"account_id": "nobody", "status": "active"}, "NOT_FOUND"),
        ("simulate_delivery", {"media_buy_id": "nobody"}, "NOT_FOUND"),
        ("seed_product", {"product_id": "x", "fixture": {"delivery_type": 7}}, "INVALID_PARAMS"),
        ("seed_product", {"product_id": "x", "fixture": []}, "INVALID_PARAMS"),
        ("seed_media_buy", {"media_buy_id": "m", "fixture": {"currency": "XTS"}}, "INVALID_PARAMS"),
    ],
)
def test_a_scenario_that_cannot_be_played_says_why(
    seller: Server, scenario: str, params: dict[str, Any], error: str
) -> None:
    answer = control(seller, scenario, **params)

    assert (answer["success"], answer["error"]) == (False, error)
    assert answer["error_detail"]
