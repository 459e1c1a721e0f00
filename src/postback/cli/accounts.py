"""postback accounts: the advertisers that the server keeps conversions for."""

from __future__ import annotations

from typing import get_args

import click

from postback.accounts.store import AccountStore
from postback.cli.control import data_option, open_control, print_table
from postback.protocol.enums import AccountStatus

__all__ = ["accounts"]


@click.group()
def accounts() -> None:
    """The advertisers' accounts."""


@accounts.command()
@click.argument("account_id")
@click.option("--name", help="For people.")
@click.option("--brand", metavar="DOMAIN", help="The brand's domain, by which calls may name the account.")
@click.option("--operator", metavar="DOMAIN", help="Who acts for the brand; the brand itself when not given.")
@click.option("--sandbox", is_flag=True, help="Everything logged to the account is simulated.")
@data_option
def create(
    account_id: str, name: str | None, brand: str | None, operator: str | None, sandbox: bool, data: str | None
) -> None:
    """Create the account ACCOUNT_ID."""
    with open_control(data) as control:
        AccountStore(control).create(account_id, name, brand, operator, sandbox)
    click.echo(f"Created account {account_id}. Next: postback keys create --account {account_id}")


@accounts.command("list")
@data_option
def list_accounts(data: str | None) -> None:
    """List the accounts."""
    with open_control(data) as control:
        found = AccountStore(control).list()
    print_table(
        ("ACCOUNT", "NAME", "BRAND", "OPERATOR", "STATUS", "SANDBOX"),
        [
            (a.account_id, a.name, a.brand_domain or "", a.operator or "", a.status, "yes" if a.sandbox else "")
            for a in found
        ],
    )


@accounts.command()
@click.argument("account_id")
@click.argument("status", type=click.Choice(get_args(AccountStatus)))
@data_option
def status(account_id: str, status: str, data: str | None) -> None:
    """Set the status of ACCOUNT_ID, as to approve one that a buyer asked for; a running server follows in a second."""
    with open_control(data) as control:
        AccountStore(control).change(account_id, status=status)
    click.echo(f"Account {account_id} is {status}.")
