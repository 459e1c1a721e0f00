"""postback sources: the event sources, and the one setting that only the operator has."""

from __future__ import annotations

import click

from postback.accounts.store import AccountStore
from postback.cli.control import data_option, open_control, print_table
from postback.errors import StartupError
from postback.event_sources.event_source import EventSource
from postback.event_sources.store import SourceRegistry

__all__ = ["sources"]


@click.group()
def sources() -> None:
    """Manage the event sources."""


@sources.command("list")
@click.option("--account", "account_id", metavar="ID", help="Only this account's sources.")
@data_option
def list_sources(account_id: str | None, data: str | None) -> None:
    """List the event sources."""
    with open_control(data) as control:
        known = [account.account_id for account in AccountStore(control).list()]
        if account_id and account_id not in known:
            raise StartupError(f"There is no account {account_id!r}. 'postback accounts list' lists the accounts.")
        registry = SourceRegistry(control)
        found = [source for owner in ([account_id] if account_id else known) for source in registry.list(owner)]
    print_table(
        ("ACCOUNT", "EVENT SOURCE", "SELLER ID", "MANAGED BY", "EVENT TYPES", "MAX AGE"), [_row(s) for s in found]
    )


@sources.command("set")
@click.argument("event_source_id")
@click.option("--account", "account_id", metavar="ID", default="default", help="The account it belongs to.")
@click.option(
    "--max-event-age-days",
    metavar="DAYS|default",
    required=True,
    help="Maximum age of an event; 'default' for the server's setting.",
)
@data_option
def set_source(event_source_id: str, account_id: str, max_event_age_days: str, data: str | None) -> None:
    """Change the source EVENT_SOURCE_ID. A running server follows within a second."""
    with open_control(data) as control:
        changed = SourceRegistry(control).set_max_event_age_days(account_id, event_source_id, _days(max_event_age_days))
    click.echo(f"{changed.event_source_id} accepts events up to {_age(changed)} old.")


def _days(text: str) -> int | None:
    if text == "default":
        return None
    if not text.isdecimal():
        raise StartupError(f"--max-event-age-days must be a number of days or the word default. It is {text!r}.")
    return int(text)


def _row(source: EventSource) -> tuple[str, ...]:
    types = ", ".join(source.event_types) if source.event_types else "all"
    return source.account_id, source.event_source_id, source.seller_id, source.managed_by, types, _age(source)


def _age(source: EventSource) -> str:
    return f"{source.max_event_age_days} days" if source.max_event_age_days else "the default number of days"
