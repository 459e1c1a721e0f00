"""An analyst bills by the report: refunds, copies, several sources of one order, and amounts that count 0."""

from __future__ import annotations

from typing import Any

import pytest
from tests.acceptance.conversions import ago, call, log
from tests.acceptance.official import unique_key
from tests.acceptance.test_closed_loop import exposure, person, report
from tests.conftest import Server, StartServer, eventually

WEEK = {"post_click": {"interval": 7, "unit": "days"}, "post_view": {"interval": 1, "unit": "days"}}
SOURCES = ("px", "srv")
GOAL = {
    "kind": "event",
    "event_sources": [
        {"event_source_id": source, "event_type": event_type, "value_field": "value"}
        for source in SOURCES
        for event_type in ("purchase", "refund")
    ],
    "attribution_window": WEEK,
}
Buy = tuple[str, list[str]]


@pytest.fixture(scope="module")
def seller(start_server: StartServer) -> Server:
    running = start_server(sandbox="true")
    sources = [{"event_source_id": source} for source in SOURCES]
    running.call("sync_event_sources", event_sources=sources).raise_for_status()
    return running


def media_buy(goal: dict[str, Any]) -> dict[str, Any]:
    """The order of a media buy in USD with two packages that have this goal."""
    package = {
        "product_id": "sandbox_display_auction",
        "pricing_option_id": "auction_cpm_usd",
        "budget": 5000,
        "bid_price": 4,
        "optimization_goals": [goal],
    }
    return {
        "account": {"account_id": "default"},
        "idempotency_key": unique_key(),
        "brand": {"domain": "acme.example"},
        "start_time": "asap",
        "end_time": "2099-06-30T23:59:59Z",
        "packages": [package, package],
    }


@pytest.fixture
def buy(seller: Server) -> Buy:
    """A media buy in USD with two packages that count purchases and refunds of both sources."""
    answer = call(seller, "rest", "create_media_buy", media_buy(GOAL))
    return answer["media_buy_id"], [package["package_id"] for package in answer["packages"]]


def event(event_type: str, event_id: str, value: float | None = None, /, **members: Any) -> dict[str, Any]:
    data = {} if value is None else {"value": value, "currency": "USD"}
    made = {"event_id": event_id, "event_type": event_type, "event_time": ago(hours=1), "action_source": "offline"}
    return made | members | {"custom_data": data | members.get("custom_data", {})}


def numbers(seller: Server, buy: Buy) -> list[tuple[int, float]]:
    """Conversions and exact value of each package."""
    answer = call(seller, "rest", "get_media_buy_delivery", {"media_buy_ids": [buy[0]], "start_date": "2020-01-01"})
    [found] = answer["media_buy_deliveries"]
    return [
        (part["conversions"], part.get("ext", {}).get("postback", {}).get("conversion_value", part["conversion_value"]))
        for part in found["by_package"]
    ]


def come_to(seller: Server, buy: Buy, *expected: tuple[int, float]) -> None:
    """Wait until the packages have these conversions and values."""
    eventually(lambda: numbers(seller, buy) == list(expected), f"numbers of {expected}")


def status(seller: Server, event_id: str, event_type: str = "purchase", source: str = "px") -> dict[str, Any]:
    with seller.client() as client:
        return dict(client.get(f"/v1/events/{source}/{event_type}/{event_id}").raise_for_status().json())


def sent(seller: Server, source: str, *events: dict[str, Any]) -> dict[str, Any]:
    answer = log(seller, source, *events)
    assert answer["events_processed"] == len(events), answer
    return answer


def test_a_refund_after_the_window_undoes_its_purchase(seller: Server, buy: Buy) -> None:
    name = unique_key()
    report(seller, exposure(name, buy, occurred_at=ago(days=8)) | {"user_match": person(name)})
    sent(seller, "px", event("purchase", name, 200, event_time=ago(days=6), user_match=person(name)))
    come_to(seller, buy, (1, 200), (0, 0))

    sent(seller, "px", event("refund", name, 200))

    come_to(seller, buy, (1, 0), (0, 0))
    undone = status(seller, name, "refund")["attribution"]
    assert (undone["status"], undone["value"]) == ("attributed", -200)
    assert undone["purchase"] == {"event_source_id": "px", "event_type": "purchase", "event_id": name}


def test_a_refund_undoes_its_purchase_where_that_was_counted(seller: Server, buy: Buy) -> None:
    name = unique_key()
    first = exposure(f"{name}1", buy, occurred_at=ago(hours=5)) | {"user_match": person(name)}
    second = exposure(f"{name}2", buy, occurred_at=ago(hours=2), package_id=buy[1][1]) | {"user_match": person(name)}
    report(seller, first, second)
    refund = event("refund", f"{name}r", 80, custom_data={"order_id": f"o{name}"}, user_match=person(name))
    sent(seller, "srv", refund)
    come_to(seller, buy, (0, 0), (0, -80))

    purchase = event("purchase", name, 80, event_time=ago(hours=3), custom_data={"order_id": f"o{name}"})
    sent(seller, "px", purchase | {"user_match": person(name)})

    come_to(seller, buy, (1, 0), (0, 0))


def test_a_refund_without_an_amount_takes_what_is_left_and_gives_no_reason(seller: Server, buy: Buy) -> None:
    name = unique_key()
    report(seller, exposure(name, buy) | {"user_match": person(name)})
    sent(seller, "px", event("purchase", name, 300, user_match=person(name), custom_data={"order_id": name}))
    come_to(seller, buy, (1, 300), (0, 0))

    sent(seller, "px", event("refund", f"{name}r", custom_data={"order_id": name}))

    come_to(seller, buy, (1, 0), (0, 0))
    undone = status(seller, f"{name}r", "refund")["attribution"]
    assert (undone["status"], undone["value"], undone.get("value_reason")) == ("attributed", -300, None)


def test_refunds_take_no_more_than_the_purchase(seller: Server, buy: Buy) -> None:
    name = unique_key()
    report(seller, exposure(name, buy) | {"user_match": person(name)})
    sent(seller, "px", event("purchase", name, 50, user_match=person(name)))
    parts = [event("refund", f"{name}{n}", 30, custom_data={"order_id": name}) for n in (1, 2)]
    sent(seller, "px", event("refund", name), *parts)
    come_to(seller, buy, (1, 0), (0, 0))


@pytest.mark.parametrize("order", [SOURCES, SOURCES[::-1]], ids="-".join)
def test_an_order_of_two_sources_counts_once(seller: Server, buy: Buy, order: tuple[str, str]) -> None:
    name = unique_key()
    phone = {"hashed_phone": person(f"{name}phone")["hashed_email"]}
    report(
        seller,
        exposure(f"{name}1", buy, occurred_at=ago(hours=5)) | {"user_match": person(name)},
        exposure(f"{name}2", buy, occurred_at=ago(hours=4), package_id=buy[1][1]) | {"user_match": phone},
    )
    identifiers = {"px": person(name), "srv": phone}
    for source in order:
        sent(seller, source, event("purchase", name, 25, user_match=identifiers[source]))

    come_to(seller, buy, (0, 0), (1, 25))
    assert status(seller, name, source="px")["attribution"]["linked_event_source_ids"] == ["srv"]
    other = status(seller, name, source="srv")["attribution"]
    assert (other["status"], other["lead_event_source_id"]) == ("superseded", "px")


def test_a_copy_brings_the_identifiers(seller: Server, buy: Buy) -> None:
    name = unique_key()
    report(seller, exposure(name, buy) | {"user_match": person(name)})
    sent(seller, "px", event("purchase", name, 10))
    eventually(lambda: status(seller, name)["attribution"].get("reason") == "NO_IDENTIFIERS")

    sent(seller, "px", event("purchase", name, 99, user_match=person(name)))

    come_to(seller, buy, (1, 10), (0, 0))
    assert "custom_data.value" in status(seller, name)["differing_copies"]["earliest"][0]["differs"]


@pytest.mark.parametrize(
    ("custom_data", "reason"),
    [
        ({"value": 99, "currency": "EUR"}, "OTHER_CURRENCY"),
        ({"value": 99}, "NO_CURRENCY"),
        ({"currency": "USD"}, "NO_VALUE_FIELD"),
    ],
)
def test_a_value_that_counts_0_says_why(seller: Server, buy: Buy, custom_data: dict[str, Any], reason: str) -> None:
    name = unique_key()
    report(seller, exposure(name, buy) | {"user_match": person(name)})
    sent(seller, "px", event("purchase", name, user_match=person(name), custom_data=custom_data))
    come_to(seller, buy, (1, 0), (0, 0))

    assert status(seller, name)["attribution"]["value_reason"] == reason
    with seller.client() as client:
        [listed] = client.get(f"/v1/media-buys/{buy[0]}/conversions").json()["conversions"]
    assert listed["attribution"]["value_reason"] == reason
    answer = call(seller, "rest", "get_media_buy_delivery", {"media_buy_ids": [buy[0]]})
    [left_out] = answer["ext"]["postback"]["left_out"]
    assert (left_out["reason"], left_out["count"]) == (reason, 1)
    assert (left_out.get("currency"), left_out["value"]) == (
        custom_data.get("currency") if reason == "OTHER_CURRENCY" else None,
        custom_data.get("value", 0),
    )
    issues = call(seller, "rest", "sync_event_sources", {})["event_sources"]
    assert any(reason in issue["message"] for source in issues for issue in source["health"]["issues"])


def test_a_refund_that_no_goal_names_says_so_and_names_its_purchase(start_server: StartServer) -> None:
    """The goal names purchases only: the commonest mistake of all."""
    seller = start_server(sandbox="true")
    seller.call("sync_event_sources", event_sources=[{"event_source_id": "shop"}]).raise_for_status()
    goal = {"kind": "event", "event_sources": [{"event_source_id": "shop", "event_type": "purchase"}]}
    bought = seller.call("create_media_buy", **media_buy(goal)).raise_for_status().json()
    buy = bought["media_buy_id"], [package["package_id"] for package in bought["packages"]]
    report(seller, exposure("e", buy) | {"user_match": person("e")})
    sent(seller, "shop", event("purchase", "p", 200, user_match=person("e"), custom_data={"order_id": "o"}))
    sent(seller, "shop", event("refund", "r", 50, user_match=person("e"), custom_data={"order_id": "o"}))

    def of_refund() -> dict[str, Any]:
        return dict(status(seller, "r", "refund", "shop")["attribution"])

    told = eventually(lambda: (a := of_refund())["status"] != "pending" and a)

    assert (told["status"], told["reason"]) == ("not_attributed", "REFUND_NOT_NAMED")
    assert told["purchase"] == {"event_source_id": "shop", "event_type": "purchase", "event_id": "p"}
    assert "other_exposures" not in told
    [source] = call(seller, "rest", "sync_event_sources", {})["event_sources"]
    [issue] = [one["message"] for one in source["health"]["issues"] if one["message"].startswith("REFUND_NOT_NAMED")]
    assert "1 refund of the last 7 days" in issue
