"""The seller's engineer manages accounts, keys and sources beside a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from postback.accounts.store import AccountStore
from postback.auth.api_keys import KeyStore
from postback.auth.principal import Account, Principal
from postback.cli import main
from postback.event_sources.event_source import EventSource
from postback.event_sources.store import SourceRegistry
from postback.store.control_store import ControlStore

Run = Callable[..., Result]


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlStore]:
    """The control store of a server that has started here."""
    store = ControlStore(f"sqlite:///{tmp_path}/control.db")
    store.migrate()
    AccountStore(store).create("default")
    yield store
    store.close()


@pytest.fixture
def run(control: ControlStore, tmp_path: Path) -> Run:
    return lambda *words: CliRunner().invoke(main, [*words, "--data", str(tmp_path)])


def test_an_account_is_created_and_listed(run: Run) -> None:
    created = run("accounts", "create", "acme", "--name", "Acme", "--brand", "acme.example", "--sandbox")

    assert created.exit_code == 0
    assert "postback keys create --account acme" in created.output
    assert "acme     Acme     acme.example  acme.example  active  yes\n" in run("accounts", "list").output


def test_accounts_that_buyers_asked_for_are_listed_apart(run: Run, control: ControlStore) -> None:
    key_id, _ = KeyStore(control).create(["default"], "agent")
    pending = Account("", "Zeta", "zeta.example", "agency.example", status="pending_approval")
    account_id = AccountStore(control).provision(key_id, pending).account_id

    listed, _, asked_for = run("accounts", "list").output.partition("\nAccounts that buyers asked for: 1.")

    assert "default" in listed
    assert account_id not in listed
    assert f"{account_id}  Zeta  zeta.example  agency.example  pending_approval           {key_id}\n" in asked_for

    run("accounts", "status", account_id, "active")

    assert "asked for" not in run("accounts", "list").output


def test_the_status_of_an_account_is_set(run: Run) -> None:
    run("accounts", "create", "acme")

    assert run("accounts", "status", "acme", "suspended").output == "Account acme is suspended.\n"
    assert "suspended" in run("accounts", "list").output
    assert run("accounts", "status", "nobody", "active").exit_code == 2


def test_a_key_works_at_once_for_its_accounts_and_stops_when_revoked(run: Run, control: ControlStore) -> None:
    run("accounts", "create", "acme")

    created = run("keys", "create", "--account", "acme", "--account", "default", "--name", "agent")
    key = created.stdout.strip()

    principal = KeyStore(control).principal(key)
    assert isinstance(principal, Principal)
    assert [account.account_id for account in principal.accounts] == ["acme", "default"]
    assert f"{principal.key_id}  agent  acme, default" in run("keys", "list").output

    assert run("keys", "revoke", principal.key_id).exit_code == 0
    assert KeyStore(control).principal(key) is None


def test_a_list_of_keys_shows_no_key(run: Run) -> None:
    key = run("keys", "create", "--account", "default").stdout.strip()

    assert key not in run("keys", "list").output


def test_a_source_gets_another_bound_on_the_age_of_events(run: Run, control: ControlStore) -> None:
    registry = SourceRegistry(control)
    with registry.edit("default") as sources:
        sources.save([EventSource(account_id="default", event_source_id="crm", seller_id="src_1")])

    assert run("sources", "set", "crm", "--max-event-age-days", "400").exit_code == 0

    assert [source.max_event_age_days for source in registry.list("default")] == [400]
    assert "crm" in run("sources", "list").output
    assert "400 days" in run("sources", "list", "--account", "default").output

    run("sources", "set", "crm", "--max-event-age-days", "default")
    assert [source.max_event_age_days for source in registry.list("default")] == [None]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("accounts", "create", "default"), "already exists"),
        (("accounts", "create", "no spaces"), "is not an account_id"),
        (("keys", "create", "--account", "nobody"), "There is no account 'nobody'"),
        (("keys", "revoke", "key_nothing"), "No key has the id"),
        (("sources", "list", "--account", "nobody"), "There is no account 'nobody'"),
        (("sources", "set", "crm", "--max-event-age-days", "30"), "has no event source 'crm'"),
        (("sources", "set", "crm", "--max-event-age-days", "month"), "must be a number of days"),
    ],
)
def test_a_mistake_is_answered_with_a_sentence(run: Run, words: tuple[str, ...], sentence: str) -> None:
    result = run(*words)

    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert sentence in result.stderr


def test_a_folder_without_data_is_not_made_one(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["accounts", "list", "--data", str(tmp_path / "typo")])

    assert result.exit_code == 2
    assert "Run 'postback serve' once" in result.stderr
    assert not (tmp_path / "typo").exists()


def test_the_folder_may_come_from_the_environment(control: ControlStore, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["accounts", "list"], env={"POSTBACK_DATA": str(tmp_path)})

    assert "default" in result.output
