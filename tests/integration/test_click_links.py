"""Clicks on click links: people are led on and counted, and what no person clicked is shown apart."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from tests.acceptance.conversions import call
from tests.acceptance.official import refuse_unless_valid
from tests.conftest import HTTP, eventually
from tests.in_process import call as call_in_process
from tests.in_process import serving
from tests.integration.orders import buy, order
from tests.integration.test_accounts import decide
from tests.unit.test_click_traffic import CHROME, FIREFOX

if TYPE_CHECKING:
    from tests.conftest import Server

URL_SAFE = f"{ascii_letters}{digits}-_"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


class Link:
    """A click link of a media buy of its own, and who follows it."""

    def __init__(self, seller: Server) -> None:
        self.seller = seller
        bought = buy(seller)
        self.media_buy_id, self.package_id = bought["media_buy_id"], bought["packages"][0]["package_id"]
        package = {"media_buy_id": self.media_buy_id, "package_id": self.package_id}
        self.url = call(seller, "rest", "click-links", package | {"destination": "https://shop.example/"})["url"]

    def follow(self, address: str, user_agent: str = FIREFOX, **headers: str) -> httpx2.Response:
        """Follow it as a visitor whose address a proxy tells."""
        told = {"X-Forwarded-For": address, "User-Agent": user_agent, **headers}
        return HTTP.get(self.url, follow_redirects=False, headers=told)

    def delivery(self) -> dict[str, Any]:
        return call(self.seller, "rest", "get_media_buy_delivery", {"media_buy_ids": [self.media_buy_id]})

    def clicks(self) -> tuple[int, Counter[str]]:
        """How many count, and how many don't for which reason."""
        report = self.delivery()
        invalid = report["ext"]["postback"].get("invalid_clicks", [])
        assert all(found["package_id"] == self.package_id for found in invalid)
        return report["aggregated_totals"]["clicks"], Counter({found["reason"]: found["count"] for found in invalid})


def page(response: httpx2.Response) -> tuple[str, list[str]]:
    """The page that a visitor comes to, and the click ids that it gets."""
    assert response.status_code == 302, response.text
    url = urlsplit(response.headers["location"])
    return url.netloc, parse_qs(url.query)["pb_click_id"]


def test_what_nobody_clicked_is_shown_apart_and_everybody_gets_to_the_page(seller: Server) -> None:
    link = Link(seller)

    people = [page(link.follow(address)) for address in ("203.0.113.1", "203.0.113.2", "2001:db8::1")]
    repeated = page(link.follow("203.0.113.1"))
    neighbour = page(link.follow("2001:db8::2"))
    bot = page(link.follow("203.0.113.3", GOOGLEBOT))
    script = page(link.follow("203.0.113.4", "Shop checker"))
    prefetched = link.follow("203.0.113.5", **{"Sec-Purpose": "prefetch"})

    assert {where for where, _ in (*people, repeated, neighbour, bot, script)} == {"shop.example"}
    assert repeated == people[0], "the page of a double click gets another id than the click that counts"
    assert neighbour == people[2], "addresses of one IPv6 network count as several visitors"
    assert (prefetched.status_code, "location" in prefetched.headers) == (503, False)
    invalid = Counter(REPEATED=2, BOT=1, NOT_A_BROWSER=1, PREFETCH=1)
    eventually(lambda: link.clicks() == (3, invalid), f"a report with 3 clicks and {invalid}")
    refuse_unless_valid("get_media_buy_delivery", link.delivery(), None)


def test_one_machine_makes_no_more_clicks_than_an_address_may(seller: Server) -> None:
    link = Link(seller)

    with httpx2.Client(headers={"X-Forwarded-For": "198.51.100.1"}) as machine:
        for number in range(70):
            page(machine.get(link.url, headers={"User-Agent": f"{CHROME} Edg/{number}"}))

    eventually(lambda: link.clicks() == (60, Counter(TOO_MANY=10)), "a report with 60 clicks")


def test_a_link_that_is_spelt_in_another_way_is_no_link(seller: Server) -> None:
    link = Link(seller)

    with httpx2.Client(headers={"X-Forwarded-For": "198.51.100.2", "User-Agent": FIREFOX}) as machine:
        statuses = {machine.get(f"{link.url}={number}").status_code for number in range(70)}
        statuses |= {machine.get(f"{link.url}{added}").status_code for added in ("!!!!", "%C3%A9", "====")}
        others = set(URL_SAFE) - {link.url[-1]}  # a signature's last character has two bits that mean nothing
        statuses |= {machine.get(f"{link.url[:-1]}{last}").status_code for last in others}
    page(link.follow("198.51.100.2"))

    assert statuses == {404}
    eventually(lambda: link.clicks() == (1, Counter()), "a report with the click on the link as it was made")


def test_the_links_of_a_closed_account_lead_on_and_count_nothing(seller: Server) -> None:
    link = Link(seller)
    decide(seller, "default", "closed")
    try:
        eventually(
            lambda: (
                page(link.follow("203.0.113.1", f"{CHROME} {link.clicks()}"))[0] == "shop.example"
                and link.clicks()[1]["ACCOUNT_CLOSED"]
            ),
            "a click that doesn't count",
        )
    finally:
        decide(seller, "default", "active")


@pytest.mark.anyio
async def test_an_address_that_no_trusted_proxy_tells_counts_for_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path / "data", trusted_proxies="10.0.0.7") as client:
        bought = await call_in_process(client, "create_media_buy", **order())
        named = {"media_buy_id": bought["media_buy_id"], "package_id": bought["packages"][0]["package_id"]}
        link = await call_in_process(client, "click-links", **named, destination="https://shop.example/")
        path = urlsplit(link["url"]).path
        told = [{"User-Agent": FIREFOX, "X-Forwarded-For": address} for address in ("203.0.113.1", "203.0.113.2")]
        first, second = [page(await client.get(path, headers=headers)) for headers in told]

    assert second == first, "the second one counts, though both come from one address"
    [warning] = [record.message for record in caplog.records if "X-Forwarded-For" in record.message]
    assert "POSTBACK_TRUSTED_PROXIES" in warning


@pytest.mark.anyio
async def test_many_clicks_share_an_insert_and_invalid_ones_survive_a_stop(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data, clicks_per_hour=0) as client:
        bought = await call_in_process(client, "create_media_buy", **order())
        named = {"media_buy_id": bought["media_buy_id"], "package_id": bought["packages"][0]["package_id"]}
        link = await call_in_process(client, "click-links", **named, destination="https://shop.example/")
        path = urlsplit(link["url"]).path
        followed = await asyncio.gather(*(client.get(path, headers={"User-Agent": FIREFOX}) for _ in range(100)))
        assert {response.status_code for response in followed} == {302}
        await call_in_process(client, "get_media_buy_delivery", media_buy_ids=[named["media_buy_id"]])
        lines = (await client.get("/metrics")).text.splitlines()
        [inserts] = [line for line in lines if line.startswith("postback_insert_calls_count ")]
        await client.get(path, headers={"User-Agent": GOOGLEBOT})

    async with serving(data) as client:
        report = await call_in_process(client, "get_media_buy_delivery", media_buy_ids=[named["media_buy_id"]])

    assert float(inserts.split()[1]) < 25
    [invalid] = report["ext"]["postback"]["invalid_clicks"]
    assert invalid == {**named, "reason": "BOT", "count": 1}
