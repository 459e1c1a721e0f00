"""A buyer's agent sets up the accounts that it acts for, and the seller decides what they may do."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import DOORS, Door, call, error_of, log, order
from tests.acceptance.official import DIALECTS, pinned, refuse_unless_valid, unique_key
from tests.conftest import eventually
from tests.integration.orders import order as media_buy_order

from postback.accounts.store import AccountStore
from postback.store.control_store import ControlStore

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer


@pytest.fixture(scope="module")
def live(start_server: StartServer) -> Server:
    return start_server(sandbox_accounts="true")


def entry(domain: str, **members: Any) -> dict[str, Any]:
    return {"brand": {"domain": domain}, "operator": "agency.example", "billing": "operator"} | members


def sync(server: Server, *entries: dict[str, Any], door: Door = "rest", **members: Any) -> list[dict[str, Any]]:
    arguments = {"idempotency_key": unique_key(), "accounts": list(entries)} | members
    answer = call(server, door, "sync_accounts", arguments)
    assert answer["status"] == "completed", answer
    accounts: list[dict[str, Any]] = answer["accounts"]
    return accounts


@pytest.mark.parametrize("release", DIALECTS)
@pytest.mark.parametrize("door", DOORS)
def test_an_account_is_set_up_once(live: Server, door: Door, release: str | None) -> None:
    wanted = entry(f"{door}-{(release or '0').replace('.', '-')}.example", payment_terms="net_30")
    arguments = {"idempotency_key": unique_key(), "accounts": [wanted]} | pinned(release)

    first = call(live, door, "sync_accounts", arguments)
    (again,) = sync(live, wanted, door=door)
    listed = call(live, door, "list_accounts", {"adcp_version": release} if release else {})

    (account,) = first["accounts"]
    assert (account["action"], account["status"]) == ("created", "pending_approval")
    assert (again["action"], again["account_id"]) == ("unchanged", account["account_id"])
    assert account["account_id"] in [known["account_id"] for known in listed["accounts"]]
    refuse_unless_valid("sync_accounts", first, release)
    refuse_unless_valid("list_accounts", listed, release)


def test_an_account_waits_for_the_seller(live: Server) -> None:
    (account,) = sync(live, entry("waiting.example"))
    ref = {"account": {"account_id": account["account_id"]}}
    source = {"event_sources": [{"event_source_id": "waiting"}]}

    refused = call(live, "rest", "sync_event_sources", ref | source)
    live.command("accounts", "status", account["account_id"], "active")
    wait_for_keys(live, account["account_id"], "active")
    taken = call(live, "rest", "sync_event_sources", ref | source)

    assert error_of(refused)["code"] == "ACCOUNT_SETUP_REQUIRED"
    assert taken["status"] == "completed"


@pytest.mark.parametrize(
    ("status", "logged", "bought"),
    [
        ("suspended", None, "ACCOUNT_SUSPENDED"),
        ("payment_required", None, "ACCOUNT_PAYMENT_REQUIRED"),
        ("closed", "ACCOUNT_SUSPENDED", "ACCOUNT_SUSPENDED"),
        ("rejected", "ACCOUNT_SUSPENDED", "ACCOUNT_SUSPENDED"),
    ],
)
def test_the_status_says_what_an_account_may_do(live: Server, status: str, logged: str | None, bought: str) -> None:
    (account,) = sync(live, entry(f"{status.replace('_', '-')}.example"))
    ref = {"account": {"account_id": account["account_id"]}}
    decide(live, account["account_id"], "active")
    call(live, "rest", "sync_event_sources", ref | {"event_sources": [{"event_source_id": status}]})
    decide(live, account["account_id"], status)

    assert log(live, status, order(f"of_{status}")).get("adcp_error", {}).get("code") == logged
    assert call(live, "rest", "create_media_buy", media_buy_order(**ref))["adcp_error"]["code"] == bought
    assert call(live, "rest", "get_media_buys", ref)["status"] == "completed"


def test_a_retry_gets_its_answer_though_the_account_was_closed_meanwhile(live: Server) -> None:
    (account,) = sync(live, entry("retried.example"))
    ref = {"account": {"account_id": account["account_id"]}}
    decide(live, account["account_id"], "active")
    sources = ref | {"idempotency_key": unique_key(), "event_sources": [{"event_source_id": "retried"}]}
    events = {"idempotency_key": unique_key(), "event_source_id": "retried", "events": [order("retried")]}
    call(live, "rest", "sync_event_sources", sources)
    call(live, "rest", "log_event", events)
    decide(live, account["account_id"], "closed")

    assert call(live, "rest", "sync_event_sources", sources)["replayed"]
    assert call(live, "rest", "log_event", events)["replayed"]
    assert error_of(call(live, "rest", "sync_event_sources", ref))["code"] == "ACCOUNT_SUSPENDED"


def decide(server: Server, account_id: str, status: str, **headers: str) -> None:
    """Set a status as the seller's command does, and wait until the server follows."""
    with closing(ControlStore(f"sqlite:///{server.data}/control.db")) as control:
        AccountStore(control).update(account_id, status=status)
    wait_for_keys(server, account_id, status, **headers)


def wait_for_keys(server: Server, account_id: str, status: str, **headers: str) -> None:
    def follows() -> bool:
        listed = call(server, "rest", "list_accounts", {"account": {"account_id": account_id}}, **headers)
        return bool(listed["accounts"][0]["status"] == status)

    eventually(follows, f"the status {status}")


def test_one_bad_entry_does_not_fail_the_others(live: Server) -> None:
    results = sync(
        live,
        entry("billed.example", billing="advertiser"),
        entry("terms.example", payment_terms="some_day"),
        entry("unit.example", brand={"domain": "unit.example", "brand_id": "x"}),
        {"account": {"account_id": "default"}, "billing": "advertiser"},
        entry("good.example", billing_entity={"legal_name": "Good"}),
    )

    assert [result["action"] for result in results] == ["failed", "failed", "failed", "failed", "created"]
    codes = [error["code"] for result in results[:4] for error in result["errors"]]
    assert codes == ["BILLING_NOT_SUPPORTED", "INVALID_REQUEST", "UNSUPPORTED_PROVISIONING", "BILLING_NOT_SUPPORTED"]
    assert results[0]["errors"][0]["details"]["supported_billing"] == ["operator"]
    assert "billing_entity" in results[4]["warnings"][0]


@pytest.mark.parametrize(
    ("wrong", "code", "field"),
    [
        ({"brand": {"domain": "ACME.example"}}, "INVALID_REQUEST", ".brand.domain"),
        ({"brand": {"domain": "m\u00fcnchen.example"}}, "INVALID_REQUEST", ".brand.domain"),
        ({"brand": {"domain": "https://acme.example"}}, "INVALID_REQUEST", ".brand.domain"),
        ({"brand": {"domain": "acme.example."}}, "INVALID_REQUEST", ".brand.domain"),
        ({"brand": {"domain": ""}}, "INVALID_REQUEST", ".brand.domain"),
        ({"brand": {"domain": "a" * 254}}, "INVALID_REQUEST", ".brand.domain"),
        ({"brand": {"domain": "ann@agency.example"}}, "INVALID_REQUEST", ".brand.domain"),
        ({"brand": "acme.example"}, "INVALID_REQUEST", ".brand"),
        ({"operator": "Agency.example"}, "INVALID_REQUEST", ".operator"),
        ({"operator": None}, "INVALID_REQUEST", ""),
        ({"sandbox": "yes"}, "INVALID_REQUEST", ".sandbox"),
        ({"billing": 7}, "BILLING_NOT_SUPPORTED", ".billing"),
        ({"payment_terms": ["net_30"]}, "INVALID_REQUEST", ".payment_terms"),
        ({"currency": "EUR"}, "UNSUPPORTED_PROVISIONING", ""),
        ({"timezone": "Europe/Berlin"}, "UNSUPPORTED_PROVISIONING", ""),
        ({"operator_unit": {"id": "seat_1"}}, "UNSUPPORTED_PROVISIONING", ""),
        ({"brand": {"domain": "acme.example", "countries": ["DE"]}}, "UNSUPPORTED_PROVISIONING", ""),
        ({"revision": 99}, "UNSUPPORTED_FEATURE", ".revision"),
        ({"account": {"account_id": "default"}}, "INVALID_REQUEST", ".brand"),
    ],
)
def test_an_entry_that_names_no_account_to_set_up_fails_alone(
    live: Server, wrong: dict[str, Any], code: str, field: str
) -> None:
    good = entry("beside.example")

    failed, beside = sync(live, entry("wrong.example", **wrong), good, adcp_version="3.2")

    assert failed["action"] == "failed"
    assert [(error["code"], error["field"]) for error in failed["errors"]] == [(code, f"accounts[0]{field}")]
    assert "@" not in str(failed)
    assert beside["action"] in {"created", "unchanged"}


@pytest.mark.parametrize(
    ("beside", "code"),
    [
        ({"operator": "agency.example"}, "INVALID_REQUEST"),
        ({"currency": "EUR"}, "INVALID_REQUEST"),
        ({"revision": 99}, "UNSUPPORTED_FEATURE"),
    ],
)
def test_an_account_is_not_changed_by_an_entry_that_means_more(live: Server, beside: dict[str, str], code: str) -> None:
    ref = {"account_id": sync(live, entry("meant.example"))[0]["account_id"]}

    (failed,) = sync(live, {"account": ref, "payment_terms": "prepay", **beside})
    listed = call(live, "rest", "list_accounts", {"account": ref})

    assert failed["errors"][0]["code"] == code
    assert "payment_terms" not in listed["accounts"][0]


def test_an_entry_that_is_no_object_fails_alone(live: Server) -> None:
    failed, beside = sync(live, "acme.example", entry("no-object.example"))  # type: ignore[arg-type]

    assert (failed["action"], beside["action"]) == ("failed", "created")
    refuse_unless_valid("sync_accounts", {"status": "completed", "accounts": [failed, beside]}, None)


def test_an_account_that_is_listed_twice_is_set_up_once(live: Server) -> None:
    first, second = sync(live, entry("twice.example"), entry("twice.example", payment_terms="prepay"))

    assert (first["action"], second["action"]) == ("created", "failed")
    assert first["account_id"] == second["account_id"]
    assert "earlier entry" in second["errors"][0]["message"]


def test_a_dry_run_changes_nothing(live: Server) -> None:
    (preview,) = sync(live, entry("preview.example"), dry_run=True)
    (real,) = sync(live, entry("preview.example"))

    assert (preview["action"], real["action"]) == ("created", "created")
    assert "account_id" not in preview


def test_terms_change_and_what_is_missing_is_closed(live: Server) -> None:
    key = live.command("keys", "create", "--account", "default")
    agent = {"Authorization": f"Bearer {key}"}
    wanted = [entry("kept.example"), entry("dropped.example")]
    call(live, "rest", "sync_accounts", {"idempotency_key": unique_key(), "accounts": wanted}, **agent)
    changed = {"accounts": [entry("kept.example", payment_terms="prepay")], "delete_missing": True}

    answer = call(live, "rest", "sync_accounts", {"idempotency_key": unique_key()} | changed, **agent)

    shown = [(account["brand"]["domain"], account["action"], account["status"]) for account in answer["accounts"]]
    assert shown == [
        ("kept.example", "updated", "pending_approval"),
        ("dropped.example", "updated", "closed"),
    ]


def test_an_account_that_is_listed_stays_open_though_its_entry_fails(live: Server) -> None:
    agent = {"Authorization": f"Bearer {live.command('keys', 'create', '--account', 'default')}"}
    wanted = [entry("typo.example"), entry("fine.example")]
    call(live, "rest", "sync_accounts", {"idempotency_key": unique_key(), "accounts": wanted}, **agent)
    mistaken = {"accounts": [entry("typo.example", payment_terms="some_day"), wanted[1]], "delete_missing": True}

    answer = call(live, "rest", "sync_accounts", {"idempotency_key": unique_key()} | mistaken, **agent)

    shown = [(account["brand"]["domain"], account["action"], account["status"]) for account in answer["accounts"]]
    assert shown == [
        ("typo.example", "failed", "pending_approval"),
        ("fine.example", "unchanged", "pending_approval"),
    ]


def test_an_entry_that_may_mean_any_account_keeps_all_of_them_open(live: Server) -> None:
    agent = {"Authorization": f"Bearer {live.command('keys', 'create', '--account', 'default')}"}
    wanted = {"idempotency_key": unique_key(), "accounts": [entry("mistyped.example")]}
    call(live, "rest", "sync_accounts", wanted, **agent)
    mistaken = {"accounts": [entry("Mistyped.example")], "delete_missing": True}

    call(live, "rest", "sync_accounts", {"idempotency_key": unique_key()} | mistaken, **agent)

    listed = call(live, "rest", "list_accounts", {"status": "closed"}, **agent)
    assert listed["accounts"] == []


def test_what_a_buyer_closed_the_buyer_reopens_as_it_was(live: Server) -> None:
    agent = {"Authorization": f"Bearer {live.command('keys', 'create', '--account', 'default')}"}

    def synced(*domains: str, **members: Any) -> dict[str, tuple[str, str]]:
        wanted = {"idempotency_key": unique_key(), "accounts": [entry(domain) for domain in domains]}
        answer = call(live, "rest", "sync_accounts", wanted | members, **agent)
        ids.update({account["brand"]["domain"]: account["account_id"] for account in answer["accounts"]})
        return {account["brand"]["domain"]: (account["action"], account["status"]) for account in answer["accounts"]}

    ids: dict[str, str] = {}
    everything = ("approved.example", "refused.example", "waiting.example", "ended.example")
    synced(*everything)
    live.command("accounts", "status", ids["approved.example"], "active")
    live.command("accounts", "status", ids["refused.example"], "rejected")

    closed = synced(delete_missing=True)
    live.command("accounts", "status", ids["ended.example"], "closed")
    preview = synced(*everything, dry_run=True)
    reopened = synced(*everything)

    assert set(closed.values()) == {("updated", "closed")}
    assert reopened == {
        "approved.example": ("updated", "active"),
        "refused.example": ("updated", "rejected"),
        "waiting.example": ("updated", "pending_approval"),
        "ended.example": ("unchanged", "closed"),
    }
    assert preview == reopened
    assert set(synced(*everything).values()) >= {("unchanged", "active"), ("unchanged", "closed")}


def test_two_agents_that_name_the_same_brand_share_nothing(live: Server) -> None:
    mine = sync(live, entry("shared.example"))
    key = live.command("keys", "create", "--account", "default")
    arguments = {"idempotency_key": unique_key(), "accounts": [entry("shared.example")]}

    theirs = call(live, "rest", "sync_accounts", arguments, Authorization=f"Bearer {key}")["accounts"]

    assert theirs[0]["action"] == "created"
    assert theirs[0]["account_id"] != mine[0]["account_id"]


def test_a_key_may_have_a_hundred_accounts_that_await_approval(live: Server) -> None:
    agent = {"Authorization": f"Bearer {live.command('keys', 'create', '--account', 'default')}"}
    wanted = [entry(f"name-{number}.example") for number in range(103)]
    arguments = {"idempotency_key": unique_key(), "accounts": wanted}

    results = call(live, "rest", "sync_accounts", arguments, **agent)["accounts"]
    closing = {"idempotency_key": unique_key(), "accounts": [entry("fresh.example")], "delete_missing": True}
    fresh = call(live, "rest", "sync_accounts", closing, **agent)["accounts"][0]
    decide(live, results[0]["account_id"], "active", **agent)
    again = {"idempotency_key": unique_key(), "accounts": [entry("fresh.example")]}
    (once_one_is_decided,) = call(live, "rest", "sync_accounts", again, **agent)["accounts"]

    assert [result["action"] for result in results] == ["created"] * 100 + ["failed"] * 3
    assert "await the seller's approval" in results[100]["errors"][0]["message"]
    assert fresh["action"] == "failed", "closing accounts made room for others"
    assert once_one_is_decided["action"] == "created"


def test_a_sandbox_account_is_approved_like_any_other(live: Server) -> None:
    (account,) = sync(live, entry("play.example", sandbox=True))

    assert (account["status"], account["sandbox"]) == ("pending_approval", True)
    assert call(live, "rest", "get_adcp_capabilities", {})["account"]["sandbox"] is True


def test_a_server_sets_up_sandbox_accounts_only_if_its_seller_wants_that(server: Server) -> None:
    (account,) = sync(server, entry("play.example", sandbox=True))

    (error,) = account["errors"]
    assert (error["code"], error["field"]) == ("UNSUPPORTED_PROVISIONING", "accounts[0].sandbox")
    assert call(server, "rest", "get_adcp_capabilities", {})["account"]["sandbox"] is False
    refuse_unless_valid("sync_accounts", {"status": "completed", "accounts": [account]}, None)


def test_accounts_are_listed_in_pages(live: Server) -> None:
    sync(live, *(entry(f"page-{number}.example", sandbox=True) for number in range(5)))
    seen: list[str] = []
    pagination: dict[str, Any] = {"max_results": 2}
    while True:
        page = call(live, "rest", "list_accounts", {"sandbox": True, "pagination": pagination})
        seen += [account["account_id"] for account in page["accounts"]]
        if not page["pagination"]["has_more"]:
            break
        pagination = {"max_results": 2, "cursor": page["pagination"]["cursor"]}

    assert len(seen) == len(set(seen)) >= 5
    assert seen == sorted(seen)


def test_a_list_tells_nothing_of_somebody_elses_account(live: Server) -> None:
    live.command("accounts", "create", "foreign")

    foreign = call(live, "rest", "list_accounts", {"account": {"account_id": "foreign"}})
    unknown = call(live, "rest", "list_accounts", {"account": {"account_id": "unknown"}})

    del foreign["ext"], unknown["ext"]
    assert foreign == unknown
    assert foreign["accounts"] == []


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"api_key": "pb_secret"}, "api_key"),
        ({"context": {"credentials": "pb_secret"}}, "context.credentials"),
        ({"ext": {"a": [{"access_token": "pb_secret"}]}}, "ext.a.0.access_token"),
    ],
)
@pytest.mark.parametrize("door", DOORS)
def test_a_credential_among_the_arguments_is_refused_and_not_repeated(
    live: Server, door: Door, arguments: dict[str, Any], field: str
) -> None:
    answer = call(live, door, "get_adcp_capabilities", arguments)

    assert error_of(answer)["code"] == "CREDENTIAL_IN_ARGS"
    assert answer["adcp_error"]["field"] == field
    assert "pb_secret" not in str(answer)
