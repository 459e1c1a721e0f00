"""Accounts, the keys that act for them, and how a call names an account."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from postback.accounts.references import account_ref, resolve_account
from postback.accounts.store import AccountStore
from postback.auth.api_keys import KeyStore
from postback.auth.principal import Account, Principal
from postback.errors import AccountNotFound, AccountRequired, InvalidRequest, StartupError
from postback.protocol.enums import AccountStatus
from postback.store.control_store import ControlStore


@pytest.fixture
def control(control_url: str) -> Iterator[ControlStore]:
    store = ControlStore(control_url)
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def accounts(control: ControlStore) -> AccountStore:
    store = AccountStore(control)
    store.create("acme", "Acme Outdoor", "acme.example", "agency.example")
    store.create("nova", "Nova", "nova.example")
    return store


@pytest.fixture
def keys(control: ControlStore, accounts: AccountStore) -> KeyStore:
    return KeyStore(control)


def principal_of(keys: KeyStore, *account_ids: str) -> Principal:
    principal = keys.principal(keys.create(account_ids, "test")[1])
    assert principal
    return principal


def test_accounts_are_listed_by_id(accounts: AccountStore) -> None:
    assert [(a.account_id, a.name, a.operator) for a in accounts.list()] == [
        ("acme", "Acme Outdoor", "agency.example"),
        ("nova", "Nova", "nova.example"),
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("two words",), "is not an account_id"),
        (("",), "is not an account_id"),
        (("acme",), "already exists"),
        (("other", None, "https://acme.example"), "not a valid domain for the brand's domain"),
        (("other", None, None, "agency.example"), "Give the brand's domain too"),
        (("other", None, "acme.example", "agency.example"), "account 'acme' already has this brand and operator"),
    ],
)
def test_an_account_that_cannot_be_created_is_explained(
    accounts: AccountStore, arguments: tuple[Any, ...], sentence: str
) -> None:
    with pytest.raises(StartupError, match=sentence):
        accounts.create(*arguments)


def test_a_brand_may_have_a_sandbox_beside_its_account(accounts: AccountStore, keys: KeyStore) -> None:
    accounts.create("acme-sandbox", None, "acme.example", "agency.example", sandbox=True)
    principal = principal_of(keys, "acme", "acme-sandbox")
    ref = {"brand": {"domain": "acme.example"}, "operator": "agency.example"}
    sandbox, live = account_ref(ref | {"sandbox": True}), account_ref(ref | {"sandbox": False})
    assert resolve_account(principal, sandbox).account_id == "acme-sandbox"
    assert resolve_account(principal, live) == resolve_account(principal, account_ref(ref))


def test_a_key_acts_for_its_accounts_and_no_other(keys: KeyStore) -> None:
    principal = principal_of(keys, "nova")
    assert principal.accounts == (Account("nova", "Nova", "nova.example", "nova.example"),)


@pytest.mark.parametrize("status", ["pending_approval", "rejected", "closed"])
def test_what_buyers_ask_for_takes_no_name_from_the_seller(
    accounts: AccountStore, keys: KeyStore, status: AccountStatus
) -> None:
    buyer = principal_of(keys, "nova")
    wanted = Account("", "Zeta", "zeta.example", "agency.example", status=status)
    with accounts.edit(buyer.key_id) as key_accounts:
        asked_for = key_accounts.add(wanted)

    accounts.create("zeta", "Zeta", "zeta.example", "agency.example")
    with pytest.raises(StartupError, match="account 'zeta' already has"):
        accounts.create("again", "Zeta", "zeta.example", "agency.example")

    assert accounts.provisioned_by() == {asked_for.account_id: buyer.key_id}
    seller = principal_of(keys, asked_for.account_id, "zeta")
    named = account_ref({"brand": {"domain": "zeta.example"}, "operator": "agency.example"})
    assert resolve_account(seller, named).account_id == "zeta"
    with accounts.edit(seller.key_id) as key_accounts:
        found = key_accounts.find(*wanted.natural_key)
    assert found
    assert found.account_id == "zeta"


def test_an_unknown_key_is_nobody(keys: KeyStore) -> None:
    assert keys.principal("pb_unknown") is None


def test_a_key_is_not_kept(keys: KeyStore, tmp_path: Path) -> None:
    _, key = keys.create(["acme"], "crm")
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert key.startswith("pb_")
    assert key.removeprefix("pb_").encode() not in kept


def test_a_revoked_key_stops(keys: KeyStore) -> None:
    key_id, key = keys.create(["acme"], "crm")
    assert keys.principal(key)
    keys.revoke(key_id)
    assert keys.principal(key) is None
    assert [k.revoked_at is None for k in keys.list()] == [False]


def test_a_key_that_was_tried_before_it_existed_works_at_once(keys: KeyStore) -> None:
    assert keys.principal("a-key-of-the-operator") is None
    keys.adopt("a-key-of-the-operator", ["acme"])
    assert keys.principal("a-key-of-the-operator")


def test_a_key_is_found_while_what_is_remembered_of_it_expires(
    control: ControlStore, accounts: AccountStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = (tenths / 10 for tenths in count(0, 3))  # each look at the clock comes 0.3 s later
    monkeypatch.setattr("postback.store.recent_lookups.monotonic", lambda: next(moments))
    keys = KeyStore(control)
    _, key = keys.create(["acme"], "test")

    assert len({keys.principal(key) for _ in range(20)} - {None}) == 1


def test_the_bootstrap_key_is_adopted_once(keys: KeyStore) -> None:
    first = keys.adopt("a-key-of-the-operator", ["acme"])
    assert keys.adopt("a-key-of-the-operator", ["acme"]) == first
    assert [(k.key_id, k.name, k.account_ids) for k in keys.list()] == [(first, "bootstrap", ("acme",))]


def test_a_revoked_bootstrap_key_is_refused(keys: KeyStore) -> None:
    keys.revoke(keys.adopt("a-key-of-the-operator", ["acme"]))
    with pytest.raises(StartupError, match="is revoked"):
        keys.adopt("a-key-of-the-operator", ["acme"])


@pytest.mark.parametrize(("account_ids", "sentence"), [([], "at least one account"), (["ghost"], "no account 'ghost'")])
def test_a_key_for_no_account_is_not_made(keys: KeyStore, account_ids: list[str], sentence: str) -> None:
    with pytest.raises(StartupError, match=sentence):
        keys.create(account_ids, "crm")
    assert keys.list() == []


def test_revoking_an_unknown_key_is_explained(keys: KeyStore) -> None:
    with pytest.raises(StartupError, match="No key has the id"):
        keys.revoke("key_unknown")


def test_a_call_that_names_no_account_means_the_only_one(keys: KeyStore) -> None:
    assert resolve_account(principal_of(keys, "acme"), None).account_id == "acme"
    with pytest.raises(AccountRequired):
        resolve_account(principal_of(keys, "acme", "nova"), None)


@pytest.mark.parametrize(
    "ref",
    [
        {"account_id": "nova"},
        {"brand": {"domain": "nova.example"}, "operator": "nova.example"},
        {"brand": {"domain": "nova.example", "industries": ["sports"]}, "operator": "nova.example", "sandbox": False},
        {"brand": {"domain": "nova.example"}, "operator": "nova.example", "sandbox": None, "currency": None},
        {"account_id": None, "brand": {"domain": "nova.example"}, "operator": "nova.example"},
    ],
)
def test_an_account_is_named_by_id_or_by_brand_and_operator(keys: KeyStore, ref: object) -> None:
    assert resolve_account(principal_of(keys, "acme", "nova"), account_ref(ref)).account_id == "nova"


@pytest.mark.parametrize(
    "ref",
    [
        {"account_id": "nova"},
        {"account_id": "unknown"},
        {"brand": {"domain": "acme.example"}, "operator": "other.example"},
        {"brand": {"domain": "acme.example"}, "operator": "agency.example", "sandbox": True},
        {"brand": {"domain": "acme.example"}, "operator": "agency.example", "currency": "EUR"},
        {"brand": {"domain": "acme.example", "brand_id": "spark"}, "operator": "agency.example"},
    ],
)
def test_an_unknown_account_and_a_foreign_one_look_alike(keys: KeyStore, ref: object) -> None:
    with pytest.raises(AccountNotFound) as refused:
        resolve_account(principal_of(keys, "acme"), account_ref(ref))
    assert (refused.value.message, refused.value.field) == (
        "No account of your API key matches this reference.",
        "account",
    )


@pytest.mark.parametrize(
    ("ref", "field"),
    [
        ("acme", "account"),
        ({}, "account"),
        ({"account_id": 7}, "account.account_id"),
        ({"brand": "acme.example", "operator": "agency.example"}, "account.brand"),
        ({"brand": {}, "operator": "agency.example"}, "account.brand.domain"),
        ({"brand": {"domain": "acme.example"}}, "account.operator"),
        ({"brand": {"domain": "ACME.example"}, "operator": "agency.example"}, "account.brand.domain"),
        ({"brand": {"domain": "acme.example"}, "operator": "https://agency.example"}, "account.operator"),
        ({"brand": {"domain": "acme.example"}, "operator": "agency.example", "sandbox": "no"}, "account.sandbox"),
    ],
)
def test_a_malformed_reference_is_named(keys: KeyStore, ref: object, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        resolve_account(principal_of(keys, "acme"), account_ref(ref))
    assert refused.value.field == field
