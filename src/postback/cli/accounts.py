"""postback accounts: the advertisers' accounts."""

from __future__ import annotations

from typing import get_args

import click

from postback.accounts.store import AccountStore
from postback.auth.principal import Account
from postback.cli.control import data_option, open_control, print_table
from postback.protocol.enums import AccountStatus

__all__ = ["accounts"]


_COLUMNS = ("ACCOUNT", "NAME", "BRAND", "OPERATOR", "STATUS", "SANDBOX")


@click.group()
def accounts() -> None:
    """Manage the advertisers' accounts."""


@accounts.command()
@click.argument("account_id")
@click.option("--name", help="Display name.")
@click.option("--brand", metavar="DOMAIN", help="The brand's domain; calls may name the account by it.")
@click.option("--operator", metavar="DOMAIN", help="The domain of whoever acts for the brand. Default: the brand.")
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
    """List the accounts; those that await approval follow in a table of their own."""
    with open_control(data) as control:
        store = AccountStore(control)
        found, provisioned_by = store.list(), store.provisioned_by()
    pending = [account for account in found if account.awaits_approval]
    print_table(_COLUMNS, [_row(account) for account in found if not account.awaits_approval])
    if pending:
        click.echo(
            f"\nAccounts that buyers asked for: {len(pending):,}. Approve one with 'postback accounts status ACCOUNT "
            "active', or refuse it with 'rejected'."
        )
        print_table(
            (*_COLUMNS, "ASKED FOR BY"),
            [(*_row(account), provisioned_by.get(account.account_id, "")) for account in pending],
        )


@accounts.command()
@click.argument("account_id")
@click.argument("status", type=click.Choice(get_args(AccountStatus)))
@data_option
def status(account_id: str, status: str, data: str | None) -> None:
    """Set the status of ACCOUNT_ID, for example to approve a new one. A running server follows within a second."""
    with open_control(data) as control:
        AccountStore(control).update(account_id, status=status)
    click.echo(f"Account {account_id} is {status}.")


def _row(account: Account) -> tuple[str, ...]:
    sandbox = "yes" if account.sandbox else ""
    return account.account_id, account.name, account.brand_domain or "", account.operator or "", account.status, sandbox
