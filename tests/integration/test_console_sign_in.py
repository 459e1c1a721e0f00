"""Who sees the console: whoever has a key, for as long as it is valid, and from the console's own pages only."""

from __future__ import annotations

import pytest
from tests.conftest import Server, StartServer
from tests.integration.console import anonymous, csrf_of, signed_in


@pytest.fixture(scope="module")
def shop(start_server: StartServer) -> Server:
    return start_server()


def test_a_buyer_signs_in_with_an_api_key_and_sees_only_its_accounts(shop: Server) -> None:
    shop.command("accounts", "create", "rival")
    with signed_in(shop, shop.key) as buyer:
        seen = buyer.get("/console/server/accounts?format=json").json()
        assert [account["account_id"] for account in seen["accounts"]] == ["default"]
        assert "rival" not in buyer.get("/console/server/accounts").text
        assert buyer.get("/console/server?account=rival").status_code == 404
        assert buyer.get("/console/server?account=nobody").status_code == 404


def test_the_operator_signs_in_with_a_console_key_until_it_is_revoked(shop: Server) -> None:
    shop.command("accounts", "create", "other")
    key = shop.command("console-keys", "create", "--name", "Ann")
    with signed_in(shop, key) as operator:
        seen = operator.get("/console/server/accounts?format=json").json()
        assert {"default", "other"} <= {account["account_id"] for account in seen["accounts"]}

        key_id = shop.command("console-keys", "list").splitlines()[-1].split()[0]
        shop.command("console-keys", "revoke", key_id)
        assert operator.get("/console/server?format=json").status_code == 401
    with anonymous(shop) as browser:
        assert browser.post("/console/sign-in", data={"key": key}).status_code == 401


def test_whoever_is_not_signed_in_comes_back_to_the_page_that_was_asked_for(shop: Server) -> None:
    with anonymous(shop) as browser:
        asked = browser.get("/console/server?x=a%26b")
        assert asked.status_code == 303
        form = browser.get(asked.headers["location"])
        assert 'value="/console/server?x=a%26b"' in form.text
        back = browser.post("/console/sign-in", data={"key": shop.key, "next": "/console/server?x=a%26b"})
        assert back.headers["location"] == "/console/server?x=a%26b"


def test_signing_out_ends_the_session(shop: Server) -> None:
    with signed_in(shop, shop.key) as buyer:
        cookies = dict(buyer.cookies)
        csrf = csrf_of(buyer.get("/console/server").text)
        assert buyer.post("/console/sign-out", data={"csrf": csrf}).status_code == 303
        buyer.cookies.update(cookies)
        assert buyer.get("/console/server?format=json").status_code == 401


def test_two_people_are_signed_in_at_once_and_neither_sends_the_others_forms(shop: Server) -> None:
    key = shop.command("console-keys", "create", "--name", "Bo")
    made = {"name": "Agent", "scope": "console"}
    with signed_in(shop, key) as one, signed_in(shop, key) as other:
        ones, others = (csrf_of(browser.get("/console/server/keys").text) for browser in (one, other))
        for forged in ({}, {"csrf": ""}, {"csrf": ones}):
            assert other.post("/console/server/keys/create", data={**made, **forged}).status_code == 403
        assert one.post("/console/sign-out", data={"csrf": others}).status_code == 403

        assert one.post("/console/sign-out", data={"csrf": ones}).status_code == 303
        assert one.get("/console/server?format=json").status_code == 401
        assert other.post("/console/server/keys/create", data={**made, "csrf": others}).status_code == 200
