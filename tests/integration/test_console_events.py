"""The console's pages about events: what came, what became of it, what failed and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from tests.acceptance.conversions import ago
from tests.acceptance.test_closed_loop import bought as bought_media
from tests.acceptance.test_closed_loop import exposure, person, report
from tests.conftest import Server, StartServer, eventually
from tests.integration.console import signed_in

_SCRIPT = "<script>alert(1)</script>"
_TIME = ago(minutes=5)


@pytest.fixture(scope="module")
def shop(start_server: StartServer) -> Server:
    """A sandbox with a buy whose goals name purchases, and what a shop sent on a bad day."""
    server = start_server(sandbox="true")
    sources = [{"event_source_id": "shop", "event_types": ["purchase", "refund", "lead"]}, {"event_source_id": "app"}]
    server.call("sync_event_sources", event_sources=sources).raise_for_status()
    buy = bought_media(server)
    report(server, exposure("seen", buy, kind="impression", user_match=person("ann")))
    report(server, exposure("clicked", buy, user_match=person("ann")))
    log(server, order("order_1", value=20), order("late", event_time="yesterday"), {"event_type": "lead"})
    log(server, order("order_1", value=25), order("order_1", value=20))
    log(server, order("try_1", value=20), order("try_2", user_match=person("bob")), test_event_code="T1")
    log(server, {"event_id": _SCRIPT, "event_type": "lead", "event_time": ago(minutes=1)}, event_source_id="app")
    eventually(lambda: looked_up(server, "order_1")["event"]["attribution"]["status"] == "attributed", "attribution")
    return server


@pytest.fixture(scope="module")
def browser(shop: Server) -> Iterator[httpx2.Client]:
    with signed_in(shop, shop.key) as browser:
        yield browser


def order(event_id: str, **members: Any) -> dict[str, Any]:
    value = members.pop("value", 20)
    return {
        "event_id": event_id,
        "event_type": "purchase",
        "event_time": _TIME,
        "user_match": person("ann"),
        "custom_data": {"value": value, "currency": "USD", "order_id": f"A-{event_id}"},
    } | members


def log(server: Server, *events: dict[str, Any], **arguments: Any) -> None:
    answer = server.call("log_event", **{"event_source_id": "shop", "events": list(events)} | arguments)
    assert answer.json()["status"] == "completed", answer.text


def page(browser: httpx2.Client, address: str) -> Any:
    response = browser.get(address, headers={"Accept": "application/json"})
    assert response.status_code == 200, response.text
    return response.json()


def looked_up(server: Server, event_id: str) -> Any:
    with signed_in(server, server.key) as browser:
        return page(browser, f"/console/events/shop/purchase/{event_id}")


def steps(found: Any) -> dict[str, str]:
    return {step["name"]: step["state"] for step in found["steps"]}


def test_the_list_has_everything_that_was_received(browser: httpx2.Client) -> None:
    rows = page(browser, "/console/live")["receipts"]
    assert [(row["event_id"], row["outcome"]) for row in rows] == [
        (_SCRIPT, "accepted_with_warnings"),
        ("try_2", "test"),
        ("try_1", "test"),
        ("order_1", "duplicate"),
        ("order_1", "duplicate"),
        ("", "rejected"),
        ("late", "rejected"),
        ("order_1", "accepted"),
    ]
    assert rows[5]["message"] == "event_id is required."


def test_the_address_of_a_list_filters_and_pages_it(browser: httpx2.Client) -> None:
    rejected = page(browser, "/console/live?outcome=rejected&code=INVALID_EVENT_TIME&field=event_time")
    assert [row["event_id"] for row in rejected["receipts"]] == ["late"]
    assert not rejected["older"]
    older = page(browser, f"/console/live?before={quote(rejected['receipts'][0]['received_at'])}")
    assert [row["event_id"] for row in older["receipts"]] == ["order_1"]
    assert older["streams"] is False


def test_a_list_of_something_that_makes_no_sense_says_what_to_ask_for(browser: httpx2.Client) -> None:
    assert "outcome must be one of accepted, " in browser.get("/console/live?outcome=lost").text
    assert "before must be an RFC 3339" in browser.get("/console/live?before=noon").text
    assert "since must be a day" in browser.get("/console/failures?since=monday").text


def test_an_event_says_what_became_of_it_and_shows_its_copies(browser: httpx2.Client) -> None:
    found = page(browser, "/console/events/shop/purchase/order_1")
    assert list(steps(found).values()) == ["done", "done", "done", "done", "done", "not_done"]
    assert found["event"]["attribution"]["exposure_id"] == "clicked"
    assert [other["reason"] for other in found["event"]["attribution"]["other_exposures"]] == ["CLICK_FIRST"]
    assert [(copy["custom_data"]["value"], copy["differs"]) for copy in found["stored"]] == [
        (25, ["custom_data.value"]),
        (20, []),
    ]
    assert [warning["code"] for warning in found["warnings"]] == ["DUPLICATE_DIFFERS"]
    assert [kind for kind, usable in found["identifiers"].items() if usable] == ["hashed_email"]
    text = browser.get("/console/events/shop/purchase/order_1").text
    assert "A click takes precedence over a view." in text
    assert person("ann")["hashed_email"] not in text


def test_a_test_event_shows_what_it_would_be_attributed_to_and_counts_nowhere(browser: httpx2.Client) -> None:
    found = page(browser, "/console/events/shop/purchase/try_1")
    assert steps(found) | {"matched": "done", "attributed": "not_done"} == steps(found)
    [status] = found["event"]["statuses"]
    assert status["attribution_if_live"]["exposure_id"] == "clicked"
    assert "attribution" not in found["event"]
    unmatched = page(browser, "/console/events/shop/purchase/try_2")
    assert unmatched["event"]["statuses"][0]["attribution_if_live"]["reason"] == "NO_EXPOSURE"


def test_a_rejected_event_says_which_field_and_what_to_send_instead(browser: httpx2.Client) -> None:
    found = page(browser, "/console/events/shop/purchase/late")
    assert steps(found) == {"received": "done", "validated": "stopped"}
    assert "event_time must be an RFC 3339 date and time" in browser.get("/console/events/shop/purchase/late").text


def test_an_order_id_or_an_event_id_finds_the_event(browser: httpx2.Client) -> None:
    by_order = page(browser, "/console/lookup?id=A-order_1")["explained"]
    by_event = page(browser, "/console/lookup?id=order_1&source=shop")["explained"]
    assert [found["event"]["event_id"] for found in by_order] == ["order_1"]
    assert by_order == by_event
    assert page(browser, "/console/lookup?id=order_1&source=app")["explained"] == []


def test_an_id_that_never_came_leads_to_what_to_check(browser: httpx2.Client) -> None:
    found = page(browser, "/console/lookup?id=rder_1")
    assert found["explained"] == []
    assert {similar["event_id"] for similar in found["similar"]} == {"order_1"}
    heard = {source["event_source_id"]: source["last_event_at"] for source in found["sources"]}
    assert set(heard) == {"shop", "app"}
    assert "What to check" in browser.get("/console/lookup?id=rder_1").text


def test_an_id_of_another_account_is_found_by_whoever_may_see_it_and_nobody_else(shop: Server) -> None:
    shop.command("accounts", "create", "rival")
    rival = shop.command("keys", "create", "--account", "rival").splitlines()[-1].split()[-1]
    both = shop.command("console-keys", "create", "--name", "Ann").splitlines()[-1].split()[-1]
    with signed_in(shop, rival) as browser:
        assert page(browser, "/console/lookup?id=order_1")["explained"] == []
        assert page(browser, "/console/live")["receipts"] == []
        assert browser.get("/console/events/shop/purchase/order_1").status_code == 404
    with signed_in(shop, both) as browser:
        found = page(browser, "/console/lookup?id=order_1&account=rival")
        assert [elsewhere["account_id"] for elsewhere in found["elsewhere"]] == ["default"]
        assert page(browser, "/console/live")["account_id"] == "default", "the account that something came for last"
        assert page(browser, "/console/live?account=rival")["receipts"] == []


def test_failures_are_counted_with_their_fix_and_lead_to_the_events(browser: httpx2.Client) -> None:
    failures = page(browser, "/console/failures")
    assert (failures["received"], failures["rejected"]) == (6, 2)
    [late] = [failure for failure in failures["rejections"] if failure["code"] == "INVALID_EVENT_TIME"]
    assert (late["field"], late["events"], late["sources"][0]["event_source_id"]) == ("event_time", 1, "shop")
    [copies] = [failure for failure in failures["warnings"] if failure["code"] == "DUPLICATE_DIFFERS"]
    assert copies["events"] == 1
    assert copies["fix"].startswith("send each order")
    for link in re.findall(r'href="(/console/live\?[^"]*code=[^"]*)"', browser.get("/console/failures").text):
        assert page(browser, link.replace("&amp;", "&"))["receipts"], link
    before = page(browser, "/console/failures?until=2026-01-01&since=2026-01-01")
    assert (before["received"], before["rejections"]) == (0, [])


def test_what_events_say_is_shown_and_never_run(browser: httpx2.Client) -> None:
    for address in (
        "/console/live",
        f"/console/lookup?id={quote(_SCRIPT)}",
        f"/console/events/app/lead/{quote(_SCRIPT, safe='')}",
    ):
        text = browser.get(address).text
        assert "&lt;script&gt;alert(1)" in text, address
        assert _SCRIPT not in text, address


def test_a_stream_brings_what_is_stored_and_ends_when_its_key_is_revoked(shop: Server) -> None:
    key = shop.command("keys", "create", "--account", "default").splitlines()[-1].split()[-1]
    key_id = shop.command("keys", "list").splitlines()[-1].split()[0]
    headers = {"Authorization": f"Bearer {key}", "Accept": "text/event-stream"}
    after = quote(datetime.now(UTC).isoformat())
    with (
        httpx2.Client(base_url=shop.url, headers=headers, timeout=120) as client,
        client.stream("GET", f"/console/live/stream?source=app&after={after}") as stream,
    ):
        assert stream.status_code == 200
        lines = stream.iter_lines()
        log(shop, order("not_wanted"))
        lead = {"event_type": "lead", "event_time": ago(minutes=1)}
        log(shop, {"event_id": "wanted", **lead}, event_source_id="app")
        seen = until(lines, "wanted")
        assert "not_wanted" not in seen

        [last] = [line.removeprefix("id: ") for line in seen.splitlines() if line.startswith("id: ")]
        log(shop, {"event_id": "afterwards", **lead}, event_source_id="app")
        with client.stream(
            "GET", f"/console/live/stream?source=app&after={after}", headers={"Last-Event-ID": last}
        ) as again:
            assert "wanted" not in until(again.iter_lines(), "afterwards")

        ahead = {"Last-Event-ID": "9999-12-31T00:00:00Z"}
        with client.stream("GET", "/console/live/stream", headers=ahead) as waiting:
            assert waiting.status_code == 200
            shop.command("keys", "revoke", key_id)
            until(waiting.iter_lines(), "event: ended")
        until(lines, "event: ended")
        assert list(lines) in ([], [""], ["data: ", ""])


def until(lines: Iterator[str], text: str) -> str:
    """The lines of a stream through the first that has a text."""
    seen = []
    for line in lines:
        seen.append(line)
        if text in line:
            return "\n".join(seen)
    raise AssertionError(f"the stream ended without {text}")


def test_only_so_many_live_views_may_be_open_with_a_key(shop: Server) -> None:
    headers = {"Authorization": f"Bearer {shop.key}"}
    with httpx2.Client(base_url=shop.url, headers=headers, timeout=120) as client:
        open_views = [client.stream("GET", "/console/live/stream") for _ in range(10)]
        try:
            for view in open_views:
                assert view.__enter__().status_code == 200
            full = client.get("/console/live", headers={"Accept": "text/html"}).text
            assert "10 live views are open with your key" in full
            assert client.get("/console/live/stream").status_code == 429
        finally:
            for view in open_views:
                view.__exit__(None, None, None)
        eventually(lambda: page(client, "/console/live")["streams"], "a place for another live view")
