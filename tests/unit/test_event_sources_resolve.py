"""A call names an event source; the caller's accounts decide which one that is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postback.accounts.references import AccountRef, BrandRef, account_ref
from postback.accounts.store import AccountStore
from postback.auth.principal import Principal
from postback.errors import AccountAmbiguous, EventSourceNotFound, InvalidRequest, StartupError
from postback.event_sources.event_source import EventSource
from postback.event_sources.store import SourceRegistry
from postback.store.control_store import ControlStore


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[tuple[AccountStore, SourceRegistry]]:
    control = ControlStore(f"sqlite:///{tmp_path}/control.db")
    control.migrate()
    store = AccountStore(control)
    for account_id in ("acme", "foreign", "nova"):
        store.create(account_id, brand_domain=f"{account_id}.example")
    registry = SourceRegistry(control)
    for account_id, event_source_id in (("acme", "web"), ("nova", "web"), ("nova", "app"), ("foreign", "tills")):
        with registry.edit(account_id) as sources:
            sources.save([source(account_id, event_source_id)])
    yield store, registry
    control.close()


@pytest.fixture
def registry(accounts: tuple[AccountStore, SourceRegistry]) -> SourceRegistry:
    return accounts[1]


@pytest.fixture
def agency(accounts: tuple[AccountStore, SourceRegistry]) -> Principal:
    own = [accounts[0].get("acme"), accounts[0].get("nova")]
    return Principal("key_agency", tuple(account for account in own if account))


def source(account_id: str, event_source_id: str) -> EventSource:
    return EventSource(
        account_id=account_id, event_source_id=event_source_id, seller_id=f"src_{account_id}_{event_source_id}"
    )


def test_the_only_source_with_the_id_is_meant(registry: SourceRegistry, agency: Principal) -> None:
    assert registry.resolve(agency, "app", None) == source("nova", "app")


def test_our_own_id_means_it_too(registry: SourceRegistry, agency: Principal) -> None:
    assert registry.resolve(agency, "src_acme_web", None) == source("acme", "web")


def test_several_accounts_with_the_id_need_to_be_told_apart(registry: SourceRegistry, agency: Principal) -> None:
    with pytest.raises(AccountAmbiguous) as refused:
        registry.resolve(agency, "web", None)
    assert "seller_id" in refused.value.suggestion


@pytest.mark.parametrize(
    "ref", [AccountRef(account_id="nova"), AccountRef(brand=BrandRef(domain="nova.example"), operator="nova.example")]
)
def test_the_account_tells_them_apart(registry: SourceRegistry, agency: Principal, ref: AccountRef) -> None:
    assert registry.resolve(agency, "web", ref) == source("nova", "web")


@pytest.mark.parametrize(
    ("event_source_id", "ref"),
    [
        ("unknown", None),
        ("tills", None),
        ("src_foreign_tills", None),
        ("tills", AccountRef(account_id="foreign")),
        ("app", AccountRef(account_id="acme")),
        ("app", AccountRef(account_id="foreign")),
    ],
)
def test_unknown_and_foreign_sources_are_told_alike(
    registry: SourceRegistry, agency: Principal, event_source_id: str, ref: AccountRef | None
) -> None:
    with pytest.raises(EventSourceNotFound) as refused:
        registry.resolve(agency, event_source_id, ref)
    assert (refused.value.message, refused.value.field) == (
        "Your account has no event source with this id.",
        "event_source_id",
    )


def test_a_malformed_account_is_told(registry: SourceRegistry, agency: Principal) -> None:
    with pytest.raises(InvalidRequest):
        registry.resolve(agency, "app", account_ref({"account_id": ["nova"]}))


def test_a_new_source_is_found_at_once(registry: SourceRegistry, agency: Principal) -> None:
    with pytest.raises(EventSourceNotFound):
        registry.resolve(agency, "crm", None)
    with registry.edit("acme") as sources:
        sources.save([source("acme", "crm")])
    assert registry.resolve(agency, "crm", None) == source("acme", "crm")


def test_an_id_that_looks_like_our_own_means_the_source_that_has_it(
    registry: SourceRegistry, agency: Principal
) -> None:
    with registry.edit("acme") as sources:
        sources.save([source("acme", "src_nova_app")])
    assert registry.resolve(agency, "src_nova_app", None) == source("acme", "src_nova_app")


def test_a_bound_on_age_is_set_and_unset(registry: SourceRegistry, agency: Principal) -> None:
    registry.set_max_event_age_days("nova", "app", 9000)
    assert registry.resolve(agency, "app", None).max_event_age_days == 9000
    registry.set_max_event_age_days("nova", "app", None)
    assert registry.resolve(agency, "app", None).max_event_age_days is None


@pytest.mark.parametrize(("event_source_id", "days"), [("app", 0), ("ghost", 30)])
def test_a_bound_that_cannot_be_set_is_explained(registry: SourceRegistry, event_source_id: str, days: int) -> None:
    with pytest.raises(StartupError, match=r"at least 1 day|no event source 'ghost'"):
        registry.set_max_event_age_days("nova", event_source_id, days)
