"""An analyst looks at delivery in the console: the task's figures, the conversions behind each, and files of them."""

from __future__ import annotations

import csv
import html
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from tests.acceptance.conversions import ago, call, log
from tests.acceptance.official import unique_key
from tests.acceptance.test_closed_loop import person
from tests.conftest import Server, StartServer, eventually
from tests.integration import orders as media_buys

FIGURES = ("impressions", "clicks", "spend", "conversions", "conversion_value", "roas", "cost_per_acquisition")
FORMULA = "=HYPERLINK(1)"


@pytest.fixture(scope="module")
def shop(start_server: StartServer) -> Server:
    running = start_server(sandbox="true")
    sources = [{"event_source_id": source} for source in ("web", "crm")]
    running.call("sync_event_sources", event_sources=sources).raise_for_status()
    return running


@pytest.fixture(scope="module")
def analyst(shop: Server) -> Any:
    with shop.client() as client:
        yield client


def media_buy(shop: Server, media_buy_id: str, **changes: Any) -> str:
    counted = media_buys.goal(
        *(
            {"event_source_id": source, "event_type": kind, "value_field": "value"}
            for source in ("web", "crm")
            for kind in ("purchase", "refund", "lead")
        )
    )
    packages = [media_buys.package(counted, bid_price=4)] * 2
    answer = media_buys.buy(shop, *packages, ext={"postback": {"media_buy_id": media_buy_id}}, **changes)
    return str(answer["media_buy_id"])


def exposure(buy: str, name: str, package: int, hours: int, **members: Any) -> dict[str, Any]:
    return {
        "exposure_id": f"{buy}{name}",
        "kind": "click",
        "occurred_at": ago(hours=hours),
        "media_buy_id": buy,
        "package_id": f"{buy}_{package}",
        "user_match": person(f"{buy}{name}"),
        **members,
    }


def event(buy: str, name: str, kind: str, hours: int, value: float | None, **members: Any) -> dict[str, Any]:
    data = {} if value is None else {"value": value, "currency": "USD"}
    return {
        "event_id": f"{buy}{name}{kind}",
        "event_type": kind,
        "event_time": ago(hours=hours),
        "action_source": "website",
        "event_source_url": "https://acme.example/",
        "user_match": person(f"{buy}{name}"),
        "custom_data": data,
        **members,
    }


@pytest.fixture(scope="module")
def spring(shop: Server) -> str:
    """A media buy with conversions of several parts and days, refunds, and values that count 0."""
    buy = media_buy(shop, "mb_spring.2026")
    named = [
        ("a", 1, 60, "banner"),
        ("b", 1, 40, FORMULA),
        ("c", 2, 30, "banner"),
        ("d", 2, 20, None),
        ("e", 1, 9, None),
    ]
    clicks = [
        exposure(
            buy, name, package, hours, cost=0.75, currency="USD", **({"creative_id": creative} if creative else {})
        )
        for name, package, hours, creative in named
    ]
    answer = shop.call("exposures", exposures=clicks).json()
    assert not answer.get("partial_failures"), answer
    orders = [event(buy, name, "purchase", hours - 2, 10.25 * hours) for name, _, hours, _ in named[:3]]
    log(shop, "web", *orders, event(buy, "d", "purchase", 3, 50, custom_data={"value": 50, "currency": "EUR"}))
    log(shop, "crm", event(buy, "e", "lead", 2, None), event(buy, "c", "refund", 1, 100, event_id=f"{buy}cpurchase"))
    log(shop, "web", event(buy, "b", "refund", 1, 99, event_id=f"{buy}bpurchase"))
    eventually(lambda: report(shop, buy)["totals"]["conversions"] == 5 and refunded(shop, buy), "the report")
    return buy


def report(shop: Server, buy: str, **arguments: Any) -> dict[str, Any]:
    answer = call(shop, "rest", "get_media_buy_delivery", {"media_buy_ids": [buy], **arguments})
    [found] = answer["media_buy_deliveries"]
    return dict(found)


def refunded(shop: Server, buy: str) -> bool:
    return bool(report(shop, buy)["totals"]["conversion_value"] == 10.25 * 130 - 99 - 100)


def page(analyst: httpx2.Client, path: str, **query: str) -> dict[str, Any]:
    answer = analyst.get(httpx2.URL(path).copy_merge_params({**query, "format": "json"}))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def of(buy: str) -> str:
    return f"/console/delivery/{quote(buy, safe='')}"


def shown(metrics: dict[str, Any]) -> dict[str, Any]:
    """The figures of a part of the report, as the console has them."""
    exact = metrics.get("ext", {}).get("postback", {})
    return {name: exact.get(name, metrics.get(name)) for name in FIGURES}


def rows(answer: httpx2.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; header=present; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.content.decode(), newline=""), strict=True))


def test_the_console_shows_the_figures_of_the_task(shop: Server, analyst: httpx2.Client, spring: str) -> None:
    told = report(shop, spring)
    model = page(analyst, of(spring))
    assert model["buy"]["figures"] == shown(told["totals"])
    assert [part["figures"] for part in model["parts"]] == [shown(part) for part in told["by_package"]]
    assert [(m["begins_at"][:10], m["figures"]) for m in model["moments"]] == [
        (day["date"], shown(day)) for day in told["daily_breakdown"]
    ]
    creatives = page(analyst, of(spring), by="creative")["parts"]
    assert [part["figures"] for part in creatives] == [
        shown(creative) for package in told["by_package"] for creative in package.get("by_creative", [])
    ]
    [listed] = [buy for buy in page(analyst, "/console/delivery")["buys"] if buy["media_buy_id"] == spring]
    assert listed["figures"] == shown(told["totals"])
    for by in ("event_type", "action_source"):
        parts = {part["name"]: part["figures"] for part in page(analyst, of(spring), by=by)["parts"]}
        assert {name: (figures["conversions"], figures["conversion_value"]) for name, figures in parts.items()} == {
            part[by]: (part["count"], part["value"]) for part in told["totals"][f"by_{by}"]
        }


def test_the_days_of_the_console_are_those_of_the_task(shop: Server, analyst: httpx2.Client, spring: str) -> None:
    today = datetime.now(UTC).date()
    days = {"start_date": str(today - timedelta(days=2)), "end_date": str(today)}
    assert page(analyst, of(spring), **days)["buy"]["figures"] == shown(report(shop, spring, **days)["totals"])
    [listed] = [buy for buy in page(analyst, "/console/delivery", **days)["buys"] if buy["media_buy_id"] == spring]
    assert listed["figures"] == shown(report(shop, spring, **days)["totals"])


@pytest.mark.parametrize("by", ["package", "creative", "event_type", "action_source", "source"])
def test_every_number_opens_the_conversions_that_add_up_to_it(analyst: httpx2.Client, spring: str, by: str) -> None:
    model = page(analyst, of(spring), by=by)
    numbers = [*model["parts"], {**model["buy"], "figures": model["buy"]["figures"]}, *model["moments"]]
    hours = page(analyst, of(spring), unit="hour")["moments"]
    assert sum(hour["figures"]["conversion_value"] for hour in hours) == model["buy"]["figures"]["conversion_value"]
    for number in [*numbers, *hours]:
        behind = page(analyst, number["conversions_url"])
        sums = {name: number["figures"][name] for name in ("conversions", "conversion_value")}
        assert sum(found["conversions"] for found in behind["conversions"]) == sums["conversions"]
        assert sum(found["value"] for found in behind["conversions"]) == pytest.approx(sums["conversion_value"])
        assert {name: behind["sums"][name] for name in sums} == sums


def test_refunds_stand_apart_by_event_source(analyst: httpx2.Client, spring: str) -> None:
    parts = {part["name"]: part for part in page(analyst, of(spring), by="source")["parts"]}
    assert {name: (part["refunds"], part["refunded"]) for name, part in parts.items()} == {
        "web": (1, -99),
        "crm": (1, -100),
    }
    [refund] = page(analyst, parts["crm"]["refunds_url"])["conversions"]
    assert (refund["event_type"], refund["value"], refund["conversions"]) == ("refund", -100, 0)
    assert refund["reported_at"] < refund["event_time"]


def test_what_counts_0_says_why_and_opens_its_events(analyst: httpx2.Client, spring: str) -> None:
    found = {entry["reason"]: entry for entry in page(analyst, of(spring))["left_out"]}
    assert set(found) == {"OTHER_CURRENCY", "NO_VALUE_FIELD"}
    assert (found["OTHER_CURRENCY"]["value"], found["OTHER_CURRENCY"]["currency"]) == (50, "EUR")
    for reason, entry in found.items():
        behind = page(analyst, entry["conversions_url"])["conversions"]
        assert len(behind) == entry["count"]
        assert {event["value_reason"] for event in behind} == {reason}
    shown_as = analyst.get(of(spring), headers={"Accept": "text/html"}).text
    assert found["OTHER_CURRENCY"]["meaning"] in html.unescape(shown_as)


def test_a_file_of_conversions_is_complete_and_runs_nothing_in_a_spreadsheet(
    shop: Server, analyst: httpx2.Client
) -> None:
    buy = media_buy(shop, unique_key())
    many = 1_203  # more than two pages
    clicks = [exposure(buy, str(n), 1, 30, creative_id=FORMULA) for n in range(many)]
    shop.call("exposures", exposures=clicks).raise_for_status()
    log(shop, "web", *(event(buy, str(n), "purchase", n % 20, 1.5) for n in range(many)))
    eventually(lambda: report(shop, buy)["totals"]["conversions"] == many, "the report")

    url = page(analyst, f"{of(buy)}/conversions")["csv_url"]
    answer = analyst.get(url)
    assert f"{buy}-conversions.csv" in answer.headers["content-disposition"]
    found = rows(answer)
    assert len({row["event_id"] for row in found}) == len(found) == many
    assert {row["creative_id"] for row in found} == {f"'{FORMULA}"}
    assert sum(float(row["value"]) for row in found) == many * 1.5
    assert answer.text.count("\r\n") == many + 1
    told: list[str] = []
    cursor = ""
    while cursor is not None:
        query = {"max_results": "500", **({"cursor": cursor} if cursor else {})}
        answer = analyst.get(f"/v1/media-buys/{buy}/conversions", params=query)
        told += [conversion["event_id"] for conversion in answer.json()["conversions"]]
        cursor = answer.json()["pagination"].get("cursor")
    assert told == [row["event_id"] for row in found]


def test_a_conversion_that_a_late_click_moves_leaves_the_list(shop: Server, analyst: httpx2.Client) -> None:
    first, second = media_buy(shop, unique_key()), media_buy(shop, unique_key())
    click = exposure(first, "x", 1, 5)
    shop.call("exposures", exposures=[click]).raise_for_status()
    log(shop, "web", event(first, "x", "purchase", 1, 7))
    eventually(lambda: report(shop, first)["totals"]["conversions"] == 1, "the first report")

    late = exposure(second, "x", 2, 4, user_match=click["user_match"])
    shop.call("exposures", exposures=[late]).raise_for_status()
    eventually(lambda: report(shop, second)["totals"]["conversions"] == 1, "the second report")

    assert page(analyst, f"{of(first)}/conversions")["conversions"] == []
    [moved] = page(analyst, f"{of(second)}/conversions")["conversions"]
    assert (moved["package_id"], moved["value"]) == (f"{second}_2", 7)


def test_every_table_can_be_downloaded(analyst: httpx2.Client, spring: str) -> None:
    days = {"start_date": "2026-01-01", "end_date": "2099-01-01"}
    model = page(analyst, of(spring), by="creative", **days)
    files = {name: rows(analyst.get(url)) for name, url in model["csv_urls"].items()}
    assert [row["conversions"] for row in files["time"]] == [str(m["figures"]["conversions"]) for m in model["moments"]]
    assert [row["creative"].lstrip("'") for row in files["parts"]] == [part["name"] for part in model["parts"]]
    assert {row["reason"] for row in files["left_out"]} == {"OTHER_CURRENCY", "NO_VALUE_FIELD"}
    assert files["invalid_clicks"] == []
    listed = page(analyst, "/console/delivery", **days)
    answer = analyst.get(listed["csv_url"])
    assert [row["media_buy_id"] for row in rows(answer)] == [buy["media_buy_id"] for buy in listed["buys"]]
    assert "media-buys-2026-01-01-until-2099-01-01.csv" in answer.headers["content-disposition"]


def test_without_spend_there_is_no_roas_and_refunds_alone_are_below_0(shop: Server, analyst: httpx2.Client) -> None:
    buy = media_buy(shop, unique_key())
    shop.call("exposures", exposures=[exposure(buy, "x", 1, 5)]).raise_for_status()
    log(shop, "crm", event(buy, "x", "refund", 2, 20.5))
    eventually(lambda: "ext" in report(shop, buy)["totals"], "the report")

    figures = page(analyst, of(buy))["buy"]["figures"]
    assert (figures["conversions"], figures["conversion_value"]) == (0, -20.5)
    assert (figures["spend"], figures["roas"], figures["cost_per_acquisition"]) == (0, None, None)
    shown_as = analyst.get(of(buy), headers={"Accept": "text/html"}).text
    assert "-20.50 USD" in shown_as
    assert "no spend" in shown_as


def test_an_empty_account_and_an_empty_media_buy_say_what_to_do(shop: Server, analyst: httpx2.Client) -> None:
    buy = media_buy(shop, unique_key())
    assert "report exposures with POST /v1/exposures" in analyst.get(of(buy), headers={"Accept": "text/html"}).text
    shop.command("accounts", "create", "newcomer")
    key = shop.command("keys", "create", "--account", "newcomer").splitlines()[0].split()[-1]
    with httpx2.Client(base_url=shop.url, headers={"Authorization": f"Bearer {key}"}, timeout=120) as newcomer:
        assert page(newcomer, "/console/delivery")["buys"] == []
        assert "create_media_buy" in newcomer.get("/console/delivery", headers={"Accept": "text/html"}).text
        for path in ("", "/conversions", "?format=csv", "/conversions?format=csv"):
            assert newcomer.get(of(buy) + path).status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"start_date": "yesterday"}, "start_date"),
        ({"start_date": "2026-02-01", "end_date": "2026-01-01"}, "end_date"),
        ({"by": "weather"}, "by"),
        ({"unit": "minute"}, "unit"),
        ({"unit": "hour", "start_date": "2026-01-01", "end_date": "2026-03-01"}, "unit"),
        ({"format": "csv", "table": "x"}, "table"),
    ],
)
def test_a_wrong_parameter_is_named(analyst: httpx2.Client, spring: str, query: dict[str, str], field: str) -> None:
    answer = analyst.get(of(spring), params={"format": "json", **query}, headers={"Accept": "application/json"})
    assert answer.status_code == 400
    if query.get("format") != "csv":
        assert answer.json()["errors"][0]["field"] == field
