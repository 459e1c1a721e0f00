"""postback keys: the API keys, and the accounts that each acts for."""

from __future__ import annotations

import click

from postback.auth.api_keys import ApiKey, KeyStore
from postback.auth.principal import SCOPES
from postback.cli.control import data_option, format_minute, open_control, print_table

__all__ = ["keys"]


@click.group()
def keys() -> None:
    """Manage the API keys."""


@keys.command()
@click.option("--account", "account_ids", metavar="ID", multiple=True, required=True, help="Its account. Repeatable.")
@click.option("--name", default="", help="Who the key is for.")
@click.option(
    "--scope",
    type=click.Choice(list(SCOPES)),
    default="buyer",
    help="Buyers report conversions; sellers report exposures and delivery.",
)
@data_option
def create(account_ids: tuple[str, ...], name: str, scope: str, data: str | None) -> None:
    """Create a key and print it. It is shown only once."""
    with open_control(data) as control:
        key_id, key = KeyStore(control).create(account_ids, name, scope)
    click.echo(f"Created {key_id} for {', '.join(account_ids)}. The key is shown only once:", err=True)
    click.echo(key)


@keys.command("list")
@data_option
def list_keys(data: str | None) -> None:
    """List the keys' ids. The keys themselves are not stored."""
    with open_control(data) as control:
        found = KeyStore(control).list()
    print_table(("KEY ID", "NAME", "ACCOUNTS", "SCOPE", "CREATED", "REVOKED"), [_row(key) for key in found])


@keys.command()
@click.argument("key_id")
@data_option
def revoke(key_id: str, data: str | None) -> None:
    """Revoke the key KEY_ID. A running server refuses it within a second."""
    with open_control(data) as control:
        KeyStore(control).revoke(key_id)
    click.echo(f"Revoked {key_id}.")


def _row(key: ApiKey) -> tuple[str, ...]:
    revoked = format_minute(key.revoked_at) if key.revoked_at is not None else ""
    return key.key_id, key.name, ", ".join(key.account_ids), key.scope, format_minute(key.created_at), revoked
