"""A buyer's agent keeps its event sources in order with sync_event_sources."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import ago, call, error_of, order
from tests.acceptance.official import pinned

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Server, StartServer

SHOP = {
    "event_source_id": "shop",
    "name": "The shop",
    "event_types": ["purchase", "lead"],
    "value_currencies": ["EUR"],
    "action_source": "website",
    "allowed_domains": ["shop.example"],
}


@pytest.fixture(scope="module")
def seller(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A seller that lists a source of its own."""
    config: Path = tmp_path_factory.mktemp("seller") / "seller.toml"
    config.write_text(
        '[[event_sources]]\naccount_id = "default"\nevent_source_id = "tills"\nname = "Tills"\n'
        'event_types = ["purchase"]\naction_source = "in_store"\nmax_event_age_days = 7\n'
    )
    return start_server(seller_config=config)


@pytest.fixture
def buyer(seller: Server, request: pytest.FixtureRequest) -> Server:
    """A buyer whose account is its own."""
    account = request.node.name.removeprefix("test_").replace("_", "-")[:60].strip("-")
    seller.command("accounts", "create", account)
    return replace(seller, key=seller.command("keys", "create", "--account", account))


def sync(buyer: Server, *entries: Any, **members: Any) -> list[dict[str, Any]]:
    answer = call(buyer, "rest", "sync_event_sources", {"event_sources": entries} | members)
    assert answer["status"] == "completed", answer
    return list(answer["event_sources"])


def discover(buyer: Server) -> dict[str, dict[str, Any]]:
    listed = call(buyer, "rest", "sync_event_sources", {})["event_sources"]
    assert {source["action"] for source in listed} <= {"unchanged"}
    return {source["event_source_id"]: source for source in listed}


def actions(sources: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(source["event_source_id"], source["action"]) for source in sources]


def test_a_source_from_its_first_declaration_to_its_end_and_back(buyer: Server) -> None:
    (created,) = sync(buyer, SHOP)
    assert SHOP.items() <= created.items()
    assert (created["action"], created["managed_by"]) == ("created", "buyer")
    assert created["health"]["status"] == "insufficient"
    assert actions(sync(buyer, SHOP)) == [("shop", "unchanged")]

    (updated,) = sync(buyer, {"event_source_id": "shop", "name": "Renamed"})
    assert (updated["action"], updated["name"]) == ("updated", "Renamed")
    assert not updated.keys() & {"event_types", "value_currencies", "action_source", "allowed_domains"}

    assert actions(sync(buyer, {"event_source_id": "app"})) == [("app", "created"), ("shop", "unchanged")]
    assert actions(sync(buyer, {"event_source_id": "app"}, delete_missing=True)) == [
        ("app", "unchanged"),
        ("shop", "deleted"),
    ]
    assert list(discover(buyer)) == ["app"]
    lost = call(buyer, "rest", "log_event", {"event_source_id": "shop", "events": [order("1")]})
    assert error_of(lost)["code"] == "EVENT_SOURCE_NOT_FOUND"

    (revived, _) = sync(buyer, SHOP)
    assert (revived["action"], revived["seller_id"]) == ("created", created["seller_id"])


def test_discovery_changes_nothing_even_when_it_asks_to_delete(buyer: Server) -> None:
    sync(buyer, SHOP)

    call(buyer, "rest", "sync_event_sources", {"delete_missing": True})

    assert list(discover(buyer)) == ["shop"]


def test_one_bad_entry_does_not_stop_the_others(buyer: Server) -> None:
    bad: list[Any] = [
        {"event_source_id": "a", "event_types": ["purchase", "purchases"]},
        {"event_source_id": "b", "value_currencies": ["EURO"]},
        {"event_source_id": "c", "allowed_domains": ["https://shop.example/"]},
        {"event_source_id": "d", "action_source": "web"},
        {"event_source_id": "x" * 257},
        {"name": "nameless"},
        "shop",
    ]

    answered = sync(buyer, *bad, {"event_source_id": "good"}, {"event_source_id": "good"})

    assert [source["action"] for source in answered] == ["failed"] * 7 + ["created", "failed"]
    fields = [source["errors"][0]["field"] for source in answered if source["action"] == "failed"]
    assert fields == [
        "event_sources[0].event_types[1]",
        "event_sources[1].value_currencies[0]",
        "event_sources[2].allowed_domains[0]",
        "event_sources[3].action_source",
        "event_sources[4].event_source_id",
        "event_sources[5].event_source_id",
        "event_sources[6]",
        "event_sources[8].event_source_id",
    ]
    assert 'Did you mean "purchase"?' in answered[0]["errors"][0]["suggestion"]
    assert list(discover(buyer)) == ["good"]


def test_the_sellers_own_source_is_listed_used_and_left_alone(seller: Server) -> None:
    (entry,) = [source for id_, source in discover(seller).items() if id_ == "tills"]
    assert (entry["managed_by"], entry["name"]) == ("seller", "Tills")

    taken = sync(seller, {"event_source_id": "tills", "name": "Mine"}, delete_missing=True)[0]

    assert taken["action"] == "failed"
    assert "seller" in taken["errors"][0]["message"].lower()
    assert discover(seller)["tills"]["name"] == "Tills"
    batch = {"event_source_id": "tills", "events": [order("1"), order("2", event_time=ago(days=8))]}
    logged = call(seller, "rest", "log_event", batch)
    assert logged["events_processed"] == 1
    assert "more than 7 days ago" in logged["partial_failures"][0]["message"]


def test_what_a_source_declares_is_what_its_events_are_checked_against(buyer: Server) -> None:
    sync(buyer, SHOP)
    money = {"value": 1, "currency": "EUR"}
    events = [
        order("right", custom_data=money),
        order("subdomain", custom_data=money, event_source_url="https://www.shop.example/thanks"),
        order("elsewhere", custom_data=money, event_source_url="https://shop.example.evil.example/thanks"),
        order("dollars"),
        order("type", custom_data=money, event_type="add_to_cart"),
    ]

    answer = call(buyer, "rest", "log_event", {"event_source_id": "shop", "events": events})

    assert answer["events_processed"] == 2
    assert [(failure["event_id"], failure["field"]) for failure in answer["partial_failures"]] == [
        ("elsewhere", "events[2].event_source_url"),
        ("dollars", "events[3].custom_data.currency"),
        ("type", "events[4].event_type"),
    ]


def test_health_tells_how_a_source_does(buyer: Server) -> None:
    sync(buyer, SHOP | {"value_currencies": ["USD"]})
    good = [order(f"good_{number}") for number in range(10)]
    tries = [order("try", event_time="noon")] * 5
    call(buyer, "rest", "log_event", {"event_source_id": "shop", "events": tries, "test_event_code": "T1"})
    call(buyer, "rest", "log_event", {"event_source_id": "shop", "events": good})
    assert discover(buyer)["shop"]["health"]["status"] == "excellent"

    call(buyer, "rest", "log_event", {"event_source_id": "shop", "events": [order("bad", event_type="refund")]})

    health = discover(buyer)["shop"]["health"]
    assert (health["status"], health["events_received_24h"]) == ("minimum", 11)
    assert "1 of 11 events (9%) were rejected" in health["issues"][0]["message"]


def test_a_sandbox_account_says_so_and_may_log_the_future(seller: Server) -> None:
    seller.command("accounts", "create", "playground", "--sandbox")
    player = replace(seller, key=seller.command("keys", "create", "--account", "playground"))
    source = {"event_source_id": "shop"}

    synced = call(
        player,
        "rest",
        "sync_event_sources",
        pinned("3.2") | {"account": {"account_id": "playground"}, "event_sources": [source]},
    )
    logged = call(player, "rest", "log_event", source | {"events": [order("1", event_time="2099-01-01T00:00:00Z")]})

    assert synced["sandbox"] is True
    assert (logged["sandbox"], logged["events_processed"]) == (True, 1)
