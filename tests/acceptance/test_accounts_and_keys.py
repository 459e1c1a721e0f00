"""A key acts for the accounts that it was given, and what others have is as if it were not there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import DOORS, Door, ago, call, error_of, order
from tests.acceptance.official import DIALECTS, pinned, unique_key
from tests.conftest import HTTP, eventually

if TYPE_CHECKING:
    from tests.conftest import Server


@dataclass(frozen=True)
class Agency:
    """Two advertisers with a source ``shop`` each, and whoever acts for one or both of them."""

    both: Server
    acme: Server
    globex: Server
    acme_seller_id: str
    globex_seller_id: str


@pytest.fixture(scope="module")
def agency(server: Server) -> Agency:
    for account in ("acme", "globex"):
        server.command("accounts", "create", account, "--brand", f"{account}.example", "--operator", "agency.example")
    both, acme, globex = (
        replace(server, key=server.command("keys", "create", *(f"--account={account}" for account in accounts)))
        for accounts in (["acme", "globex"], ["acme"], ["globex"])
    )
    own = [{"event_source_id": "shop"}, {"event_source_id": "of_acme"}]
    created = call(acme, "rest", "sync_event_sources", {"event_sources": own})["event_sources"]
    theirs = call(globex, "rest", "sync_event_sources", {"event_sources": own[:1]})["event_sources"]
    return Agency(both, acme, globex, created[0]["seller_id"], theirs[0]["seller_id"])


@pytest.mark.parametrize("release", DIALECTS)
@pytest.mark.parametrize("door", DOORS)
def test_a_foreign_source_is_answered_byte_for_byte_like_an_unknown_one(
    agency: Agency, door: Door, release: str | None
) -> None:
    batch = pinned(release) | {"events": [order("1")]}

    answers = [
        call(agency.globex, door, "log_event", batch | {"event_source_id": source}, **{"X-Request-Id": "same"})
        for source in ("of_acme", "of_nobody", agency.acme_seller_id)
    ]

    assert answers[0] == answers[1] == answers[2]
    assert error_of(answers[0])["details"]["reason"] == "EVENT_SOURCE_NOT_FOUND"


@pytest.mark.parametrize(
    "path", ["log_event", "events/{source}/purchase/1", "events/{source}/purchase/1?account_id=acme"]
)
def test_the_bytes_themselves_are_the_same(agency: Agency, path: str) -> None:
    with agency.globex.client(**{"X-Request-Id": "same"}) as client:
        answers = [
            client.post(f"/v1/{path}", json={"event_source_id": source, "events": [order("1")]})
            if path == "log_event"
            else client.get(f"/v1/{path.format(source=source)}")
            for source in ("of_acme", "of_nobody")
        ]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content


def test_a_foreign_account_is_answered_like_an_unknown_one(agency: Agency) -> None:
    answers = [
        call(agency.globex, "rest", "sync_event_sources", {"account": account}, **{"X-Request-Id": "same"})
        for account in (
            {"account_id": "acme"},
            {"account_id": "nobody"},
            {"brand": {"domain": "acme.example"}, "operator": "agency.example"},
        )
    ]

    assert answers[0] == answers[1] == answers[2]
    assert error_of(answers[0])["code"] == "ACCOUNT_NOT_FOUND"


def test_a_source_that_several_accounts_have_must_be_told_apart(agency: Agency) -> None:
    answer = call(agency.both, "rest", "log_event", {"event_source_id": "shop", "events": [order("1")]})

    error = error_of(answer)
    assert error["code"] == "ACCOUNT_AMBIGUOUS"
    assert "account_id" in error["suggestion"]
    assert "seller_id" in error["suggestion"]


@pytest.mark.parametrize("how", ["account_id", "brand", "seller_id", "only in one"])
def test_a_source_is_told_apart_by(agency: Agency, how: str) -> None:
    event_id = unique_key()
    ways: dict[str, dict[str, Any]] = {
        "account_id": {"event_source_id": "shop", "account": {"account_id": "acme"}},
        "brand": {
            "event_source_id": "shop",
            "account": {"brand": {"domain": "acme.example"}, "operator": "agency.example", "sandbox": False},
        },
        "seller_id": {"event_source_id": agency.acme_seller_id},
        "only in one": {"event_source_id": "of_acme"},
    }

    answer = call(agency.both, "rest", "log_event", ways[how] | {"events": [order(event_id)]})

    assert answer["events_processed"] == 1
    source = "of_acme" if how == "only in one" else "shop"
    with agency.acme.client() as client:
        assert client.get(f"/v1/events/{source}/purchase/{event_id}").json()["account_id"] == "acme"
    with agency.globex.client() as client:
        assert client.get(f"/v1/events/{source}/purchase/{event_id}").status_code == 404


def test_naming_an_account_narrows_and_never_widens(agency: Agency) -> None:
    of_acme = {"account": {"account_id": "acme"}, "events": [order("1")]}

    widened = call(agency.globex, "rest", "log_event", of_acme | {"event_source_id": "of_acme"})
    narrowed = call(agency.both, "rest", "log_event", of_acme | {"event_source_id": agency.globex_seller_id})

    assert error_of(widened)["code"] == error_of(narrowed)["code"] == "EVENT_SOURCE_NOT_FOUND"


def test_one_event_id_is_an_event_of_its_own_in_every_account(agency: Agency) -> None:
    times = {agency.acme: ago(hours=1), agency.globex: ago(hours=2)}

    for caller, event_time in times.items():
        event = order("same_id", event_time=event_time)
        call(caller, "rest", "log_event", {"event_source_id": "shop", "events": [event]})

    for caller, event_time in times.items():
        with caller.client() as client:
            (verdict,) = client.get("/v1/events/shop/purchase/same_id").json()["statuses"]
        assert verdict["event_time"][:26] == event_time[:26]


def test_a_sync_with_several_accounts_must_name_one(agency: Agency) -> None:
    error = error_of(call(agency.both, "rest", "sync_event_sources", {}))

    assert (error["details"]["reason"], error["field"]) == ("ACCOUNT_REQUIRED", "account")


def test_the_header_of_the_official_client_works_through_every_door(server: Server) -> None:
    for door in DOORS:
        answer = call(server, door, "get_adcp_capabilities", {}, **{"Authorization": "", "x-adcp-auth": server.key})
        assert answer["status"] == "completed"


def test_a_revoked_key_stops_while_the_server_runs(server: Server) -> None:
    leaver = replace(server, key=server.command("keys", "create", "--account", "default", "--name", "leaver"))
    assert leaver.call("get_adcp_capabilities").status_code == 200
    listed = server.command("keys", "list")
    (key_id,) = [line.split()[0] for line in listed.splitlines() if "leaver" in line]

    server.command("keys", "revoke", key_id)

    response = eventually(lambda: (r := leaver.call("get_adcp_capabilities")).status_code == 401 and r)
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="postback", error="invalid_token"'
    assert error_of(response.json())["code"] == "AUTH_INVALID"
    assert leaver.key not in server.log.read_text()


def test_without_a_key_nothing_is_told(server: Server) -> None:
    for path in ("log_event", "sync_event_sources", "get_adcp_capabilities"):
        response = HTTP.post(f"{server.url}/v1/{path}", json={})
        assert (response.status_code, error_of(response.json())["code"]) == (401, "AUTH_MISSING")
    assert HTTP.get(f"{server.url}/v1/events/website/purchase/1").status_code == 401
