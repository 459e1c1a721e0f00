"""What pages send to the tag's endpoint, and what strangers do."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.conftest import HTTP, eventually
from tests.in_process import call, serving
from tests.integration.test_accounts import decide
from tests.unit.test_click_traffic import CHROME

from postback.tag.script import CURRENT, SCRIPT
from postback.transports.shared_answer import SHARED_SECONDS

if TYPE_CHECKING:
    from tests.conftest import Server

pytestmark = pytest.mark.anyio

SHOP = {"event_source_id": "shop", "action_source": "website", "allowed_domains": ["shop.example"]}
ORDER = {
    "event_id": "order-1",
    "event_type": "purchase",
    "event_source_url": "https://www.shop.example/thanks",
    "custom_data": {"value": 49.95, "currency": "EUR", "order_id": "order-1"},
}
LIMIT = 300
PAGE = {"Origin": "https://www.shop.example", "User-Agent": CHROME, "X-Forwarded-For": "81.2.69.142"}


def _with(**settings: Any) -> dict[str, Any]:
    return {"ext": {"postback": {"tag": settings}}}


class Tag:
    """The tag of a source on a server, as a page uses it."""

    def __init__(self, client: httpx2.AsyncClient, seller_id: str) -> None:
        self.client = client
        self.url = f"/tag/{seller_id}"

    async def send(self, *events: Any, headers: dict[str, str] | None = None, **members: Any) -> httpx2.Response:
        return await self.post(json.dumps({"events": events} | members), headers)

    async def post(self, body: str | bytes, headers: dict[str, str] | None = None) -> httpx2.Response:
        sent = {name: value for name, value in (PAGE | (headers or {})).items() if value}
        return await self.client.post(self.url, content=body, headers={"Authorization": ""} | sent)

    async def pixel(self, query: str, headers: dict[str, str] | None = None) -> httpx2.Response:
        sent = {"Referer": "https://shop.example/", "User-Agent": CHROME} | (headers or {})
        response = await self.client.get(f"{self.url}.gif?{query}", headers=sent)
        assert (response.status_code, response.headers["content-type"]) == (200, "image/gif")
        assert response.headers["cache-control"] == "no-store"
        assert response.content.startswith(b"GIF89a")
        return response

    async def status(self, event_id: str = "order-1", event_type: str = "purchase") -> dict[str, Any] | None:
        """The latest status of an event, or None for one of which the server knows nothing."""
        response = await self.client.get(f"/v1/events/shop/{event_type}/{event_id}")
        return response.json()["statuses"][0] if response.status_code == 200 else None

    async def dropped(self) -> Counter[str]:
        """How many events were dropped for which reason."""
        await anyio.sleep(SHARED_SECONDS)  # metrics are made once in so long
        metrics = text_string_to_metric_families((await self.client.get("/metrics")).text)
        [family] = [family for family in metrics if family.name == "postback_tag_dropped"]
        return Counter({s.labels["reason"]: int(s.value) for s in family.samples if s.name.endswith("_total")})


async def _tag(client: httpx2.AsyncClient, **declared: Any) -> Tag:
    answer = await call(client, "sync_event_sources", event_sources=[SHOP | declared])
    [source] = [each for each in answer["event_sources"] if each["event_source_id"] == "shop"]
    return Tag(client, source["seller_id"])


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(tmp_path_factory.mktemp("tag") / "data", sandbox=False, tag_rate_limit=LIMIT) as client:
        yield client


async def test_an_event_of_a_page_is_stored_as_one_of_a_browser(server: httpx2.AsyncClient) -> None:
    tag = await _tag(server)

    answer = await tag.send(ORDER | {"user_match": {"click_id": "Cj0KCQjw-0001", "client_ip": "9.9.9.9"}})

    assert answer.json() == {"events_received": 1, "events_processed": 1}
    assert answer.headers["access-control-allow-origin"] == "https://www.shop.example"
    status = await tag.status()
    assert status
    assert status["identifiers"] == ["click_id", "client_ip+client_user_agent"]
    assert status["warnings"] == ["FROM_BROWSER"]
    answered = await call(server, "sync_event_sources")
    issues = [issue["message"] for issue in answered["event_sources"][0]["health"]["issues"]]
    assert any(message.startswith("FROM_BROWSER: 1 of 1 events") for message in issues), issues


async def test_what_others_have_sent_is_told_to_nobody(server: httpx2.AsyncClient) -> None:
    tag = await _tag(server)
    known = {"event_id": "known-1", "event_type": "purchase", "event_time": datetime.now(UTC).isoformat()}
    await call(server, "log_event", event_source_id="shop", events=[known])

    answers = [await tag.send(ORDER | {"event_id": event_id}) for event_id in ("known-1", "unknown-1")]

    assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize(
    ("members", "field", "says"),
    [
        ({"event_type": "refund"}, "event_type", "Send refunds from a server."),
        (
            {"event_type": "lead"},
            "event_type",
            "does not accept lead events from browsers. It accepts page_view, purch",
        ),
        ({"action_source": "in_store"}, "event_source_url", "Omit action_source"),
        ({"event_time": (datetime.now(UTC) - timedelta(days=8)).isoformat()}, "event_time", "more than 7 days ago"),
        ({"event_time": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}, "event_time", "in the future"),
        ({"event_source_url": "https://evil.example/"}, "event_source_url", "allowed_domains"),
        ({"custom_data": {"value": "49,95"}}, "custom_data.value", "must be a JSON number"),
    ],
    ids=["refund", "type", "action source", "old", "future", "elsewhere", "value"],
)
async def test_what_only_a_server_may_send_fails_and_says_so(
    server: httpx2.AsyncClient, members: dict[str, Any], field: str, says: str
) -> None:
    tag = await _tag(server, **_with(event_types=["purchase", "page_view"]))

    answer = await tag.send(ORDER | {"event_id": "server-1"} | members)

    [error] = answer.json()["errors"]
    assert says in error["message"]
    assert answer.json()["events_processed"] == 0
    failed = await tag.status("server-1", members.get("event_type", "purchase"))
    assert failed
    assert failed["status"] == "rejected"
    await _tag(server, **_with())


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://shop.example.evil.example",
        "https://evilshop.example",
        "null",
        "https://shop.example@evil.example",
        "file://shop.example",
        "https://[::1",
        "x" * 9000,
        "",
    ],
)
async def test_pages_of_other_domains_are_refused_and_may_not_read_why(server: httpx2.AsyncClient, origin: str) -> None:
    tag = await _tag(server)

    answer = await tag.send(ORDER | {"event_id": "other-1"}, headers={"Origin": origin})
    asked = await server.get(tag.url, headers={"Origin": origin})
    preflight = await server.options(tag.url, headers={"Origin": origin, "Access-Control-Request-Method": "POST"})

    assert [answer.status_code, asked.status_code, preflight.status_code] == [403, 403, 403]
    assert not any("access-control-allow-origin" in each.headers for each in (answer, asked, preflight))
    status = await tag.status("other-1")
    assert status
    assert (status["status"], status["field"]) == ("rejected", "event_source_url")


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"allowed_domains": None}, "has no allowed_domains"),
        ({"action_source": "in_store"}, "action_source is not website"),
        (_with(enabled=False), "Its tag is turned off."),
    ],
)
async def test_a_source_without_domains_or_website_takes_nothing_from_browsers(
    server: httpx2.AsyncClient, declared: dict[str, Any], says: str
) -> None:
    tag = await _tag(server, **declared)

    answer = await tag.send(ORDER | {"event_id": "none-1"})

    asked = await server.get(tag.url, headers=PAGE)
    await _tag(server, **_with())

    [error] = answer.json()["errors"]
    assert says in error["message"]
    assert (asked.status_code, "access-control-allow-origin" in asked.headers) == (403, False)


async def test_the_settings_are_those_of_the_source_and_only_for_its_pages(server: httpx2.AsyncClient) -> None:
    tag = await _tag(
        server,
        event_types=["purchase", "refund", "page_view"],
        **_with(page_view=True, gpc="strip", consent_required=True),
    )

    answer = await server.get(tag.url, headers=PAGE)
    await _tag(server, **_with())

    settings = answer.json()
    assert abs(settings.pop("now") / 1000 - datetime.now(UTC).timestamp()) < 3600
    assert settings == {
        "event_types": ["page_view", "purchase"],
        "page_view": True,
        "gpc": "strip",
        "consent_required": True,
    }
    assert answer.headers["access-control-allow-origin"] == PAGE["Origin"]
    assert answer.headers["vary"] == "Origin"


async def test_global_privacy_control_and_consent_hold_on_the_server_too(server: httpx2.AsyncClient) -> None:
    private = {"Sec-GPC": "1"}
    tag = await _tag(server)
    before = await tag.dropped()
    dropped = await tag.send(ORDER | {"event_id": "gpc-1"}, headers=private)
    await tag.pixel("e=purchase&order_id=gpc-2", headers=private)
    assert dropped.json() == {"events_received": 1, "events_processed": 0, "dropped": "GPC"}
    assert await tag.dropped() == before + Counter(GPC=2)

    tag = await _tag(server, **_with(gpc="strip"))
    await tag.send(ORDER | {"event_id": "gpc-3", "user_match": {"click_id": "Cj0KCQjw-0002"}}, headers=private)

    tag = await _tag(server, **_with(consent_required=True))
    refused = await tag.send(ORDER | {"event_id": "consent-1"})
    granted = await tag.send(ORDER | {"event_id": "consent-2"}, consent="granted")
    await _tag(server, **_with())
    denied = await tag.send(ORDER | {"event_id": "consent-3"}, consent="denied")

    assert [each.json().get("dropped") for each in (refused, granted, denied)] == ["NO_CONSENT", None, "NO_CONSENT"]
    stripped = await tag.status("gpc-3")
    assert stripped
    assert stripped["identifiers"] == []
    assert [await tag.status(each) for each in ("gpc-1", "gpc-2", "consent-1", "consent-3")] == [None] * 4
    assert await tag.status("consent-2")


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}, "BOT"),
        ({"User-Agent": "Shop checker"}, "NOT_A_BROWSER"),
        ({"Sec-Purpose": "prefetch;prerender"}, "PREFETCH"),
    ],
)
async def test_what_no_person_sees_is_dropped(server: httpx2.AsyncClient, headers: dict[str, str], reason: str) -> None:
    tag = await _tag(server)

    answer = await tag.send(ORDER | {"event_id": "bot-1"}, headers=headers)
    shown = await tag.pixel("e=purchase&order_id=bot-2", headers=headers)

    assert answer.json()["dropped"] == reason
    assert "x-postback-error" in shown.headers
    assert [await tag.status("bot-1"), await tag.status("bot-2")] == [None, None]


async def test_the_pixel_logs_what_its_query_says(server: httpx2.AsyncClient) -> None:
    tag = await _tag(server)

    response = await tag.pixel(
        "e=purchase&value=49.95&currency=EUR&order_id=pixel-1&content_ids=a,b&click_id=Cj0KCQjw-0003&event_id=&cb=17"
    )
    again = await tag.client.head(f"{tag.url}.gif?e=purchase&order_id=pixel-2", headers={"User-Agent": CHROME})

    assert "x-postback-error" not in response.headers
    status = await tag.status("pixel-1")
    assert status
    assert "click_id" in status["identifiers"]
    assert again.status_code == 200
    assert await tag.status("pixel-2") is None


@pytest.mark.parametrize(
    ("query", "headers", "says"),
    [
        ("e=purchase&order_id=wrong-1&value=12,50&currency=EUR", {}, "custom_data.value must be a JSON number"),
        ("order_id=wrong-2", {}, "event_type"),
        ("e=purchase&order_id=wrong-3", {"Referer": ""}, "neither an Origin nor a Referer"),
        ("e=purchase&order_id=wrong-4", {"Referer": "https://evil.example/"}, "allowed_domains"),
        ("e=purchase&order_id=fine-1&sum=3", {}, "1 of the parameters are unknown"),
        ("e=purchase&order_id=fine-2&consent=yes", {}, "consent is granted or denied."),
        ("e=buy&order_id=%FF%00%0d%0aX-Evil:1", {}, ""),
        ("%ff=&&&=&e=%", {}, ""),
        ("e=purchase&value=" + "9" * 4000, {}, ""),
        ("e=purchase&value=NaN&order_id=1e999", {}, ""),
    ],
)
async def test_the_pixel_says_in_a_header_what_is_wrong(
    server: httpx2.AsyncClient, query: str, headers: dict[str, str], says: str
) -> None:
    tag = await _tag(server)

    response = await tag.pixel(query, headers)

    assert says in response.headers["x-postback-error"]
    assert "x-evil" not in response.headers


HOSTILE = {
    "nothing": b"",
    "no JSON": b"events",
    "not UTF-8": b'{"events": ["\xff"]}',
    "an array": b"[]",
    "a number": b"7",
    "no events": b'{"events": []}',
    "events that are none": b'{"events": 7}',
    "another field": b'{"events": [{}], "event_source_id": "other"}',
    "a key": b'{"events": [{}], "authorization": "x"}',
    "deep": b'{"events": [' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"]}",
    "twice": b'{"events": [{"event_id": "a", "event_id": "b"}]}',
    "infinite": b'{"events": [{"custom_data": {"value": 1e999}}]}',
    "many": json.dumps({"events": [ORDER] * 26}).encode(),
    "huge": b'{"events": ["' + b"a" * 100_000 + b'"]}',
    "consent of another kind": b'{"events": [{}], "consent": true}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
async def test_a_body_that_is_none_of_the_tags_is_refused(server: httpx2.AsyncClient, body: bytes) -> None:
    tag = await _tag(server)

    answer = await tag.post(body)

    assert answer.status_code in (400, 413), answer.text
    assert answer.json()["error"]["message"]
    assert answer.headers["access-control-allow-origin"] == PAGE["Origin"]


@pytest.mark.parametrize(
    "event",
    [
        *(7, None, "x", [], {}, {"event_id": 5}, {"event_id": "a", "event_type": {}}, {"user_match": 7}),
        *(ORDER | {"user_match": {"hashed_email": "jane@shop.example"}}, ORDER | {"event_id": "\x00"}),
        *(ORDER | {"event_source_url": 7}, ORDER | {"event_source_url": "javascript:alert(1)"}, {"event_time": 5}),
    ],
    ids=repr,
)
async def test_an_event_of_any_shape_is_refused_alone(server: httpx2.AsyncClient, event: Any) -> None:
    tag = await _tag(server)

    answer = await tag.send(event, ORDER | {"event_id": "beside-1"})

    assert answer.status_code == 200
    assert answer.json()["events_processed"] == 1
    assert "jane" not in answer.text


async def test_a_bomb_is_not_inflated(server: httpx2.AsyncClient) -> None:
    tag = await _tag(server)

    bomb = await tag.post(gzip.compress(b" " * 50_000_000), {"Content-Encoding": "gzip"})
    small = await tag.post(gzip.compress(json.dumps({"events": [ORDER]}).encode()), {"Content-Encoding": "gzip"})

    assert [bomb.status_code, small.status_code] == [413, 200]


@pytest.mark.parametrize("seller_id", ["src_0123456789abcdef", "shop", "../v1", "%00", "src_" + "f" * 500])
async def test_an_unknown_source_is_not_found(server: httpx2.AsyncClient, seller_id: str) -> None:
    answers = [
        await server.post(f"/tag/{seller_id}", content=json.dumps({"events": [ORDER]}), headers=PAGE),
        await server.get(f"/tag/{seller_id}", headers=PAGE),
    ]
    image = await server.get(f"/tag/{seller_id}.gif?e=purchase", headers=PAGE)

    assert {answer.status_code for answer in answers} <= {404, 405}
    assert image.status_code in (200, 404)


async def test_an_address_may_not_send_without_end(server: httpx2.AsyncClient) -> None:
    tag = await _tag(server)
    greedy = {"X-Forwarded-For": "81.2.69.200"}
    sent = [(await tag.post("", greedy)).status_code for _ in range(LIMIT)]
    refused = await tag.post("", greedy)
    image = await tag.pixel("e=purchase&order_id=limit-1", greedy)
    elsewhere = await tag.send(ORDER | {"event_id": "limit-2"}, headers={"X-Forwarded-For": "81.2.69.201"})
    guessing = {"X-Forwarded-For": "81.2.69.202"}
    guessed = [(await server.get(f"/tag/src_{n:016x}", headers=guessing)).status_code for n in range(LIMIT + 1)]
    logged = await call(server, "log_event", event_source_id="shop", events=[_now("limit-3")])

    assert set(sent) == {400}
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert "Retry-After" in refused.headers["access-control-expose-headers"]
    assert "this address's limit" in refused.json()["error"]["message"]
    assert "this address's limit" in image.headers["x-postback-error"]
    assert elsewhere.status_code == 200
    assert (guessed[-2], guessed[-1]) == (404, 429)
    assert logged["events_processed"] == 1


def _now(event_id: str) -> dict[str, Any]:
    return {"event_id": event_id, "event_type": "purchase", "event_time": datetime.now(UTC).isoformat()}


async def test_a_thousand_requests_of_a_stranger_are_answered(server: httpx2.AsyncClient) -> None:
    tag = await _tag(server)
    bodies = [*HOSTILE.values(), json.dumps({"events": [ORDER]}).encode()]

    statuses = [
        (await tag.post(bodies[number % len(bodies)], {"X-Forwarded-For": f"81.3.{number % 256}.1"})).status_code
        for number in range(1000)
    ]

    assert set(statuses) <= {200, 400, 413, 429}


def test_the_tag_of_a_closed_account_says_nothing_of_it(seller: Server) -> None:
    declared = SHOP | {"event_source_id": "closing"}
    answer = seller.call("sync_event_sources", event_sources=[declared]).json()
    [source] = [each for each in answer["event_sources"] if each["event_source_id"] == "closing"]
    url, body = f"{seller.url}/tag/{source['seller_id']}", json.dumps({"events": [ORDER]})
    decide(seller, "default", "closed")
    try:
        refused = eventually(
            lambda: found if (found := HTTP.post(url, content=body, headers=PAGE)).status_code == 404 else None,
            "a tag that is refused",
        )
    finally:
        decide(seller, "default", "active")

    assert "account" not in refused.text
    assert "closed" not in refused.text


async def test_scripts_are_cached_as_their_addresses_allow(server: httpx2.AsyncClient) -> None:
    named = await server.get(SCRIPT.path, headers={"Accept-Encoding": "gzip"})
    plain = await server.get(SCRIPT.path, headers={"Accept-Encoding": "identity"})
    current = await server.get("/tag.js")
    unknown = await server.get("/tag/v/0123.js")

    assert named.content == plain.content == current.content == CURRENT
    assert named.headers["content-encoding"] == "gzip"
    assert named.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert current.headers["cache-control"] == "public, max-age=300"
    assert {each.headers["access-control-allow-origin"] for each in (named, plain, current)} == {"*"}
    assert unknown.status_code == 404
