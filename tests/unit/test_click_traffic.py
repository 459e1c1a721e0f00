"""Which clicks on a link are people's."""

from __future__ import annotations

import pytest

from postback.exposures.click_tokens import ClickLink
from postback.exposures.click_traffic import REPEAT_SECONDS, Visitor, VisitorClicks, visitor_of

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROME = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Mobile Safari/537.36"
)
IN_APP = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 "
    "[FBAN/FBIOS;FBAV/470.0.0]"
)
AD = ClickLink("acme", "mb_1", "pkg_1", "ad_1", "click", "https://shop.example/")
ANOTHER_AD = ClickLink("acme", "mb_1", "pkg_1", "ad_2", "click", "https://shop.example/")


class Link:
    """A click link that counts at most ``per_hour`` clicks from an address, at a time that stands still."""

    def __init__(self, per_hour: int = 3) -> None:
        self.time = 0.0
        self.clicks = VisitorClicks(per_hour, lambda: self.time)
        self.ids = iter(map(str, range(1_000_000)))

    def click(self, address: str = "203.0.113.7", user_agent: str = FIREFOX, link: ClickLink = AD) -> str | None:
        return self.clicks.click(link, Visitor(address, user_agent, False), next(self.ids))[1]


@pytest.mark.parametrize("user_agent", [FIREFOX, CHROME, IN_APP, "Opera/9.80 (J2ME/MIDP; Opera Mini/7.1) Presto/2.12"])
def test_a_click_in_a_browser_counts(user_agent: str) -> None:
    assert Link().click(user_agent=user_agent) is None


@pytest.mark.parametrize(
    ("user_agent", "reason"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "BOT"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/139.0.0.0", "BOT"),
        ("facebookexternalhit/1.1", "BOT"),
        ("curl/8.5.0", "BOT"),
        ("My own script", "NOT_A_BROWSER"),
        ("", "NOT_A_BROWSER"),
        ("Mozilla/5.0 " + "x" * 5000, "NOT_A_BROWSER"),
    ],
)
def test_a_program_does_not_click(user_agent: str, reason: str) -> None:
    link = Link()

    assert link.click(user_agent=user_agent) == reason
    assert link.click() is None, "the program took a click from the person at its address"


@pytest.mark.parametrize(
    "headers",
    [{"sec-purpose": "prefetch;prerender"}, {"purpose": "prefetch"}, {"x-purpose": "preview"}, {"x-moz": "prefetch"}],
)
def test_a_page_that_is_prefetched_is_not_clicked(headers: dict[str, str]) -> None:
    visitor = visitor_of("203.0.113.7", headers | {"user-agent": FIREFOX})

    assert VisitorClicks(3).click(AD, visitor, "id")[1] == "PREFETCH"
    assert not visitor_of("203.0.113.7", {"user-agent": FIREFOX, "sec-fetch-dest": "document"}).prefetches


def test_a_double_click_counts_once_and_its_page_gets_the_id_that_counts() -> None:
    clicks = VisitorClicks(3, lambda: 0.0)
    visitor = Visitor("203.0.113.7", FIREFOX, False)

    assert clicks.click(AD, visitor, "first") == ("first", None)
    assert clicks.click(AD, visitor, "second") == ("first", "REPEATED")


def test_a_repeat_is_the_same_browser_on_the_same_link_within_seconds() -> None:
    link = Link()
    link.click()

    assert link.click(user_agent=CHROME) is None
    assert link.click(address="203.0.113.8") is None
    assert link.click(link=ANOTHER_AD) is None
    link.time = REPEAT_SECONDS - 0.1
    assert link.click() == "REPEATED"
    link.time = REPEAT_SECONDS
    assert link.click() is None


def test_an_address_has_so_many_clicks_an_hour_on_a_link() -> None:
    link = Link(per_hour=3)

    def in_a_minute(address: str = "203.0.113.7", user_agent: str = FIREFOX, ad: ClickLink = AD) -> str | None:
        link.time += 60
        return link.click(address, user_agent, ad)

    assert [in_a_minute() for _ in range(4)] == [None, None, None, "TOO_MANY"]
    assert in_a_minute(user_agent=CHROME) == "TOO_MANY"
    assert in_a_minute(address="203.0.113.8") is None
    assert in_a_minute(ad=ANOTHER_AD) is None
    link.time += 3600
    assert link.click() is None


def test_a_seller_may_count_every_click_of_a_browser() -> None:
    link = Link(per_hour=0)

    assert [link.click() for _ in range(100)] == [None] * 100
    assert link.click(user_agent="curl/8.5.0") == "BOT"


def test_strangers_from_many_addresses_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postback.exposures.click_traffic._MOST_REMEMBERED", 100)
    link = Link(per_hour=1)
    link.click(address="first")

    for number in range(1_000):
        assert link.click(address=str(number)) is None

    assert link.click(address="999") == "REPEATED"
    assert link.click(address="first") is None, "it was remembered beyond the bound"
