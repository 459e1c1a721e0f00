"""A shop puts the tag on its pages: a real browser, pages of one origin and the server of another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from tests.acceptance.conversions import ago, call
from tests.browser import browsing
from tests.conftest import HTTP, eventually
from tests.integration.orders import buy, goal, package
from tests.unit.test_click_traffic import CHROME

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Request, Route
    from tests.conftest import Server

EMAIL, PHONE = "Jane.Doe@Shop.Example ", "+49 (30) 123 456"
HASHED_EMAIL = sha256(b"jane.doe@shop.example").hexdigest()
HASHED_PHONE = sha256(b"+4930123456").hexdigest()


class Shop:
    """A web server whose every page is the same; its host is localhost, and that of the tag's server 127.0.0.1.

    Its port is its own, so that no page finds what those of another shop have stored.
    """

    def __init__(self) -> None:
        self.html = ""
        shop = self

        class Pages(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(f"<!doctype html><title>Shop</title>{shop.html}".encode())

            def log_message(self, *_: object) -> None:
                """Nothing: pytest's output is for failures."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        self.port = self._server.server_port
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with browsing(user_agent=CHROME) as context:
        yield context


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.close()


class Site:
    """A source of its own on the shop's pages, and what its tag sends."""

    def __init__(self, seller: Server, shop: Shop, browser: BrowserContext, **tag: Any) -> None:
        self.seller, self.shop, self.browser = seller, shop, browser
        self.event_source_id = f"site_{uuid4().hex[:8]}"
        declared = {
            "event_source_id": self.event_source_id,
            "action_source": "website",
            "allowed_domains": ["localhost"],
            "ext": {"postback": {"tag": tag}},
        }
        answer = call(seller, "rest", "sync_event_sources", {"event_sources": [declared]})
        self.source = answer["event_sources"][0]
        self.requests: list[Request] = []
        self.said: list[str] = []
        shop.html = self.source["setup"]["snippet"]

    @contextmanager
    def visit(self, path: str = "/", host: str = "localhost", before: str = "") -> Iterator[Page]:
        """A page of the shop, in a tab of its own; ``before`` is a script that runs before its own."""
        page = self.browser.new_page()
        page.on("request", self._note)
        page.on("console", lambda message: self.said.append(message.text))
        if before:
            page.add_init_script(before)
        page.goto(f"http://{host}:{self.shop.port}{path}")
        try:
            yield page
        finally:
            page.close()

    def _note(self, request: Request) -> None:
        if f":{self.shop.port}/" not in request.url:
            self.requests.append(request)

    def posted(self) -> list[dict[str, Any]]:
        """The events that were sent, in order."""
        bodies = [json.loads(request.post_data or "{}") for request in self.requests if request.method == "POST"]
        return [event for body in bodies for event in body["events"]]

    def status(self, event_id: str, event_type: str = "purchase") -> dict[str, Any]:
        """The status of an event, once it is accepted."""

        def look() -> dict[str, Any] | None:
            with self.seller.client() as client:
                response = client.get(f"/v1/events/{self.event_source_id}/{event_type}/{event_id}")
            found: dict[str, Any] = response.json()
            return found if response.status_code == 200 and found["statuses"][0]["status"] == "accepted" else None

        return dict(eventually(look, f"the event {event_id}"))

    def received(self) -> int:
        """Events that arrived, copies and rejected ones too."""
        answer = call(self.seller, "rest", "sync_event_sources", {})
        [health] = [
            source["health"] for source in answer["event_sources"] if source["event_source_id"] == self.event_source_id
        ]
        return int(health["events_received_24h"])

    def wait(self, page: Page, look: Callable[[], Any], what: str) -> None:
        """Wait for what the page does; Playwright hears of it only while it waits itself."""

        def look_again() -> Any:
            page.wait_for_timeout(20)
            return look()

        eventually(look_again, what, pause=0)

    def settled(self, page: Page) -> None:
        """Wait until the tag has its settings."""
        page.wait_for_load_state("networkidle")


@pytest.fixture
def site(seller: Server, shop: Shop, browser: BrowserContext) -> Iterator[Any]:
    made: list[Site] = []

    def make(**tag: Any) -> Site:
        made.append(Site(seller, shop, browser, **tag))
        return made[-1]

    yield make
    browser.clear_cookies()


def purchase(page: Page, order_id: str, **facts: Any) -> None:
    page.evaluate(
        "facts => postback('purchase', facts)", {"value": 49.95, "currency": "USD", "order_id": order_id} | facts
    )


def test_an_order_of_page_and_server_is_one_conversion_of_the_click(site: Any, seller: Server) -> None:
    shop = site()
    order_id = f"order-{uuid4().hex[:8]}"
    server = f"server_{uuid4().hex[:8]}"
    call(seller, "rest", "sync_event_sources", {"event_sources": [{"event_source_id": server}]})
    sources = [
        {"event_source_id": source, "event_type": "purchase", "value_field": "value"}
        for source in (server, shop.event_source_id)
    ]
    bought = buy(seller, package(goal(*sources)))
    named = {"media_buy_id": bought["media_buy_id"], "package_id": bought["packages"][0]["package_id"]}
    link = call(
        seller, "rest", "click-links", named | {"destination": f"http://localhost:{shop.shop.port}/landing?color=red"}
    )["url"]

    with shop.visit() as page:
        page.goto(link)
        assert "pb_click_id=" in page.url
        shop.settled(page)
        page.goto(f"http://localhost:{shop.shop.port}/thanks?email=jane.doe@shop.example")
        purchase(page, order_id, email=EMAIL, phone=PHONE, note="call +49 30 123456 or jane.doe@shop.example")
        status = shop.status(order_id)
    event = {
        "event_id": order_id,
        "event_type": "purchase",
        "event_time": ago(seconds=0),
        "user_match": {"hashed_email": HASHED_EMAIL},
        "custom_data": {"value": 45.0, "currency": "USD", "order_id": order_id},
    }
    logged = call(seller, "rest", "log_event", {"event_source_id": server, "events": [event]})

    assert logged["events_processed"] == 1
    assert set(status["statuses"][0]["identifiers"]) == {"hashed_email", "hashed_phone", "click_id"}
    assert "FROM_BROWSER" in status["statuses"][0]["warnings"]
    report = eventually(lambda: _settled_report(seller, named["media_buy_id"]), "one conversion of the server's value")
    assert (report["conversions"], report["conversion_value"]) == (1, 45.0)
    [sent] = shop.posted()
    assert (sent["user_match"]["hashed_email"], sent["user_match"]["hashed_phone"]) == (HASHED_EMAIL, HASHED_PHONE)
    assert sent["event_source_url"] == f"http://localhost:{shop.shop.port}/thanks"
    everything = " ".join(f"{request.url} {request.post_data} {request.headers}" for request in shop.requests).lower()
    assert not any(plain in everything for plain in ("jane", "123 456", "123456", "%40"))


def _settled_report(seller: Server, media_buy_id: str) -> dict[str, Any] | None:
    report = call(seller, "rest", "get_media_buy_delivery", {"media_buy_ids": [media_buy_id]})
    totals: dict[str, Any] = report["aggregated_totals"]
    return totals if totals.get("conversion_value") == 45.0 else None


def test_calls_before_the_script_has_loaded_are_sent_with_their_own_times(site: Any) -> None:
    shop = site()
    shop.shop.html = (
        "<script>window.postback = window.postback || function () { (postback.q = postback.q || []).push(arguments) };"
        "postback('lead', { event_id: 'early-1' }); postback('lead', { event_id: 'early-2' })</script>"
        + shop.source["setup"]["snippet"]
    )
    with shop.visit():
        shop.status("early-1", "lead")
        shop.status("early-2", "lead")

    posts = [request for request in shop.requests if request.method == "POST"]
    assert len(posts) == 1, "two calls at once are two requests"


def test_each_page_of_a_single_page_application_is_one_page_view(site: Any) -> None:
    shop = site(page_view=True)
    with shop.visit("/one") as page:
        shop.settled(page)
        page.evaluate("history.pushState({}, '', '/two'); history.replaceState({}, '', '/two#part')")
        page.evaluate("history.pushState({}, '', '/two#other')")
        page.evaluate("history.pushState({}, '', '/three')")
        page.go_back()
        page.go_back()
        shop.wait(page, lambda: len(shop.posted()) >= 4, "four page views")
        page.wait_for_load_state("networkidle")

    paths = [event["event_source_url"].rpartition("/")[2] for event in shop.posted()]
    assert paths == ["one", "two", "three", "two"]
    assert len({event["event_id"] for event in shop.posted()}) == 4


def test_without_the_setting_no_page_view_is_sent(site: Any) -> None:
    shop = site()
    with shop.visit() as page:
        shop.settled(page)
        purchase(page, "only-this")
        shop.status("only-this")

    assert [event["event_type"] for event in shop.posted()] == ["purchase"]


GPC = "Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })"


def test_global_privacy_control_drops_everything_by_default(site: Any) -> None:
    shop = site(page_view=True)
    with shop.visit("/?gclid=Cj0KCQjw-1", before=GPC) as page:
        shop.settled(page)
        purchase(page, "private-1", email=EMAIL)
        shop.wait(page, lambda: any("Global Privacy Control" in said for said in shop.said), "what the console says")
        assert _stored(page) == ("", {})

    assert shop.posted() == []


def test_global_privacy_control_strips_identifiers_where_the_source_wants_it(site: Any) -> None:
    shop = site(gpc="strip")
    with shop.visit("/?gclid=Cj0KCQjw-1", before=GPC) as page:
        shop.settled(page)
        purchase(page, "private-2", email=EMAIL)
        status = shop.status("private-2")
        assert _stored(page) == ("", {})

    assert status["statuses"][0]["identifiers"] == []
    [sent] = shop.posted()
    assert "user_match" not in sent


def _stored(page: Page) -> tuple[str, dict[str, Any]]:
    """What the shop's pages have stored in the browser."""
    cookies: str = page.evaluate("document.cookie")
    storage: dict[str, Any] = page.evaluate("({ ...localStorage, ...sessionStorage })")
    return cookies, storage


def test_nothing_is_sent_or_stored_before_consent_where_it_is_required(site: Any) -> None:
    shop = site(consent_required=True, page_view=True)
    with shop.visit("/landing?gclid=Cj0KCQjw-2") as page:
        shop.settled(page)
        purchase(page, "consented")
        page.evaluate("dispatchEvent(new Event('pagehide'))")
        page.wait_for_load_state("networkidle")
        assert _stored(page) == ("", {})
        assert shop.posted() == []

        page.evaluate("postback('consent', 'granted')")
        status = shop.status("consented")
        assert "_postback=gclid:Cj0KCQjw-2" in _stored(page)[0]

        page.evaluate("postback('consent', 'denied')")
        purchase(page, "denied")
        page.wait_for_load_state("networkidle")
        assert _stored(page) == ("", {})

    assert status["statuses"][0]["identifiers"] == ["click_id"]
    assert {event["event_type"] for event in shop.posted()} == {"page_view", "purchase"}
    assert "denied" not in {event["event_id"] for event in shop.posted()}


@pytest.mark.parametrize(
    ("platform", "refusing", "granting"),
    [
        (
            "window.__tcfapi = (command, version, listener) => { window.tell = data => listener(data, true) }",
            {"gdprApplies": True, "eventStatus": "useractioncomplete", "purpose": {"consents": {"1": True}}},
            {"gdprApplies": True, "eventStatus": "tcloaded", "purpose": {"consents": {"1": True, "7": True}}},
        ),
        (
            "window.__gpp = (command, listener) => { window.tell = data => listener(data, true) }",
            {"pingData": {"signalStatus": "ready", "parsedSections": {"usnat": [{"SaleOptOut": 1}]}}},
            {"pingData": {"signalStatus": "ready", "parsedSections": {"usnat": [{"SaleOptOut": 2}]}}},
        ),
        (
            "window.__gpp = (command, listener) => { window.tell = data => listener(data, true) }",
            {"pingData": {"signalStatus": "ready", "parsedSections": {"uspv1": {"Notice": "Y", "OptOutSale": "Y"}}}},
            {"pingData": {"signalStatus": "ready", "parsedSections": {"uspv1": {"Notice": "Y", "OptOutSale": "N"}}}},
        ),
    ],
    ids=["TCF", "GPP", "GPP, the oldest section"],
)
def test_a_consent_platform_decides(
    site: Any, platform: str, refusing: dict[str, Any], granting: dict[str, Any]
) -> None:
    shop = site(consent_required=True)
    with shop.visit(before=platform) as page:
        page.wait_for_function("() => Boolean(window.tell)")
        page.evaluate("data => tell(data)", refusing)
        purchase(page, "refused")
        page.evaluate("data => tell(data)", granting)
        purchase(page, "granted")
        shop.status("granted")

    assert [event["event_id"] for event in shop.posted()] == ["granted"]


@pytest.mark.parametrize("section", ["tcfeuv2", "usnat"])
def test_a_refusal_holds_whatever_else_the_consent_platform_says(site: Any, section: str) -> None:
    shop = site(consent_required=True)
    platform = """
        window.__tcfapi = (command, version, listener) =>
            listener({ gdprApplies: true, eventStatus: 'tcloaded', purpose: { consents: {} } }, true)
        window.__gpp = (command, listener) =>
            listener({ pingData: { signalStatus: 'ready', parsedSections: { SECTION: [{ SaleOptOut: 2 }] } } }, true)
    """
    with shop.visit("/landing?gclid=Cj0KCQjw-3", before=platform.replace("SECTION", section)) as page:
        shop.settled(page)
        purchase(page, "refused")
        page.wait_for_load_state("networkidle")
        assert _stored(page) == ("", {})

    assert shop.posted() == []


def test_an_order_before_consent_has_the_click_of_an_earlier_page(site: Any) -> None:
    shop = site(consent_required=True)
    with shop.visit("/landing?gclid=Cj0KCQjw-4") as page:
        shop.settled(page)
        page.evaluate("postback('consent', 'granted')")
        page.goto(f"http://localhost:{shop.shop.port}/thanks")
        shop.settled(page)
        purchase(page, "before-consent")
        page.evaluate("postback('consent', 'granted')")
        status = shop.status("before-consent")

    assert status["statuses"][0]["identifiers"] == ["click_id"]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("+49 (0)30 123-456", HASHED_PHONE),
        ("0049 30/123 456", HASHED_PHONE),
        ("+49 (030) 123456", None),
        ("+49 30 123456 ext. 5", None),
    ],
)
def test_phones_are_sent_as_the_whole_world_dials_them_or_not_at_all(site: Any, written: str, sent: str | None) -> None:
    shop = site()
    with shop.visit() as page:
        shop.settled(page)
        purchase(page, "by-phone", phone=written)
        shop.status("by-phone")

    [event] = shop.posted()
    assert event["user_match"].get("hashed_phone") == sent


def test_an_order_survives_a_server_that_is_busy(site: Any) -> None:
    shop = site()
    answers = ["503"]

    def busy_once(route: Route) -> None:
        if route.request.method != "POST" or not answers:
            return route.continue_()
        answers.pop()
        origin = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
        return route.fulfill(status=503, headers={"Retry-After": "1", **origin}, body="{}")

    with shop.visit() as page:
        page.route("**/tag/src_*", busy_once)
        shop.settled(page)
        purchase(page, "busy")
        shop.wait(page, lambda: "busy" in str(_stored(page)[1]), "storing what failed")
        shop.wait(page, lambda: len(shop.posted()) == 2, "the second try")
        shop.status("busy")
        shop.wait(page, lambda: _stored(page)[1] == {}, "forgetting what was sent")

    first, second = shop.posted()
    assert first == second, "the retry is another event"
    assert shop.received() == 1


def test_an_order_of_a_visitor_who_was_offline_is_sent_on_the_next_page(site: Any, browser: BrowserContext) -> None:
    shop = site()
    with shop.visit() as page:
        shop.settled(page)
        browser.set_offline(True)
        purchase(page, "offline")
        page.wait_for_function("localStorage.length > 0")
    browser.set_offline(False)
    with shop.visit("/next"):
        shop.status("offline")

    assert shop.received() == 1


def test_without_keepalive_a_beacon_is_sent(site: Any) -> None:
    shop = site()
    with shop.visit(before="delete Request.prototype.keepalive") as page:
        shop.settled(page)
        purchase(page, "beacon")
        shop.status("beacon")


def test_a_page_of_another_domain_sends_nothing_and_its_console_says_why(site: Any) -> None:
    shop = site(page_view=True)
    with shop.visit(host="127.0.0.1") as page:
        purchase(page, "elsewhere")
        shop.wait(page, lambda: any("allowed_domains" in said for said in shop.said), "what the console says")

    assert shop.posted() == []
    assert shop.received() == 0


def test_wrong_calls_are_explained_in_the_console(site: Any) -> None:
    shop = site(event_types=["purchase", "lead", "custom"])
    with shop.visit() as page:
        shop.settled(page)
        page.evaluate("postback('buy'); postback('consent', 'yes'); postback('custom')")
        purchase(page, "no-currency", currency=None)
        purchase(page, "text", value="49,95 €", phone="030 123456", email="jane")
        shop.status("no-currency")
        wanted = (
            "buy is not an event type of this source: custom, lead, purchase.",
            "consent is 'granted' or 'denied'.",
            "value counts nothing without currency",
            "email is not an e-mail address",
            "phone needs its country code",
            "custom_event_name is required when event_type is custom.",
            "custom_data.value must be a JSON number",
        )
        shop.wait(
            page, lambda: all(any(each in said for said in shop.said) for each in wanted), f"{wanted} in the console"
        )


def test_a_browser_loads_the_script_only_with_the_digest_that_the_page_names(site: Any) -> None:
    shop = site()
    shop.shop.html = shop.source["setup"]["snippet"].replace("sha384-", "sha384-AAAA")
    with shop.visit() as page:
        page.wait_for_load_state("networkidle")
        assert not page.evaluate("Boolean(window.postback.loaded)")

    assert HTTP.get(f"{shop.seller.url}/tag.js").headers["cache-control"] == "public, max-age=300"
