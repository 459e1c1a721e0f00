"""What the operator does in the console: the same as on the command line, and seen by callers at once."""

from __future__ import annotations

import re
import socket
import uuid
from collections.abc import Iterator

import httpx2
import pytest
from tests.conftest import Server, StartServer, eventually
from tests.integration.console import anonymous, csrf_of, signed_in

EVENT = {
    "event_type": "purchase",
    "event_id": "order_1",
    "event_time": "2026-07-01T10:00:00Z",
    "action_source": "in_store",
    "user_match": {"uids": [{"type": "uid2", "value": "A4AAAAvYnZ9"}]},
    "custom_data": {"value": 10, "currency": "EUR"},
}


@pytest.fixture(scope="module")
def shop(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Server:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = taken.getsockname()[1]
    config = tmp_path_factory.mktemp("config") / "seller.toml"
    config.write_text(
        f'[[forwards]]\nname = "crm"\nevent_source_id = "tills"\nurl = "http://127.0.0.1:{nobody}/"\n'
        'allow_private = true\ntemplate = "{}"\n'
    )
    return start_server(seller_config=config, sandbox_accounts=True, max_event_age_days=3650)


@pytest.fixture
def operator(shop: Server) -> Iterator[httpx2.Client]:
    with signed_in(shop, shop.command("console-keys", "create")) as browser:
        yield browser


def do(browser: httpx2.Client, page: str, action: str, **fields: str) -> httpx2.Response:
    """Send a form of a page."""
    csrf = csrf_of(browser.get(f"/console/server/{page}").text)
    return browser.post(f"/console/server/{page}/{action}", data={"csrf": csrf, **fields})


def test_an_account_that_a_buyer_asked_for_is_approved(shop: Server, operator: httpx2.Client) -> None:
    wanted = {
        "brand": {"domain": "fjord.example"},
        "operator": "agency.example",
        "billing": "operator",
        "sandbox": True,
    }
    shop.call("sync_accounts", idempotency_key=str(uuid.uuid4()), accounts=[wanted]).raise_for_status()
    [pending] = operator.get("/console/server/accounts?format=json").json()["pending"]
    assert pending["asked_for_by"].startswith("key_")

    done = do(operator, "accounts", "status", account_id=pending["account_id"], status="active")

    assert (done.status_code, done.headers["location"]) == (303, "/console/server/accounts")
    accounts = shop.call("list_accounts").json()["accounts"]
    assert {account["account_id"]: account["status"] for account in accounts}[pending["account_id"]] == "active"
    assert do(operator, "accounts", "status", account_id="nobody", status="active").status_code == 400
    assert do(operator, "accounts", "status", account_id="default", status="great").status_code == 400


def test_a_key_is_shown_once_works_and_is_revoked(shop: Server, operator: httpx2.Client) -> None:
    made = do(operator, "keys", "create", name="Agent", scope="buyer", account_id="default")
    key = re.search(r"pb_[\w-]{43}", made.text)
    assert key
    assert key[0] not in operator.get("/console/server/keys").text
    with signed_in(shop, key[0]) as buyer:
        [own] = buyer.get("/console/server/keys?format=json").json()["keys"]
        assert (own["name"], own["accounts"], own["yours"]) == ("Agent", ["default"], True)

        do(operator, "keys", "revoke", key_id=own["key_id"])

        assert buyer.get("/console/server/keys?format=json").status_code == 401
    with anonymous(shop) as stranger:
        assert stranger.post("/v1/list_accounts", headers={"Authorization": f"Bearer {key[0]}"}).status_code == 401


def test_a_console_key_made_in_the_console_opens_it(shop: Server, operator: httpx2.Client) -> None:
    made = do(operator, "keys", "create", name="Bo", scope="console")
    key = re.search(r"pbc_[\w-]{43}", made.text)
    assert key
    with signed_in(shop, key[0]) as colleague:
        assert colleague.get("/console/server/forwarding").status_code == 200


def test_a_buyer_sees_nothing_of_forwarding(shop: Server) -> None:
    with signed_in(shop, shop.key) as buyer:
        assert buyer.get("/console/server/forwarding").status_code == 403
        assert buyer.get("/console/server?format=json").json()["operation"] is None


def test_what_was_not_forwarded_is_listed_and_replayed(shop: Server, operator: httpx2.Client) -> None:
    account = {"account_id": "default"}
    sources = [{"event_source_id": "tills"}]
    shop.call("sync_event_sources", idempotency_key=str(uuid.uuid4()), account=account, event_sources=sources)
    shop.call("log_event", account=account, event_source_id="tills", events=[EVENT]).raise_for_status()

    def failed() -> bool:
        waiting = operator.get("/console/server/forwarding?format=json").json()["waiting"]
        return bool(waiting) and waiting[0]["attempts"] > 0

    eventually(failed, "an attempt")
    shown = operator.get("/console/server/forwarding?format=json").json()
    assert [destination["name"] for destination in shown["destinations"]] == ["crm"]
    assert shown["waiting"][0]["error"]
    assert do(operator, "forwarding", "replay", delivery_id="unknown").status_code == 400
    assert do(operator, "forwarding", "replay").status_code == 303
