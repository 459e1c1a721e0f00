"""postback console-keys: the operator's keys to the console."""

from __future__ import annotations

import click

from postback.auth.console_keys import ConsoleKey, ConsoleKeys
from postback.cli.control import data_option, format_minute, open_control, print_table

__all__ = ["console_keys"]


@click.group()
def console_keys() -> None:
    """Manage the operator's keys to the console."""


@console_keys.command()
@click.option("--name", default="", help="Who the key is for.")
@data_option
def create(name: str, data: str | None) -> None:
    """Create a key that shows every account in the console, and print it. It is shown only once."""
    with open_control(data) as control:
        key_id, key = ConsoleKeys(control).create(name)
    click.echo(f"Created {key_id}. Sign in with it at /console. The key is shown only once:", err=True)
    click.echo(key)


@console_keys.command("list")
@data_option
def list_keys(data: str | None) -> None:
    """List the keys' ids. The keys themselves are not stored."""
    with open_control(data) as control:
        found = ConsoleKeys(control).list()
    print_table(("KEY ID", "NAME", "CREATED", "REVOKED"), [_row(key) for key in found])


@console_keys.command()
@click.argument("key_id")
@data_option
def revoke(key_id: str, data: str | None) -> None:
    """Revoke the key KEY_ID. Whoever signed in with it is signed out at once."""
    with open_control(data) as control:
        ConsoleKeys(control).revoke(key_id)
    click.echo(f"Revoked {key_id}.")


def _row(key: ConsoleKey) -> tuple[str, ...]:
    revoked = format_minute(key.revoked_at) if key.revoked_at is not None else ""
    return key.key_id, key.name, format_minute(key.created_at), revoked
