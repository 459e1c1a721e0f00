"""Whoever reads the data folder or the log learns nobody's identity, wherever a sender put it.

Thousands of identifiers that the test knows are sent by every door and in every place, right and wrong. Then every
file is searched for them, and every table as the engine unpacks it.
"""

from __future__ import annotations

import json
import re
import sqlite3
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import md5, sha256
from typing import Any
from urllib.parse import quote

import pytest
from tests.conftest import Server, StartServer
from tests.engine import opened

from postback.store.stored_answers import unpack_answer

Event = dict[str, Any]

_PEOPLE = 25
"""Per place."""
_MARK = "zqxwvk"
"""Stands in every identifier that is free text, so that all of them are found by one search."""


@dataclass(frozen=True)
class Person:
    """Somebody who bought something, and all that identifies them."""

    number: int

    @property
    def email(self) -> str:
        return f"{_MARK}{self.number}.doe@mail.example"

    @property
    def phone(self) -> str:
        return f"+4930901{self.number:06}"

    @property
    def click_id(self) -> str:
        return f"Cj0KCQ{_MARK}{self.number}"

    @property
    def uid(self) -> str:
        return f"XY1{_MARK}{self.number}"

    @property
    def ip(self) -> str:
        return f"81.2.{69 + self.number // 250}.{1 + self.number % 250}"

    @property
    def user_agent(self) -> str:
        return f"Mozilla/5.0 ({_MARK}; {self.number}) Gecko/20100101"

    @cached_property
    def hashed_email(self) -> str:
        return sha256(self.email.encode()).hexdigest()

    @cached_property
    def hashed_phone(self) -> str:
        return sha256(self.phone.encode()).hexdigest()

    @property
    def user_match(self) -> dict[str, Any]:
        return {
            "hashed_email": self.hashed_email,
            "hashed_phone": self.hashed_phone,
            "uids": [{"type": "id5", "value": self.uid}],
            "click_id": self.click_id,
            "click_id_type": "gclid",
            "client_ip": self.ip,
            "client_user_agent": self.user_agent,
        }

    @property
    def tracked_page(self) -> str:
        page = f"https://shop.example/thanks?gclid={self.click_id}&em={self.hashed_email}&mail={quote(self.email)}"
        return f"{page}&ip={self.ip}#fbclid={self.click_id}"


Place = Callable[[Person], Event]
"""The members of an event by which a sender tells too much."""

PLACES: dict[str, Place] = {
    "all that is asked for": lambda p: {"user_match": p.user_match},
    "repaired": lambda p: {
        "user_match": {"hashed_email": f" {p.hashed_email.upper()} ", "hashed_phone": f"0x{p.hashed_phone}"}
    },
    "in the clear": lambda p: {"user_match": {"hashed_email": p.email}},
    "in the clear beside a digest": lambda p: {"user_match": {**p.user_match, "hashed_phone": p.phone}},
    "address as click id": lambda p: {"user_match": {"click_id": p.email}},
    "number as uid": lambda p: {"user_match": {"uids": [{"type": "id5", "value": p.phone}]}},
    "unknown uid type": lambda p: {"user_match": {"uids": [{"type": p.email, "value": p.uid}]}},
    "unknown identifiers": lambda p: {
        "user_match": {
            **p.user_match,
            "email": p.email,
            "md5": md5(p.email.encode()).hexdigest(),
            p.email: p.phone,
            "ext": {"mail": p.email},
        }
    },
    "wrong types": lambda p: {"user_match": {"hashed_email": [p.email], "client_ip": {"v4": p.ip}, "uids": p.uid}},
    "user_match as text": lambda p: {"user_match": p.email},
    "event_id": lambda p: {"event_id": p.email},
    "event_id, a number": lambda p: {"event_id": p.phone},
    "event_id, percent-encoded": lambda p: {"event_id": quote(p.email)},
    "event_id of an event that fails": lambda p: {"event_id": p.email, "event_time": "yesterday"},
    "event_id, the digest": lambda p: {"event_id": p.hashed_email, "user_match": p.user_match},
    "event_id, the click id": lambda p: {"event_id": p.click_id, "user_match": p.user_match},
    "event_id, the digest in upper case": lambda p: {"event_id": p.hashed_email.upper(), "user_match": p.user_match},
    "event_id, the digest within": lambda p: {"event_id": f"order_{p.hashed_email}", "user_match": p.user_match},
    "event_id, the click id of an event that fails": lambda p: {
        "event_id": f" {p.click_id}",
        "user_match": p.user_match,
        "event_time": "yesterday",
    },
    "event_type": lambda p: {"event_type": p.click_id},
    "event_type, the digest": lambda p: {"event_type": p.hashed_email},
    "event_type, the address": lambda p: {"event_type": p.email},
    "event_time": lambda p: {"event_time": p.email},
    "action_source": lambda p: {"action_source": p.email},
    "query and fragment": lambda p: {"event_source_url": p.tracked_page},
    "path": lambda p: {"event_source_url": f"https://shop.example/u/{p.email}/thanks"},
    "path, the digest": lambda p: {"event_source_url": f"https://shop.example/u/{p.hashed_email}"},
    "path, the number percent-encoded": lambda p: {"event_source_url": f"https://shop.example/u/{quote(p.phone)}"},
    "path, the address encoded twice": lambda p: {"event_source_url": f"https://shop.example/{quote(quote(p.email))}"},
    "path, the IP address": lambda p: {"event_source_url": f"https://shop.example/from/{p.ip}/thanks"},
    "search_string, the IP address": lambda p: {"custom_data": {"search_string": p.ip}},
    "order_id, the address encoded twice": lambda p: {"custom_data": {"order_id": quote(quote(p.email))}},
    "user_match of another platform": lambda p: {"user_match": {"em": [p.email], "click_id": p.click_id}},
    "credentials": lambda p: {"event_source_url": f"https://{quote(p.email)}:{p.click_id}@shop.example/thanks"},
    "no http": lambda p: {"event_source_url": f"mailto:{p.email}"},
    "custom event's name": lambda p: {"event_type": "custom", "custom_event_name": f"signup {p.email}"},
    "custom event's name, the digest": lambda p: {"event_type": "custom", "custom_event_name": p.hashed_email},
    "order_id": lambda p: {"custom_data": {"order_id": p.email}},
    "search_string, the number": lambda p: {"custom_data": {"search_string": p.phone}},
    "search_string, the digest": lambda p: {"custom_data": {"search_string": p.hashed_phone}},
    "content_ids": lambda p: {"custom_data": {"content_ids": [p.email, p.hashed_email]}},
    "contents": lambda p: {"custom_data": {"contents": [{"id": p.hashed_email, "brand": p.phone}]}},
    "currency": lambda p: {"custom_data": {"value": 1, "currency": p.email}},
    "value": lambda p: {"custom_data": {"value": p.phone, "currency": "EUR"}},
    "text of custom_data": lambda p: {
        "custom_data": {"note": f"call {p.phone} or write to <{p.email}>", "em": f"sha256:{p.hashed_email}"}
    },
    "page in custom_data": lambda p: {"custom_data": {"landing_page": p.tracked_page, "referrer": p.tracked_page}},
    "customer": lambda p: {
        "custom_data": {
            "customer": {
                "email": {"address": p.email},
                "phone": int(p.phone),
                "ip": p.ip,
                "userAgent": p.user_agent,
                "clientIp": p.ip,
                "gclid": p.click_id,
                p.email: 1,
            }
        }
    },
    "browser": lambda p: {"device": {"ua": p.user_agent, "address": p.ip, "clickId": p.click_id}},
    "beside user_match": lambda p: {**p.user_match, "email": p.email, "landing": p.tracked_page},
    "ext": lambda p: {"ext": {"crm": {"mails": [p.email.upper()], "hashed_email": p.hashed_email.upper()}}},
    "surface": lambda p: {"surface": {"category": "web", "ext": {"email": p.email}}},
    "member's name": lambda p: {p.email: True, p.hashed_email: 1, "custom_data": {p.email: 1}},
}


def _events() -> Iterator[Event]:
    now = datetime.now(UTC).isoformat()
    for first, place in enumerate(PLACES.values()):
        for number in range(_PEOPLE):
            usual = {"event_id": f"order-{first}-{number}", "event_type": "purchase", "event_time": now}
            yield {**usual, **place(Person(first * _PEOPLE + number))}


EVENTS = list(_events())
ALL_PEOPLE = [Person(number) for number in range(len(PLACES) * _PEOPLE)]


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    """A server that received everything, over every transport, and is stopped."""
    server = start_server(log_level="debug")
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    _log_by_rest_and_mcp(server)
    _report_exposures(server)
    _call_wrongly(server)
    _visit_pages(server)
    _knock_at_every_door(server)
    server.stop()
    # The server acknowledges exposures before it has derived from them, and may have been stopped in between.
    server.command("attribute")
    return server


def _log_by_rest_and_mcp(server: Server) -> None:
    for number, arguments in enumerate(({}, {"test_event_code": "TEST-1"}, {"adcp_version": "3.1"})):
        body = {"event_source_id": "website", "idempotency_key": f"call-with-identifiers-{number}", **arguments}
        answer = server.call("log_event", **body, events=EVENTS).raise_for_status()
        assert answer.json()["events_processed"] > len(ALL_PEOPLE) / 2
        _check_private(answer.content, "the answer")
        again = server.call("log_event", **body, events=EVENTS).raise_for_status().json()
        assert again["events_received"] == len(ALL_PEOPLE)
    answer_over_mcp = _tool(server, "log_event", {"event_source_id": "website", "events": EVENTS})
    assert b'"isError":false' in answer_over_mcp
    _check_private(answer_over_mcp, "the answer over MCP")


def _report_exposures(server: Server) -> None:
    """Everybody sees an ad, and the ad server says too much about it."""
    right: Event = {"kind": "click", "occurred_at": "2026-01-15T14:30:00Z", "media_buy_id": "mb", "package_id": "p"}
    told: list[Place] = [
        lambda p: {"user_match": p.user_match},
        lambda p: {"user_match": {"hashed_email": p.email}},
        lambda p: {"user_match": {"email": p.email, "click_id": p.click_id}},
        lambda p: {"exposure_id": p.email},
        lambda p: {"exposure_id": p.click_id, "user_match": p.user_match},
        lambda p: {"creative_id": p.hashed_email, "user_match": p.user_match},
        lambda p: {"package_id": p.email, "email": p.email, "kind": p.email},
        lambda p: {"cost": p.phone, "currency": p.email},
    ]
    exposures = [
        {"exposure_id": f"x-{number}-{p.number}", **right, **place(p)}
        for p in ALL_PEOPLE
        for number, place in enumerate(told)
    ]
    answer = server.call("exposures", exposures=exposures[:10_000]).raise_for_status()
    assert answer.json()["exposures_processed"] > len(ALL_PEOPLE) / 2
    _check_private(answer.content, "the answer about exposures")


def _call_wrongly(server: Server) -> None:
    """Calls that fail as a whole, each with identifiers where they can't be."""
    for p in ALL_PEOPLE[:5]:
        whole = {"event_source_id": "website", "events": [{"event_id": "1", "user_match": p.user_match}]}
        for wrong in (
            {"event_source_id": p.email},
            {"account": {"account_id": p.email}},
            {"account": {"brand": {"domain": p.email}, "operator": p.hashed_email}},
            {"test_event_code": p.email},
            {"idempotency_key": p.email},
            {"adcp_version": p.email},
            {"events": p.email},
            {"events": [p.email, {"event_id": p.email}, [p.user_match]]},
        ):
            answer = server.call("log_event", **{**whole, **wrong})
            _check_private(answer.content, f"the answer to {next(iter(wrong))}")
            _check_private(
                _tool(server, "log_event", {**whole, **wrong}), f"the answer over MCP to {next(iter(wrong))}"
            )
        server.call("log_event", **whole, context={"email": p.email}, ext={"email": p.email}, em=p.hashed_email)
        server.call("get_adcp_capabilities", adcp_version=p.email, protocols=[p.hashed_email])
        sources = [{"event_source_id": "shop", "name": 1, "allowed_domains": [p.email], "surface": p.user_match}]
        server.call("sync_event_sources", event_sources=sources, account={"account_id": p.email})
        server.call("sync_event_sources", event_sources=sources)


def _knock_at_every_door(server: Server) -> None:
    """Identifiers in paths, queries, headers, methods and bodies that are no calls."""
    with server.client() as client:
        for p in ALL_PEOPLE[:5]:
            for path in (
                f"/v1/events/website/purchase/{quote(p.email)}?account_id={quote(p.email)}",
                f"/v1/events/website/purchase/{p.hashed_email}",
                f"/v1/events/{p.email}/{p.click_id}/{p.uid}",
                f"/{p.email}?gclid={p.click_id}",
                f"/v1/log_event?email={p.email}",
            ):
                client.get(path)
                client.post(path, json=p.user_match)
            for content in (json.dumps(p.user_match)[:-1], f'{{"email":"{p.email}","email":1}}', p.email):
                client.post("/v1/log_event", content=content)
                client.post("/mcp", content=content)
            headers = {"X-Request-Id": p.email, "User-Agent": p.user_agent, "X-Forwarded-For": p.ip, "Cookie": p.uid}
            client.post("/v1/log_event", json=p.user_match, headers={**headers, "Content-Type": p.email})
            client.get("/healthz", headers={"Authorization": f"Bearer {p.email}"})
            client.get("/v1/events/website/purchase/1", headers={"Authorization": f"Bearer {p.hashed_email}"})
            for method, params in (
                ("tools/call", {"name": p.email, "arguments": p.user_match}),
                ("tools/call", {"name": "log_event", "arguments": p.email}),
                ("tools/call", {"name": "log_event", "_meta": p.user_match, "email": p.email}),
                ("tools/call", p.user_match),
                ("initialize", p.user_match),
                (p.email, p.user_match),
            ):
                _rpc(server, method, params)


def _visit_pages(server: Server) -> None:
    """A browser tag on pages that put identifiers everywhere, and its pixel."""
    declared = {"event_source_id": "site", "action_source": "website", "allowed_domains": ["shop.example"]}
    [source] = [
        source
        for source in server.call("sync_event_sources", event_sources=[declared]).json()["event_sources"]
        if source["event_source_id"] == "site"
    ]
    with server.client() as client:
        for p in ALL_PEOPLE[:5]:
            page = {"Origin": "https://shop.example", "Referer": p.tracked_page, "User-Agent": p.user_agent}
            for member in (
                {"user_match": p.user_match},
                {"user_match": {"email": p.email}},
                {"event_id": p.email},
                {"event_type": p.email},
                {"event_source_url": p.tracked_page},
                {"custom_data": {"order_id": p.email, "note": p.phone, p.email: 1}},
                {p.email: p.hashed_email},
            ):
                event = {"event_id": f"page-{p.number}", "event_type": "lead", **member}
                answer = client.post(
                    f"/tag/{source['seller_id']}",
                    content=json.dumps({"events": [event]}),
                    headers=page | {"X-Forwarded-For": p.ip},
                )
                _check_private(answer.content, f"the answer to a page with {next(iter(member))}")
            for query in (f"e=lead&order_id={quote(p.email)}", f"e={quote(p.phone)}&email={quote(p.email)}&{p.uid}=1"):
                image = client.get(
                    f"/tag/{source['seller_id']}.gif?{query}",
                    headers={"Referer": p.tracked_page, "User-Agent": p.user_agent, "X-Forwarded-For": p.ip},
                )
                _check_private(str(image.headers).encode(), "the pixel's headers")
            client.post(f"/tag/{p.email}", content=p.email, headers=page)
            client.post(f"/tag/{source['seller_id']}", content=json.dumps({p.email: p.email}), headers=page)
    with server.client() as client:
        assert client.get(f"/v1/events/site/lead/page-{ALL_PEOPLE[0].number}").status_code == 200


def _tool(server: Server, name: str, arguments: dict[str, Any]) -> bytes:
    return _rpc(server, "tools/call", {"name": name, "arguments": arguments})


def _rpc(server: Server, method: str, params: dict[str, Any]) -> bytes:
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
    with server.client(**headers) as client:
        return client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).content


def test_no_file_holds_an_identifier(server: Server) -> None:
    files = [path for path in server.data.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    assert len(files) > 50
    for path in files:
        _check_private(path.read_bytes(), str(path.relative_to(server.data)))


def test_no_table_holds_an_identifier_once_it_is_unpacked(server: Server) -> None:
    with opened(server.data) as events:
        for table in ("event", "test_event", "rejected_event", "receipt", "source_activity", "exposure"):
            rows = events.deriver.raw_query(f"SELECT * FROM {table}", fmt="JSONEachRow")
            assert rows, f"{table} is empty"
            _check_private(rows, table)
    with closing(sqlite3.connect(server.data / "control.db")) as control:
        _check_private("\n".join(control.iterdump()).encode(), "the control store")
        responses = [unpack_answer(stored) for (stored,) in control.execute("SELECT answer FROM idempotency")]
    assert any(b"partial_failures" in response for response in responses)
    _check_private(b"\n".join(responses), "the stored responses")


def test_the_log_holds_no_identifier(server: Server) -> None:
    log = server.log.read_bytes()
    assert b"/v1/events/{event_source_id}" in log
    assert server.key.encode() not in log
    _check_private(log, "the log")


_TEXT = re.compile(rf"{_MARK}|4930901\d{{6}}|81\.2\.(?:69|7\d)\.|mail\.example".encode(), re.IGNORECASE)
_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", re.IGNORECASE)
_DIGESTS = frozenset(digest for p in ALL_PEOPLE for digest in (p.hashed_email, p.hashed_phone))
_BINARY = tuple(bytes.fromhex(p.hashed_email) for p in ALL_PEOPLE[::20])


def _check_private(content: bytes, where: str) -> None:
    """Fail when something of anybody stands in ``content``: as text, as hexadecimal digits, or as bytes."""
    found = [content[max(match.start() - 60, 0) : match.end() + 30] for match in _TEXT.finditer(content)]
    assert not found, f"{where}: {found[:5]}"
    digests = {match[0].decode().lower() for match in _DIGEST.finditer(content)} & _DIGESTS
    assert not digests, f"{where} holds {len(digests)} digests"
    assert not any(digest in content or b64encode(digest) in content for digest in _BINARY), where
