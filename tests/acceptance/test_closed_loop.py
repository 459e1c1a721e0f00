"""The loop closed: a seller reports what was shown, a buyer what was bought, and both read what it achieved."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.acceptance.conversions import DOORS, Door, ago, call, error_of, log, order
from tests.acceptance.official import DIALECTS, pinned, refuse_unless_valid, unique_key
from tests.conftest import HTTP, eventually

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

SOURCE = {"event_source_id": "shop", "event_types": ["purchase", "refund", "lead"]}
GOAL = {
    "kind": "event",
    "event_sources": [
        {"event_source_id": "shop", "event_type": "purchase", "value_field": "value"},
        {"event_source_id": "shop", "event_type": "refund", "value_field": "value", "value_factor": -1},
    ],
    "target": {"kind": "per_ad_spend", "value": 4},
    "attribution_window": {"post_click": {"interval": 7, "unit": "days"}, "post_view": {"interval": 1, "unit": "days"}},
}


@pytest.fixture(scope="module")
def seller(start_server: StartServer) -> Server:
    """A sandbox whose key does both."""
    running = start_server(sandbox="true")
    running.call("sync_event_sources", event_sources=[SOURCE]).raise_for_status()
    return running


def person(name: str) -> dict[str, str]:
    """What identifies somebody, to both sides."""
    return {"hashed_email": sha256(f"{name}@example.com".encode()).hexdigest()}


def bought(seller: Server, *, packages: int = 2, account_id: str = "default", **members: Any) -> tuple[str, list[str]]:
    """A media buy whose packages count purchases and refunds; with a start in the past it has an id of its own."""
    arguments = {
        "account": {"account_id": account_id},
        "idempotency_key": unique_key(),
        "brand": {"domain": "acme.example"},
        "start_time": "asap",
        "end_time": "2099-06-30T23:59:59Z",
        "packages": [
            {
                "product_id": "sandbox_display_auction",
                "pricing_option_id": "auction_cpm_usd",
                "budget": 5000,
                "bid_price": 4,
                "optimization_goals": [GOAL],
            }
        ]
        * packages,
    }
    if members:  # a buy that has begun is one that a sales agent elsewhere runs
        arguments["ext"] = {"postback": {"media_buy_id": unique_key()}}
    answer = call(seller, "rest", "create_media_buy", arguments | members)
    return answer["media_buy_id"], [package["package_id"] for package in answer["packages"]]


def exposure(exposure_id: str, buy: tuple[str, list[str]], /, **members: Any) -> dict[str, Any]:
    """A click on the buy's first package, but for ``members``."""
    return {
        "exposure_id": exposure_id,
        "kind": "click",
        "occurred_at": ago(hours=2),
        "media_buy_id": buy[0],
        "package_id": buy[1][0],
    } | members


def report(seller: Server, *exposures: dict[str, Any]) -> dict[str, Any]:
    """Report exposures, all of which are right."""
    answer = call(seller, "rest", "exposures", {"exposures": list(exposures)})
    assert answer["exposures_processed"] == len(exposures), answer
    return answer


def delivery(seller: Server, media_buy_id: str, **arguments: Any) -> dict[str, Any]:
    """The delivery of one media buy."""
    [found] = call(seller, "rest", "get_media_buy_delivery", {"media_buy_ids": [media_buy_id]} | arguments)[
        "media_buy_deliveries"
    ]
    return dict(found)


def attribution(seller: Server, event: str) -> dict[str, Any]:
    """What GET /v1/events says of the attribution of ``type/id``."""
    with seller.client() as client:
        return dict(client.get(f"/v1/events/shop/{event}").json()["attribution"])


def test_copies_of_an_exposure_are_accepted_and_count_once(seller: Server) -> None:
    buy, name = bought(seller), unique_key()
    first = exposure(f"{name}_1", buy, kind="impression", cost=0.25, currency="USD")
    copies = [first, first | {"creative_id": "later"}, exposure(f"{name}_2", buy)]
    report(seller, *copies)
    report(seller, *reversed(copies))
    eventually(lambda: delivery(seller, buy[0])["totals"].get("clicks"))

    report(seller, *copies, exposure(f"{name}_3", buy))
    eventually(lambda: delivery(seller, buy[0])["totals"]["clicks"] > 1)

    totals = delivery(seller, buy[0])["totals"]
    assert (totals["impressions"], totals["clicks"], totals["spend"]) == (1, 2, 0.25)


@pytest.mark.parametrize("release", DIALECTS)
@pytest.mark.parametrize("door", DOORS)
def test_what_was_bought_shows_up_in_delivery(seller: Server, door: Door, release: str | None) -> None:
    buy = bought(seller)
    name = unique_key()
    report(
        seller,
        exposure(f"{name}_1", buy, kind="impression", cost=0.004, currency="USD", creative_id="banner"),
        exposure(f"{name}_2", buy, user_match=person(name), creative_id="banner", cost=0.5, currency="USD"),
        exposure(f"{name}_3", buy, package_id=buy[1][1], user_match=person("nobody"), cost=7, currency="EUR"),
    )
    log(seller, "shop", order(f"{name}_o", user_match=person(name), custom_data={"value": 30.25, "currency": "USD"}))
    eventually(lambda: delivery(seller, buy[0])["totals"]["conversions"])

    answer = call(
        seller,
        door,
        "get_media_buy_delivery",
        pinned(release) | {"media_buy_ids": [buy[0], "mb_nobodys"], "include_package_daily_breakdown": True},
    )

    refuse_unless_valid("get_media_buy_delivery", answer, release)
    [found] = answer["media_buy_deliveries"]
    assert found["totals"] == {
        "impressions": 1,
        "clicks": 2,
        "spend": 0.504,
        "conversions": 1,
        "conversion_value": 30.25,
        "roas": 60.019841,
        "cost_per_acquisition": 0.504,
        "by_event_type": [{"event_type": "purchase", "count": 1, "value": 30.25}],
        "by_action_source": [{"action_source": "website", "count": 1, "value": 30.25}],
    }
    first, second = found["by_package"]
    assert first["by_creative"][0]["creative_id"] == "banner"
    assert first["by_creative"][0]["conversions"] == 1
    assert sum(day["conversions"] for day in first["daily_breakdown"]) == 1
    assert (second["conversions"], second["clicks"], second["spend"]) == (0, 1, 0)
    assert (first["pricing_model"], first["rate"], first["currency"]) == ("cpm", 504, "USD"), "not the bid"
    assert (second["pricing_model"], second["rate"]) == ("cpm", 4), "the bid: no impression was delivered"
    assert answer["errors"][0]["field"] == "media_buy_ids[1]"
    assert "complete_through" in answer["ext"]["postback"]


def test_a_late_click_restates_what_was_reported(seller: Server) -> None:
    buy = bought(seller)
    report(seller, exposure("late_view", buy, kind="impression", user_match=person("late")))
    log(seller, "shop", order("late_1", user_match=person("late")))
    eventually(lambda: attribution(seller, "purchase/late_1")["status"] == "attributed")

    report(
        seller, exposure("late_click", buy, package_id=buy[1][1], occurred_at=ago(days=3), user_match=person("late"))
    )

    moved = eventually(lambda: (a := attribution(seller, "purchase/late_1"))["exposure_id"] == "late_click" and a)
    assert moved["package_id"] == buy[1][1]
    assert moved["other_exposures"][0]["reason"] == "CLICK_FIRST"
    # Sums follow the outcomes that they are of.
    eventually(lambda: [p["conversions"] for p in delivery(seller, buy[0])["by_package"]] == [0, 1])


def test_a_refund_takes_value_away_and_is_no_conversion(seller: Server) -> None:
    buy = bought(seller, packages=1)
    report(seller, exposure("refund_click", buy, user_match=person("refund"), cost=1, currency="USD"))
    paid = {"value": 20.5, "currency": "USD"}
    log(
        seller,
        "shop",
        order("refund_1", event_time=ago(minutes=30), user_match=person("refund"), custom_data=paid),
        order(
            "refund_2", event_type="refund", user_match=person("refund"), custom_data={"value": 30, "currency": "USD"}
        ),
    )

    eventually(lambda: len(delivery(seller, buy[0])["totals"].get("by_event_type", [])) == 2)

    totals = delivery(seller, buy[0])["totals"]
    assert (totals["conversions"], totals["conversion_value"]) == (1, 0)
    assert totals["ext"] == {"postback": {"conversion_value": -9.5}}
    assert totals["by_event_type"][1] == {
        "event_type": "refund",
        "count": 0,
        "value": 0,
        "ext": {"postback": {"value": -30}},
    }


def test_whoever_asks_is_told_why_an_event_was_not_attributed(seller: Server) -> None:
    buy = bought(seller, packages=1)
    report(
        seller,
        exposure("old_click", buy, occurred_at=ago(days=7, hours=3), user_match=person("old")),
        exposure("after_click", buy, occurred_at=ago(minutes=1), user_match=person("after")),
    )
    log(
        seller,
        "shop",
        order("why_old", event_time=ago(minutes=2), user_match=person("old")),
        order("why_after", user_match=person("after")),
        order("why_nobody", user_match=person("why nobody")),
        order("why_anonymous", user_match=None),
        order("why_lead", event_type="lead"),
    )
    eventually(lambda: attribution(seller, "purchase/why_nobody")["reason"] != "PENDING")

    reasons = {name: attribution(seller, f"purchase/why_{name}") for name in ("old", "after", "nobody", "anonymous")}

    assert reasons["old"]["reason"] == "OUTSIDE_WINDOW"
    assert reasons["old"]["message"].endswith("The click is 2 h 58 min outside the attribution window of 7 d.")
    assert reasons["after"]["reason"] == "AFTER_EVENT"
    assert reasons["nobody"]["reason"] == "NO_EXPOSURE"
    assert reasons["anonymous"]["reason"] == "NO_IDENTIFIERS"
    assert attribution(seller, "lead/why_lead")["reason"] == "NO_GOAL"


def test_conversions_are_listed_one_by_one(seller: Server) -> None:
    buy = bought(seller, packages=1)
    report(seller, exposure("listed_click", buy, user_match=person("listed")))
    log(
        seller,
        "shop",
        *(order(f"listed_{n}", event_time=ago(minutes=n), user_match=person("listed")) for n in range(5)),
    )
    eventually(lambda: delivery(seller, buy[0])["totals"]["conversions"] == 5)

    with seller.client() as client:
        path = f"/v1/media-buys/{buy[0]}/conversions"
        first = client.get(path, params={"max_results": 3}).json()
        second = client.get(path, params={"max_results": 3, "cursor": first["pagination"]["cursor"]}).json()

    listed = [conversion["event_id"] for page in (first, second) for conversion in page["conversions"]]
    assert listed == [f"listed_{n}" for n in range(5)]
    assert second["pagination"] == {"has_more": False}
    assert first["conversions"][0]["attribution"]["exposure_id"] == "listed_click"


def test_a_sellers_totals_replace_what_was_counted_in_that_hour(seller: Server) -> None:
    buy = bought(seller, packages=1)
    report(
        seller,
        exposure("total_1", buy, occurred_at="2026-01-15T14:10:00Z", cost=1, currency="USD"),
        exposure("total_2", buy, occurred_at="2026-01-15T15:10:00Z", cost=2, currency="USD"),
    )
    total = {"media_buy_id": buy[0], "package_id": buy[1][0], "hour": "2026-01-15T14:00:00Z", "currency": "USD"}
    totals = [total | {"impressions": n, "clicks": 10, "spend": 99.25} for n in (1, 1000)]

    answer = call(
        seller, "rest", "delivery", {"totals": [*totals, total, totals[0] | {"hour": "2026-01-15T14:30:00Z"}]}
    )

    assert answer["totals_processed"] == 2
    assert [failure["field"] for failure in answer["partial_failures"]] == ["totals[2].impressions", "totals[3].hour"]
    found = eventually(lambda: (d := delivery(seller, buy[0])["totals"])["clicks"] == 11 and d)
    assert (found["impressions"], found["spend"]) == (1000, 101.25)


def test_a_click_link_leads_to_a_conversion(seller: Server) -> None:
    buy = bought(seller, packages=1)
    destination = "https://shop.example/offer?a=1&pb_click_id=old#top"
    link = call(
        seller,
        "rest",
        "click-links",
        {"media_buy_id": buy[0], "package_id": buy[1][0], "destination": destination},
    )

    browser = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
    followed = HTTP.get(f"{seller.url}/c/{link['token']}", follow_redirects=False, headers=browser)

    assert followed.status_code == 302
    target = urlsplit(followed.headers["location"])
    assert (target.netloc, target.path, target.fragment) == ("shop.example", "/offer", "top")
    query = parse_qs(target.query)
    assert query["a"] == ["1"]
    [click_id] = query["pb_click_id"]
    log(seller, "shop", order("from_link", event_time=ago(seconds=-1), user_match={"click_id": click_id}))
    found = eventually(lambda: (a := attribution(seller, "purchase/from_link"))["status"] == "attributed" and a)
    assert (found["exposure_kind"], found["identifier"]) == ("click", "click_id")
    assert click_id not in seller.log.read_text()


def test_no_link_leads_anywhere_but_where_the_seller_chose(seller: Server) -> None:
    buy = bought(seller, packages=1)
    arguments = {"media_buy_id": buy[0], "package_id": buy[1][0], "destination": "https://shop.example/"}
    token = call(seller, "rest", "click-links", arguments)["token"]

    altered = [
        token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :] for place in range(len(token) - 1)
    ]
    with seller.client() as client:
        statuses = {client.get(f"/c/{other}", follow_redirects=False).status_code for other in [*altered, "x", "a.b"]}
    assert statuses == {404}
    for destination in ("javascript:alert(1)", "//evil.example", "https://user:pw@evil.example/", "https://", "/x", ""):
        error = error_of(call(seller, "rest", "click-links", arguments | {"destination": destination}))
        assert error["field"] == "destination"


def test_numbers_are_final_once_the_window_has_passed(seller: Server) -> None:
    with seller.client() as client:
        early = bought(seller, packages=1)
        refused = client.post(f"/v1/media-buys/{early[0]}/packages/{early[1][0]}/finalize")
        assert (refused.status_code, refused.json()["adcp_error"]["code"]) == (409, "NOT_FINAL_YET")

        buy = bought(seller, packages=1, start_time="2026-01-01T00:00:00Z", end_time="2026-02-01T00:00:00Z")
        report(seller, exposure("final_1", buy, occurred_at="2026-01-15T14:30:00Z"))
        final = client.post(f"/v1/media-buys/{buy[0]}/packages/{buy[1][0]}/finalize").json()
        assert final["is_final"] is True

        report(seller, exposure("final_2", buy, occurred_at="2026-01-15T14:40:00Z"))
        other = bought(seller, packages=1)
        report(seller, exposure("final_3", other))
        eventually(lambda: delivery(seller, other[0])["totals"]["clicks"] == 1)

    found = delivery(seller, buy[0])
    assert (found["is_final"], found["totals"]["clicks"]) == (True, 1)


def test_totals_of_a_package_whose_numbers_are_final_are_refused(seller: Server) -> None:
    ended = {"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-02-01T00:00:00Z"}
    (final, [package_id]), (other, [other_package]) = (bought(seller, packages=1, **ended) for _ in range(2))
    total = {"hour": "2026-01-15T14:00:00Z", "impressions": 9, "clicks": 2, "spend": 5, "currency": "USD"}
    of_final, of_other = (
        {"totals": [total | {"media_buy_id": buy, "package_id": package}]}
        for buy, package in ((final, package_id), (other, other_package))
    )
    key = {"idempotency_key": unique_key()}
    accepted = call(seller, "rest", "delivery", of_final | key)
    with seller.client() as client:
        assert client.post(f"/v1/media-buys/{final}/packages/{package_id}/finalize").json()["is_final"] is True
    reported = delivery(seller, final)
    assert (reported["is_final"], reported["totals"]["impressions"]) == (True, 9)

    later = of_final["totals"][0] | {"impressions": 90, "spend": 50}
    answer = call(seller, "rest", "delivery", {"totals": [later, *of_other["totals"]]})

    assert answer["totals_processed"] == 1
    [failure] = answer["partial_failures"]
    assert (failure["reason"], failure["code"], failure["field"], failure["retryable"]) == (
        "INVALID_STATE",
        "INVALID_STATE",
        "totals[0].package_id",
        False,
    )
    assert "are final" in failure["message"]
    assert "warnings" not in answer
    # The retry of a call from before is answered as the call was.
    again = call(seller, "rest", "delivery", of_final | key)
    assert again | {"ext": accepted["ext"]} == accepted | {"replayed": True}
    eventually(lambda: delivery(seller, other)["totals"].get("impressions") == 9, "the other package's total")
    assert delivery(seller, final) == reported


def test_a_buyers_key_reports_no_exposures(seller: Server) -> None:
    key = seller.command("keys", "create", "--account", "default")
    with seller.client(Authorization=f"Bearer {key}") as client:
        refused = client.post("/v1/exposures", json={"exposures": []})
    assert (refused.status_code, refused.json()["adcp_error"]["code"]) == (403, "PERMISSION_DENIED")
