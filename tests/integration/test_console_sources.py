"""A developer looks at an event source in the console: its health, what came and what to mend, and the set-up."""

from __future__ import annotations

import csv
import html
import io
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from tests.acceptance.conversions import ago, call, log
from tests.acceptance.official import unique_key
from tests.acceptance.test_closed_loop import person
from tests.conftest import Server, StartServer, eventually


@pytest.fixture(scope="module")
def shop(start_server: StartServer) -> Server:
    running = start_server(sandbox="true")
    sources = [{"event_source_id": "web", "name": "<b>Shop</b>", "event_types": ["purchase", "lead"]}]
    running.call("sync_event_sources", event_sources=[*sources, {"event_source_id": "new/one"}]).raise_for_status()
    return running


@pytest.fixture(scope="module")
def developer(shop: Server) -> Iterator[httpx2.Client]:
    with shop.client() as client:
        yield client


def page(client: httpx2.Client, path: str, **query: str) -> dict[str, Any]:
    answer = client.get(httpx2.URL(path).copy_merge_params({**query, "format": "json"}))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def seen(client: httpx2.Client, path: str) -> str:
    answer = client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200, answer.text
    return answer.text


def rows(answer: httpx2.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.content.decode(), newline=""), strict=True))


def event(name: str, **members: Any) -> dict[str, Any]:
    made = {
        "event_id": name,
        "event_type": "purchase",
        "event_time": ago(minutes=10),
        "action_source": "offline",
        "user_match": person(name),
        "custom_data": {"value": 10, "currency": "USD"},
    }
    return made | members


@pytest.fixture(scope="module")
def traffic(shop: Server) -> str:
    """A source with what goes well, twelve times, and what doesn't; a package counts its purchases."""
    package = {
        "product_id": "sandbox_display_auction",
        "pricing_option_id": "auction_cpm_usd",
        "budget": 5000,
        "bid_price": 4,
        "optimization_goals": [
            {"kind": "event", "event_sources": [{"event_source_id": "web", "event_type": "purchase"}]},
        ],
    }
    call(
        shop,
        "rest",
        "create_media_buy",
        {
            "account": {"account_id": "default"},
            "idempotency_key": unique_key(),
            "brand": {"domain": "acme.example"},
            "start_time": "asap",
            "end_time": "2099-06-30T23:59:59Z",
            "packages": [package],
            "ext": {"postback": {"media_buy_id": "mb_1"}},
        },
    )
    clicks = [
        {
            "exposure_id": f"click{n}",
            "kind": "click",
            "occurred_at": ago(hours=1),
            "media_buy_id": "mb_1",
            "package_id": "mb_1_1",
            "user_match": person(f"order{n}"),
        }
        for n in range(3)
    ]
    shop.call("exposures", exposures=clicks).raise_for_status()
    orders = [event(f"order{n}") for n in range(12)]
    phone = {"hashed_phone": person("phone")["hashed_email"]}
    log(shop, "web", *orders, event("both", user_match={**person("both"), **phone}))
    log(shop, "web", orders[0], event("nobody", user_match=None), event("late", event_time="2026-01-15T14:30:00"))
    log(shop, "web", event("typed", event_type="subscribe"), event("naive", event_time="2026-01-15T14:30:00"))
    shop.call("log_event", event_source_id="web", test_event_code="TRY", events=[event("try")]).raise_for_status()
    eventually(lambda: status(shop).get("match_rate") == round(3 / 14, 4), "attribution")
    return "/console/sources/web"


def status(shop: Server) -> dict[str, Any]:
    sources = shop.call("sync_event_sources").json()["event_sources"]
    return dict(next(source for source in sources if source["event_source_id"] == "web")["health"])


def test_a_source_has_the_health_of_the_task(shop: Server, developer: httpx2.Client, traffic: str) -> None:
    told, model = status(shop), page(developer, traffic)
    shown = model["health"]
    assert (shown["status"], shown["issues"]) == (told["status"], told["issues"])
    assert shown["events_24h"] == told["events_received_24h"] == 18
    assert shown["match_quality"] == told["detail"]["score"]
    assert (shown["matched"], shown["matchable"]) == (3, 14)
    [listed] = [
        source for source in page(developer, "/console/sources")["sources"] if source["url"].startswith(traffic)
    ]
    assert listed["health"] == shown


def test_every_outcome_is_counted_and_leads_to_its_events(developer: httpx2.Client, traffic: str) -> None:
    outcomes = {found["outcome"]: found for found in page(developer, traffic)["outcomes"]}
    assert {name: found["events"] for name, found in outcomes.items()} == {
        "accepted": 13,
        "accepted_with_warnings": 1,
        "duplicate": 1,
        "rejected": 3,
        "test": 1,
    }
    for name, found in outcomes.items():
        behind = page(developer, found["events_url"])["receipts"]
        assert (len(behind), {receipt["outcome"] for receipt in behind}) == (found["events"], {name})
    for days in ("7", "30"):
        summed = Counter[str]()
        for counts in page(developer, traffic, days=days)["times"].values():
            summed.update(counts)
        assert summed == {name: found["events"] for name, found in outcomes.items()}


def test_what_is_wrong_names_the_field_and_leads_to_its_events(developer: httpx2.Client, traffic: str) -> None:
    issues = page(developer, traffic)["issues"]
    assert [(issue["code"], issue["field"], issue["events"]) for issue in issues] == [
        ("INVALID_EVENT_TIME", "event_time", 2),
        ("INVALID_EVENT_TYPE", "event_type", 1),
        ("MISSING_USER_MATCH", "", 1),
    ]
    for issue in issues:
        assert len(page(developer, issue["events_url"])["receipts"]) == issue["events"]
    assert "RFC 3339" in issues[0]["message"]
    assert issues[0]["message"] in html.unescape(seen(developer, traffic))


def test_identifiers_are_shares_of_the_live_events(developer: httpx2.Client, traffic: str) -> None:
    model = page(developer, traffic)
    found = {kind["identifier"]: kind["events"] for kind in model["coverage"]}
    assert found == {"hashed_email": 13, "hashed_phone": 1, "none": 1}
    assert model["coverage_events"] == 14
    assert model["median_delay_seconds"] == pytest.approx(600, abs=300)


def test_a_source_names_what_depends_on_it_and_how_it_is_set_up(
    shop: Server, developer: httpx2.Client, traffic: str
) -> None:
    model = page(developer, traffic)
    [dependent] = model["dependents"]
    assert (dependent["media_buy_id"], dependent["event_types"]) == ("mb_1", ["purchase"])
    assert page(developer, dependent["url"])["buy"]["media_buy_id"] == "mb_1"
    told = shop.call("sync_event_sources").json()["event_sources"]
    assert model["setup"] == next(source["setup"] for source in told if source["event_source_id"] == "web")
    shown_as = seen(developer, traffic)
    assert model["setup"]["snippet"] in html.unescape(shown_as)
    assert "&lt;b&gt;Shop" in shown_as
    assert "<b>Shop" not in shown_as


def test_a_source_without_events_says_what_to_do(developer: httpx2.Client, traffic: str) -> None:
    model = page(developer, "/console/sources/new%2Fone")
    assert (model["health"]["status"], model["coverage"], model["issues"]) == ("insufficient", [], [])
    assert model["first_event_at"] is model["last_event_at"] is None
    shown_as = html.unescape(seen(developer, "/console/sources/new%2Fone?days=30"))
    [issue] = model["health"]["issues"]
    assert issue["message"].startswith("No event has arrived yet.")
    assert issue["message"] in shown_as
    assert "No goal of a media buy names this source" in shown_as


def test_every_table_can_be_downloaded(developer: httpx2.Client, traffic: str) -> None:
    model = page(developer, traffic)
    files = {name: rows(developer.get(url)) for name, url in model["csv_urls"].items()}
    assert sum(int(row["accepted"]) for row in files["outcomes"]) == 13
    assert len(files["outcomes"]) == 24
    assert [row["identifier"] for row in files["identifiers"]] == ["hashed_email", "hashed_phone", "none"]
    assert [row["code"] for row in files["issues"]] == [issue["code"] for issue in model["issues"]]
    assert [row["media_buy_id"] for row in files["media_buys"]] == ["mb_1"]
    listed = rows(developer.get(page(developer, "/console/sources")["csv_url"]))
    assert [row["event_source_id"] for row in listed] == ["new/one", "web"]


def test_a_buyer_sees_only_its_sources(shop: Server, developer: httpx2.Client, traffic: str) -> None:
    shop.command("accounts", "create", "rival")
    key = shop.command("keys", "create", "--account", "rival").splitlines()[0].split()[-1]
    with httpx2.Client(base_url=shop.url, headers={"Authorization": f"Bearer {key}"}, timeout=120) as rival:
        assert page(rival, "/console/sources")["sources"] == []
        assert "sync_event_sources" in seen(rival, "/console/sources")
        for query in ("", "?account=default", "?format=csv"):
            assert rival.get(traffic + query).status_code == 404


def test_a_wrong_span_is_named(developer: httpx2.Client, traffic: str) -> None:
    answer = developer.get(traffic, params={"format": "json", "days": "0"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "days")
    assert datetime.now(UTC) - timedelta(days=1) < datetime.fromisoformat(page(developer, traffic)["first_event_at"])
