"""The live view in a real browser: events appear as they are stored, and only those that were asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from tests.acceptance.conversions import ago
from tests.browser import browsing
from tests.conftest import Server, StartServer

_PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def shop(start_server: StartServer) -> Server:
    server = start_server()
    server.call("sync_event_sources", event_sources=[{"event_source_id": "shop"}, {"event_source_id": "app"}])
    server.command("accounts", "create", "rival")
    return server


@pytest.fixture
def page(shop: Server) -> Iterator[Page]:
    """The live view, which somebody who signed in sees first."""
    with browsing() as window:
        page = window.new_page()
        page.goto(f"{shop.url}/console")
        page.get_by_label("Key").fill(shop.key)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Live events")).to_be_visible(timeout=_PATIENCE_MS)
        yield page


def lead(server: Server, *event_ids: str, key: str | None = None, source: str = "shop") -> None:
    events = [{"event_id": event_id, "event_type": "lead", "event_time": ago(minutes=1)} for event_id in event_ids]
    with server.client(**({"Authorization": f"Bearer {key}"} if key else {})) as client:
        answer = client.post("/v1/log_event", json={"event_source_id": source, "events": events})
    assert answer.json()["events_processed"] == len(events), answer.text


def see(page: Page, *event_ids: str) -> None:
    """Wait until the table has these events, and check that it has none that begins with ``never``."""
    for event_id in event_ids:
        expect(page.get_by_role("link", name=event_id, exact=True)).to_be_visible(timeout=_PATIENCE_MS)
    expect(page.get_by_text("never")).to_have_count(0)


def test_an_event_appears_a_pause_holds_it_back_and_a_filter_leaves_it_out(shop: Server, page: Page) -> None:
    rival = shop.command("keys", "create", "--account", "rival")
    with shop.client(Authorization=f"Bearer {rival}") as client:
        client.post("/v1/sync_event_sources", json={"event_sources": [{"event_source_id": "shop"}]}).raise_for_status()
    lead(shop, "never-of-another-account", key=rival)
    lead(shop, "first")
    see(page, "first")

    page.get_by_role("link", name="Pause").click()
    expect(page.get_by_text("Paused")).to_be_visible(timeout=_PATIENCE_MS)
    lead(shop, "second")
    paused = page.url
    with shop.client() as client:  # it is stored, as whoever reads the list sees
        assert client.get("/console/lookup?id=second&format=json").json()["explained"]
    page.reload()
    see(page, "first")
    expect(page.get_by_text("second", exact=True)).to_have_count(0)
    assert page.url == paused

    page.get_by_role("link", name="Resume").click()
    see(page, "first", "second")

    page.get_by_label("Source").select_option("app")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("link", name="Pause")).to_be_visible(timeout=_PATIENCE_MS)
    lead(shop, "never-of-another-source")
    lead(shop, "third", source="app")
    see(page, "third")
    page.get_by_role("link", name="third").click()
    expect(page.get_by_role("heading", name="What became of it")).to_be_visible(timeout=_PATIENCE_MS)


def test_more_events_than_a_page_can_show_are_counted_and_listed(shop: Server, page: Page) -> None:
    lead(shop, *(f"flood-{number:04}" for number in range(6_000)))
    more = page.locator("tr.more").first
    expect(more).to_be_visible(timeout=_PATIENCE_MS)
    expect(more).to_contain_text("5,950 more")
    more.get_by_role("link").click()
    expect(page.get_by_role("link", name="flood-5999")).to_be_visible(timeout=_PATIENCE_MS)
    expect(page.get_by_role("link", name="Older events")).to_be_visible(timeout=_PATIENCE_MS)


def test_a_browser_without_scripts_shows_the_same_on_the_next_look(shop: Server) -> None:
    lead(shop, "plain")
    with browsing(scripts=False) as window:
        page = window.new_page()
        page.goto(f"{shop.url}/console/live?id=plain")
        page.get_by_label("Key").fill(shop.key)
        page.get_by_role("button", name="Sign in").click()
        see(page, "plain")
        expect(page.get_by_text("Events appear when they are stored")).to_be_hidden()
        lead(shop, "plain-and-new")
        with shop.client() as client:  # it is stored, as whoever reads the list sees
            assert client.get("/console/lookup?id=plain-and-new&format=json").json()["explained"]
        page.get_by_role("link", name="Reload").click()
        see(page, "plain", "plain-and-new")
        page.get_by_label("Outcome").select_option("rejected")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_text("Nothing was received that fits.")).to_be_visible()
        page.goto(f"{shop.url}/console/sources/shop")
        expect(page.get_by_role("button", name="Copy")).to_have_count(0)
