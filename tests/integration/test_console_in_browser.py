"""The console in a real browser: usable with eyes, ears and keyboard, and deaf to what strangers write into events."""

from __future__ import annotations

import html
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from playwright.sync_api import ConsoleMessage, Dialog, Error, Page
from tests.browser import browsing
from tests.conftest import Server, StartServer
from tests.console_pages import PLACES, find_pages
from tests.demo_server import start_demo_server
from tests.integration.console import signed_in
from tests.screenshots import SIZES, sign_in
from tests.vendored import ROOT

EVERYTHING = "axe.run({resultTypes: ['violations']})"
COLOURS = "axe.run({runOnly: ['color-contrast'], resultTypes: ['violations']})"
AXE = (ROOT / "tests/vendor/axe.min.js").read_text()
EVIL = "\"'><script>window.stolen=1</script><img src=x onerror=window.stolen=1>{{7*7}}<b hx-get=/ hx-trigger=load>"
"""Valid wherever any text is, and short enough for an id."""
SCRIPT_URL = "javascript:window.stolen=1"


@dataclass
class Looker:
    """Somebody who looks at every page.

    Attributes:
        page: The browser's page.
        server: The server.
        addresses: Every page's path → its address.
        complaints: What the browser complained about: errors, dialogs, violations of the policy.
    """

    page: Page
    server: Server
    addresses: dict[str, str]
    complaints: list[str] = field(default_factory=list)

    def dismiss(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def note_error(self, error: Error) -> None:
        self.complaints.append(f"error: {error.message}")

    def note_message(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def look_at(self, address: str) -> None:
        self.page.goto(self.server.url + address)


@pytest.fixture(scope="module")
def looker(start_server: StartServer) -> Iterator[Looker]:
    server, key = start_demo_server(start_server, sandbox_accounts=True)
    _seed_evil(server)
    with signed_in(server, key) as visitor:
        addresses = find_pages(visitor)
    with browsing() as browser:
        page = browser.pages[0]
        found = Looker(page, server, addresses)
        page.on("dialog", found.dismiss)
        page.on("pageerror", found.note_error)
        page.on("console", found.note_message)
        sign_in(page, server.url, key)
        yield found


def test_links_lead_to_every_page(looker: Looker) -> None:
    assert {page.path for page in PLACES} - looker.addresses.keys() == set()


def test_nothing_on_any_page_is_a_barrier(looker: Looker) -> None:
    """axe finds nothing serious, at both sizes and in both schemes, and no page is wider than the screen."""
    barriers = []
    for address in ["/console/sign-in", *looker.addresses.values()]:
        looker.look_at(address)
        looker.page.evaluate(AXE)
        for size, (width, height) in SIZES.items():
            looker.page.set_viewport_size({"width": width, "height": height})
            if looker.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                barriers.append(f"{address} {size}: wider than the screen")
            for scheme in ("light", "dark"):
                looker.page.emulate_media(color_scheme=scheme)
                found: Any = looker.page.evaluate(EVERYTHING if scheme == "light" else COLOURS)
                barriers += [
                    f"{address} {size} {scheme}: {each['id']} {each['nodes'][0]['html'][:200]}"
                    for each in found["violations"]
                    if each["impact"] in {"serious", "critical"}
                ]

    assert "\n".join(barriers) == ""


def test_a_keyboard_reaches_the_content_first_and_every_page(looker: Looker) -> None:
    looker.look_at("/console")
    looker.page.keyboard.press("Tab")
    assert looker.page.evaluate("document.activeElement.textContent") == "Skip to the content"
    looker.page.keyboard.press("Enter")
    assert looker.page.evaluate("document.activeElement.id") == "content"
    for address in looker.addresses.values():
        looker.look_at(address)
        unreachable = looker.page.evaluate(
            "[...document.querySelectorAll('a[href],button,input:not([type=hidden]),select,summary')]"
            ".filter(e => e.tabIndex < 0).map(e => e.outerHTML)"
        )
        assert unreachable == [], address


def test_texts_of_strangers_are_shown_and_never_run(looker: Looker) -> None:
    looker.complaints.clear()
    seen = ""
    for path, address in looker.addresses.items():
        looker.look_at(address)
        seen += looker.page.inner_text("body")
        assert looker.page.evaluate("window.stolen") is None, path
        assert looker.page.query_selector("main script, main img, main b[hx-get]") is None, path
        assert looker.page.query_selector("a[href^='javascript:' i]") is None, path

    assert EVIL in seen
    assert looker.complaints == []


def test_whoever_has_another_account_finds_nothing_at_any_address(looker: Looker) -> None:
    server = looker.server
    with server.client() as owner:
        delivery, live = (owner.get(f"/console/{page}?format=json").json() for page in ("delivery", "live"))
    others = {buy["media_buy_id"] for buy in delivery["buys"]} | {row["event_id"] for row in live["receipts"]}
    server.command("accounts", "create", "stranger")
    key = server.command("keys", "create", "--account", "stranger")
    with signed_in(server, key) as stranger:
        assert stranger.get("/console/live/stream?account=default").status_code == 404
        for path, address in looker.addresses.items():
            for form in ("html", "json", "csv"):
                query = {} if form == "html" else {"format": form}
                chosen = httpx2.URL(address).copy_merge_params({"account": "default", **query})
                assert stranger.get(chosen).status_code == 404, chosen
                own = stranger.get(httpx2.URL(address.partition("?")[0], params=query))
                if "{" in path and own.status_code != 400:  # for a page without a table
                    assert own.status_code == 404, own.url
                assert not [other for other in others if other in html.unescape(own.text)], own.url


def _seed_evil(server: Server) -> None:
    """Write EVIL into every text field of the tasks that takes it."""
    now = datetime.now(UTC)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("sync_event_sources", {"event_sources": [{"event_source_id": EVIL[:100], "name": EVIL}]}),
        (
            "log_event",
            {"event_source_id": EVIL[:100], "events": [_evil_event(now, "1"), _evil_event(now, "2", lead=1)]},
        ),
        (
            "log_event",
            {"event_source_id": EVIL[:100], "test_event_code": EVIL[:60], "events": [_evil_event(now, "3")]},
        ),
        ("create_media_buy", _evil_buy(server, now)),
        ("exposures", {"exposures": [_evil_exposure(now, "evil", "evil_1"), _evil_exposure(now, EVIL, EVIL)]}),
    ]
    server.command("accounts", "create", "evil", "--name", EVIL)
    server.command("keys", "create", "--account", "evil", "--name", EVIL)
    for task, arguments in calls:
        answer = server.call(task, idempotency_key=str(uuid.uuid4()), account={"account_id": "default"}, **arguments)
        assert "adcp_error" not in answer.json(), answer.text


def _evil_event(now: datetime, suffix: str, lead: int = 0) -> dict[str, Any]:
    return {
        "event_id": EVIL + suffix,
        "event_type": "lead" if lead else "purchase",
        "event_time": now.isoformat(),
        "action_source": "website",
        "event_source_url": SCRIPT_URL if lead else "https://shop.example/?q=<script>window.stolen=1</script>",
        "user_match": {
            "hashed_email": f"{uuid.uuid4().hex}{uuid.uuid4().hex}",
            "click_id": EVIL,
            "click_id_type": EVIL,
        },
        "custom_data": {
            "value": 1,
            "currency": "USD",
            "order_id": EVIL + suffix,
            "content_ids": [EVIL],
            "content_type": EVIL,
            "content_name": EVIL,
            "content_category": EVIL,
            "search_string": EVIL,
            "contents": [{"id": EVIL, "brand": EVIL}],
        },
    }


def _evil_buy(server: Server, now: datetime) -> dict[str, Any]:
    [product, *_] = server.call("get_products").json()["products"]
    return {
        "name": EVIL,
        "brand": {"domain": "shop.example"},
        "start_time": (now - timedelta(days=1)).isoformat(),
        "end_time": (now + timedelta(days=1)).isoformat(),
        "packages": [
            {
                "product_id": product["product_id"],
                "pricing_option_id": product["pricing_options"][0]["pricing_option_id"],
                "budget": 2_000,
                "bid_price": 5,
                "ext": {"postback": {"package_id": "evil_1"}},
            }
        ],
        "ext": {"postback": {"media_buy_id": "evil"}},
    }


def _evil_exposure(now: datetime, media_buy_id: str, package_id: str) -> dict[str, Any]:
    return {
        "exposure_id": EVIL + media_buy_id,
        "kind": "impression",
        "occurred_at": (now - timedelta(minutes=5)).isoformat(),
        "media_buy_id": media_buy_id,
        "package_id": package_id,
        "creative_id": EVIL,
    }
