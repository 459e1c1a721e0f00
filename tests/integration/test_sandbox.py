"""An official test runner drives a sandbox; nobody drives a server that is none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import call
from tests.acceptance.official import pinned, refuse_unless_valid, unique_key
from tests.conftest import HTTP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Server, StartServer

KEY = "demo-acme-outdoor-v1"
LIVE_KEY = "demo-acme-outdoor-live-v1"
ACCOUNT = {"brand": {"domain": "acmeoutdoor.example"}, "operator": "pinnacle-agency.example"}


@pytest.fixture
def sandbox(start_own_server: StartServer) -> Server:
    return start_own_server(sandbox="true")


@pytest.fixture(scope="module")
def kit(start_server: StartServer) -> Iterator[Server]:
    """A sandbox for the tests that get along with what others seed."""
    running = start_server(sandbox="true")
    yield running
    running.stop()


def control(
    server: Server, scenario: str, release: str | None = "3.2", *, key: str = KEY, **params: Any
) -> dict[str, Any]:
    arguments = {"scenario": scenario, "params": params, "account": {"sandbox": True}} | pinned(release)
    answer = call(server, "mcp", "comply_test_controller", arguments, Authorization=f"Bearer {key}")
    refuse_unless_valid("comply_test_controller", answer, release)
    return answer


def demo(server: Server, task: str, **arguments: Any) -> dict[str, Any]:
    keyed = {"account": ACCOUNT, "idempotency_key": unique_key()} | arguments
    answer = call(server, "rest", task, keyed, Authorization=f"Bearer {KEY}")
    assert answer["status"] == "completed", answer
    return answer


def seed(server: Server, product_id: str, **fixture: Any) -> dict[str, Any]:
    answer = control(server, "seed_product", product_id=product_id, fixture=fixture)
    assert answer["success"] is True, answer
    return answer


def price(server: Server, product_id: str, pricing_option_id: str, **fixture: Any) -> None:
    option = {"product_id": product_id, "pricing_option_id": pricing_option_id}
    answer = control(server, "seed_pricing_option", **option, fixture=fixture)
    assert answer["success"] is True, answer


def offered(server: Server, **arguments: Any) -> dict[str, dict[str, Any]]:
    """The products that get_products lists, in its order."""
    return {product["product_id"]: product for product in demo(server, "get_products", **arguments)["products"]}


def bought(server: Server, *goals: dict[str, Any]) -> str:
    seed(server, "kit", channels=["video"], format_ids=[{"id": "v_30s"}])
    price(server, "kit", "p", floor_price=2.0)
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
    document = HTTP.get(f"{server.url}/openapi.json").text
    card = HTTP.get(f"{server.url}/.well-known/agent-card.json").text

    assert answer["adcp_error"]["code"] == "UNSUPPORTED_FEATURE"
    assert "comply_test_controller" not in answer["adcp_error"]["details"]["supported_tasks"]
    assert "compliance_testing" not in capabilities
    assert as_demo["adcp_error"]["code"] == "AUTH_INVALID"
    assert "comply_test_controller" not in document + card


@pytest.mark.parametrize("key", [KEY, "demo-acme-outdoor-"])
def test_demo_keys_are_a_sandboxs_only(sandbox: Server, server: Server, key: str) -> None:
    taken = call(sandbox, "rest", "list_accounts", {}, Authorization=f"Bearer {key}")
    refused = call(server, "rest", "list_accounts", {}, Authorization=f"Bearer {key}")

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
    assert [price["pricing_option_id"] for price in after[0]["pricing_options"]] == ["p"]
    assert after[0]["channels"] == ["olv"]


def test_a_live_caller_of_the_test_kits_reaches_no_scenario(kit: Server) -> None:
    for scenario in ("list_scenarios", "force_creative_status", "seed_product"):
        refused = control(kit, scenario, key=LIVE_KEY, product_id="live")
        assert (refused["success"], refused["error"]) == (False, "FORBIDDEN")

    listed = call(kit, "rest", "list_accounts", {}, Authorization=f"Bearer {LIVE_KEY}")
    assert [account.get("sandbox", False) for account in listed["accounts"]] == [False]


def test_what_is_seeded_last_comes_first_and_in_its_order(sandbox: Server, start_own_server: StartServer) -> None:
    for batch in (("old_1", "old_2"), ("display_1", "video_2", "display_3")):
        for product_id in batch:
            seed(sandbox, product_id)
        for product_id in batch:
            price(sandbox, product_id, "cpm")
        offered(sandbox)
    seed(sandbox, "priced", pricing_options=[{"pricing_option_id": "cpm", "fixed_price": 3}])
    sandbox.stop()
    restarted = start_own_server(sandbox="true", data=sandbox.data)

    order = ["priced", "display_1", "video_2", "display_3", "old_1", "old_2"]
    assert list(offered(restarted, brief="video"))[:6] == order
    assert list(offered(restarted, buying_mode="wholesale"))[:6] == order


def test_a_seeded_product_takes_the_formats_of_its_fixture(kit: Server) -> None:
    option = {"format_option_id": "preroll", "format_kind": "video_hosted", "params": {"duration_ms_exact": 30_000}}
    foreign = {"agent_url": "https://formats.example", "id": "banner"}
    seed(kit, "by_options", format_options=[option, {"format_kind": "custom", "params": {}}])
    seed(kit, "by_ids", format_ids=[foreign])

    shown = offered(kit)

    assert shown["by_options"]["format_options"] == [option]
    assert [known["id"] for known in shown["by_options"]["format_ids"]] == ["preroll"]
    assert shown["by_ids"]["format_ids"] == [foreign]


def test_the_newest_price_can_be_bought_as_default_though_it_is_not_listed(kit: Server) -> None:
    seed(kit, "two_prices")
    price(kit, "two_prices", "usd", fixed_price=12)
    price(kit, "two_prices", "eur", currency="EUR", fixed_price=11, rate=5)

    package = {"product_id": "two_prices", "pricing_option_id": "default", "budget": 100}
    order = {"start_time": "asap", "end_time": "2099-01-01T00:00:00Z", "packages": [package]}

    assert [p["pricing_option_id"] for p in offered(kit)["two_prices"]["pricing_options"]] == ["eur", "usd"]
    assert demo(kit, "create_media_buy", **order)["currency"] == "EUR"


def test_prices_that_are_seeded_at_once_are_all_there(kit: Server) -> None:
    names = [f"cpm_{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(partial(price, kit, "crowded"), names))

    assert {p["pricing_option_id"] for p in offered(kit)["crowded"]["pricing_options"]} == set(names)


def test_a_seeded_media_buy_is_as_its_fixture_says_and_in_the_account_that_it_names(kit: Server) -> None:
    other = {"brand": {"domain": "other.example"}, "operator": "other.example"}
    demo(kit, "get_media_buys", account=other)
    line = {"package_id": "pkg_legacy", "budget": 4000, "currency": "USD", "context": {"buyer_ref": "line-1"}}
    fixture = {
        "account": ACCOUNT,
        "start_time": "2026-04-01T00:00:00Z",
        "end_time": "2099-04-01T00:00:00+02:00",
        "total_budget": 4000,
        "packages": [line],
        "context": {"ref": "a"},
    }

    control(kit, "seed_media_buy", media_buy_id="legacy", fixture=fixture)

    [buy] = demo(kit, "get_media_buys", account=ACCOUNT, media_buy_ids=["legacy"])["media_buys"]
    assert (buy["start_time"], buy["end_time"]) == ("2026-04-01T00:00:00Z", "2099-03-31T22:00:00Z")
    assert (buy["status"], buy["total_budget"], buy["context"]) == ("active", 4000, {"ref": "a"})
    del line["currency"]
    assert buy["packages"] == [line | {"paused": False}]
    assert demo(kit, "get_media_buys", account=other, media_buy_ids=["legacy"])["media_buys"] == []


def test_what_is_simulated_at_once_adds_up(kit: Server) -> None:
    media_buy_id = bought(kit)
    one = partial(control, kit, "simulate_delivery", media_buy_id=media_buy_id, impressions=1)
    half = partial(control, kit, "simulate_budget_spend", media_buy_id=media_buy_id, spend_percentage=50)
    with ThreadPoolExecutor(8) as pool:
        for started in [pool.submit(scenario) for scenario in [one, one, half] * 8]:
            assert started.result()["success"] is True

    totals = delivery(kit, media_buy_id)

    assert (totals["impressions"], totals["spend"]) == (16, 2500)


def test_simulated_conversions_take_the_place_of_logged_ones_and_are_worth_what_was_logged(kit: Server) -> None:
    demo(kit, "sync_event_sources", event_sources=[{"event_source_id": "pixel"}, {"event_source_id": "server"}])
    sources = [
        {"event_source_id": source, "event_type": "purchase", "value_field": "order_total"}
        for source in ("pixel", "server")
    ]
    target = {"kind": "per_ad_spend", "value": 4}
    media_buy_id = bought(kit, {"kind": "event", "event_sources": sources, "target": target})
    event = {
        "event_id": "order_1",
        "event_type": "purchase",
        "event_time": "2099-06-05T14:30:00Z",
        "custom_data": {"order_total": 149.99, "currency": "USD"},
    }
    for source in ("pixel", "server"):
        demo(kit, "log_event", event_source_id=source, events=[event])

    spend = {"amount": 100.0, "currency": "USD"}
    control(kit, "simulate_delivery", media_buy_id=media_buy_id, impressions=900, clicks=9, reported_spend=spend)
    more = control(kit, "simulate_delivery", media_buy_id=media_buy_id, impressions=100, conversions=2)

    totals = delivery(kit, media_buy_id)
    assert more["cumulative"]["impressions"] == totals["impressions"] == 1000
    assert (totals["conversions"], totals["conversion_value"]) == (2, 149.99)
    assert (totals["roas"], totals["cost_per_acquisition"]) == (1.4999, 50)


def test_delivery_counts_on_its_day(kit: Server) -> None:
    media_buy_id = bought(kit)
    today = datetime.now(UTC).date().isoformat()
    control(kit, "simulate_delivery", media_buy_id=media_buy_id, impressions=5, delivery_date="2026-01-02")
    control(kit, "simulate_budget_spend", media_buy_id=media_buy_id, spend_percentage=95)

    early = delivery(kit, media_buy_id, start_date="2026-01-01", end_date="2026-01-03")

    assert (early["impressions"], early["spend"]) == (5, 0)
    assert delivery(kit, media_buy_id, start_date=today)["spend"] == 4750


def test_viewability_is_reported_and_what_is_none_is_refused(kit: Server) -> None:
    media_buy_id = bought(kit)
    seen = {"measurable_impressions": 74_000, "viewable_rate": 0.8, "viewed_seconds": 4.3, "standard": "mrc"}
    control(kit, "simulate_delivery", media_buy_id=media_buy_id, impressions=80_000, viewability=seen)

    refused = control(kit, "simulate_delivery", media_buy_id=media_buy_id, viewability={"viewable_rate": 7})

    assert refused["error"] == "INVALID_PARAMS"
    assert delivery(kit, media_buy_id)["viewability"] == seen


def test_a_status_is_forced_and_final_ones_stay(kit: Server) -> None:
    media_buy_id = bought(kit)

    for status in ("pending_start", "paused", "active", "completed"):
        assert control(kit, "force_media_buy_status", media_buy_id=media_buy_id, status=status)["success"] is True
        listed = demo(kit, "get_media_buys", media_buy_ids=[media_buy_id])["media_buys"]
        assert listed[0]["status"] == status

    stuck = control(kit, "force_media_buy_status", media_buy_id=media_buy_id, status="active")
    assert (stuck["success"], stuck["error"]) == (False, "INVALID_TRANSITION")


def test_an_account_is_suspended_and_taken_back(kit: Server) -> None:
    control(kit, "seed_account", account_id="acc_kit", fixture={"brand": {"domain": "kit.example"}})

    for status in ("suspended", "active", "closed"):
        control(kit, "force_account_status", account_id="acc_kit", status=status)
        listed = demo(kit, "list_accounts", account=None)["accounts"]
        assert [account["status"] for account in listed if account["account_id"] == "acc_kit"] == [status]

    stuck = control(kit, "force_account_status", account_id="acc_kit", status="active")
    assert (stuck["success"], stuck["error"], stuck["current_state"]) == (False, "INVALID_TRANSITION", "closed")


def test_an_account_can_be_seeded_without_a_brand(kit: Server) -> None:
    control(kit, "seed_account", account_id="acc_plain")

    listed = demo(kit, "list_accounts", account=None)["accounts"]

    assert "acc_plain" in [account["account_id"] for account in listed]


@pytest.mark.parametrize(
    ("scenario", "params", "error"),
    [
        ("make_coffee", {}, "UNKNOWN_SCENARIO"),
        ("force_account_status", {}, "INVALID_PARAMS"),
        ("force_account_status", {"account_id": "nobody", "status": "active"}, "NOT_FOUND"),
        ("simulate_delivery", {"media_buy_id": "nobody"}, "NOT_FOUND"),
        ("seed_product", {"product_id": "x", "fixture": {"delivery_type": 7}}, "INVALID_PARAMS"),
        ("seed_product", {"product_id": "x", "fixture": []}, "INVALID_PARAMS"),
        ("seed_product", {"product_id": "x", "fixture": {"channels": 5}}, "INVALID_PARAMS"),
        ("seed_product", {"product_id": "no id", "fixture": {}}, "INVALID_PARAMS"),
        (
            "seed_product",
            {"product_id": "x", "fixture": {"format_ids": [{"agent_url": 1, "id": "x"}]}},
            "INVALID_PARAMS",
        ),
        (
            "seed_pricing_option",
            {"product_id": "x", "pricing_option_id": "p", "fixture": {"fixed_price": -1}},
            "INVALID_PARAMS",
        ),
        ("seed_account", {"account_id": ""}, "INVALID_PARAMS"),
        ("seed_media_buy", {"media_buy_id": "m m"}, "INVALID_PARAMS"),
        ("seed_media_buy", {"media_buy_id": "m", "fixture": {"currency": "XTS"}}, "INVALID_PARAMS"),
        ("seed_media_buy", {"media_buy_id": "m", "fixture": {"status": "rejected"}}, "INVALID_PARAMS"),
        ("seed_media_buy", {"media_buy_id": "m", "fixture": {"end_time": "2001-01-01T00:00:00Z"}}, "INVALID_PARAMS"),
        ("seed_media_buy", {"media_buy_id": "m", "fixture": {"account": {"account_id": "no"}}}, "INVALID_PARAMS"),
    ],
)
def test_a_scenario_that_cannot_be_played_says_why(
    seller: Server, scenario: str, params: dict[str, Any], error: str
) -> None:
    answer = control(seller, scenario, **params)

    assert (answer["success"], answer["error"]) == (False, error)
    assert answer["error_detail"]


SEEDED: dict[str, Any] = {
    "reporting_capabilities": {
        "available_reporting_frequencies": ["hourly", "daily"],
        "expected_delay_minutes": 60,
        "timezone": "UTC",
        "supports_webhooks": False,
        "available_metrics": ["impressions", "clicks", "spend", "completed_views", "downloads"],
        "vendor_metrics": [{"vendor": {"domain": "prism.example"}, "metric_id": "attention"}],
        "date_range_support": "date_range",
    },
    "creative_policy": {
        "co_branding": "optional",
        "landing_page": "any",
        "templates_available": False,
        "provenance_required": True,
        "accepted_verifiers": [{"agent_url": "https://verifier.example", "feature_id": "ai_generated"}],
    },
    "publisher_properties": [{"publisher_domain": "outdoor.example", "selection_type": "all"}],
}


def test_a_seeded_product_is_kept_whole(kit: Server) -> None:
    seed(kit, "whole", **SEEDED, metric_optimization={"supported_metrics": ["clicks"], "max_goals": 2})

    answer = demo(kit, "get_products", adcp_version="3.2", buying_mode="wholesale", pagination={"max_results": 100})

    refuse_unless_valid("get_products", answer, "3.2")
    product = next(product for product in answer["products"] if product["product_id"] == "whole")
    assert product.items() >= SEEDED.items()
    assert product["metric_optimization"] == {"supported_metrics": ["clicks"], "max_goals": 2}
    assert product["pricing_options"], "what is missing is filled in"


@pytest.mark.parametrize("pin", [{"adcp_version": "3.0"}, {"adcp_major_version": 3}])
def test_an_older_client_gets_of_it_what_its_release_has(kit: Server, pin: dict[str, Any]) -> None:
    seed(kit, "whole", **SEEDED)

    whole = offered(kit, **pin)["whole"]

    assert whole["reporting_capabilities"]["available_metrics"] == ["impressions", "clicks", "spend", "completed_views"]


@pytest.mark.parametrize("fixture", [{"available_metrics": ["clicks"]}, {"vendor_metrics": []}, {}])
def test_a_partial_seed_is_filled_in_until_it_is_valid(kit: Server, fixture: dict[str, Any]) -> None:
    properties = [{"publisher_domain": "a.example"}, {"publisher_domain": "b.example", "property_ids": ["home"]}, {}]
    partial = {"reporting_capabilities": fixture, "publisher_properties": properties}
    seed(kit, "partial", **partial, creative_policy={"provenance_required": True})

    for release in ("3.0", "3.1", "3.2"):
        refuse_unless_valid("get_products", demo(kit, "get_products", adcp_version=release), release)
    assert offered(kit)["partial"]["creative_policy"]["provenance_required"] is True


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"required_metrics": ["completed_views"]}, True),
        ({"required_metrics": ["conversions"]}, False),
        ({"required_vendor_metrics": [{"vendor": {"domain": "prism.example"}}]}, True),
        ({"required_vendor_metrics": [{"metric_id": "attention"}]}, True),
        ({"required_vendor_metrics": [{"vendor": {"domain": "prism.example"}, "metric_id": "lift"}]}, False),
        ({"required_vendor_metrics": [{"metric_id": "attention"}, {"vendor": {"domain": "other.example"}}]}, False),
    ],
)
def test_a_seeded_product_is_found_by_what_it_declares(kit: Server, wanted: dict[str, Any], found: bool) -> None:
    seed(kit, "whole", **SEEDED)

    assert ("whole" in offered(kit, filters=wanted)) is found


def test_fields_narrow_a_seeded_product_too(kit: Server) -> None:
    seed(kit, "whole", **SEEDED)

    narrow = offered(kit, fields=["product_id", "creative_policy"])["whole"]

    assert "creative_policy" in narrow
    assert not {"channels", "brief_relevance"} & narrow.keys()


@pytest.mark.parametrize("model", ["cpa", "cpv", "cpp", "time", "revenue_share", "flat_rate"])
def test_a_price_of_any_model_can_be_seeded_and_bought(kit: Server, model: str) -> None:
    seed(kit, f"by_{model}")
    price(kit, f"by_{model}", "p", pricing_model=model)
    package = {"product_id": f"by_{model}", "pricing_option_id": "p", "budget": 5000, "bid_price": 3}
    order = {"start_time": "asap", "end_time": "2099-01-01T00:00:00Z", "packages": [package], "adcp_version": "3.2"}

    bought = demo(kit, "create_media_buy", **order)

    assert offered(kit)[f"by_{model}"]["pricing_options"][0]["pricing_model"] == model
    assert ("bid_price" in bought["packages"][0]) is (model not in ("cpa", "revenue_share"))
    for release in ("3.0", "3.1", "3.2"):
        answer = demo(kit, "get_media_buy_delivery", media_buy_ids=[bought["media_buy_id"]], adcp_version=release)
        refuse_unless_valid("get_media_buy_delivery", answer, release)
        products = demo(kit, "get_products", adcp_version=release, pagination={"max_results": 100})
        refuse_unless_valid("get_products", products, release)
