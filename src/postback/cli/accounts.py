"""postback accounts: the advertisers' accounts."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import get_args

import click

from postback.accounts.store import AccountStore
from postback.attribution.by_shard import lease_of
from postback.auth.principal import Account
from postback.cli.control import data_option, open_control, print_table
from postback.cli.shards import first_shard
from postback.errors import StartupError
from postback.moving.account_move import move_account
from postback.protocol.enums import AccountStatus
from postback.store.shards import open_shared_shards

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


@accounts.command()
@click.argument("account_id")
@click.argument("shard", type=int)
@data_option
def move(account_id: str, shard: int, data: str | None) -> None:
    """Move ACCOUNT_ID with all that is stored of it to the shard with the number SHARD, while servers take its events.

    If interrupted, run the same command again.
    """
    first = first_shard(data)
    with open_control(data) as control:
        if not control.shared:
            raise StartupError(
                "Accounts move between shards of servers that share a PostgreSQL. Set POSTBACK_CONTROL as they have it."
            )
        with closing(open_shared_shards(control, first.text)) as shards:
            shards.require_all()
            moved = move_account(control, shards, partial(lease_of, control), account_id, shard, click.echo)
    if moved.tables:
        click.echo("Equal on both shards before it left the old one:")
    for table in moved.tables:
        click.echo(f"  {table.name}: {table.rows:,} rows, checksum {table.checksum:016x}")
    paused = f" Servers stored nothing for {moved.seconds:.1f} s." if moved.tables else ""
    click.echo(f"All that is stored of account {account_id} is on shard {shard}.{paused}")


def _row(account: Account) -> tuple[str, ...]:
    sandbox = "yes" if account.sandbox else ""
    return account.account_id, account.name, account.brand_domain or "", account.operator or "", account.status, sandbox
