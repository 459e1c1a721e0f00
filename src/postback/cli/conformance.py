"""postback conformance: check any AdCP server against what conversion tracking requires."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from postback.conformance.check import CHECKS
from postback.conformance.run import CheckOutcome, prepare, run
from postback.conformance.seller import Seller
from postback.conformance.transports import TransportName, open_transport

__all__ = ["conformance"]

_SIGNS = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}


@click.command()
@click.argument("url", required=False)
@click.option("--key", envvar="POSTBACK_KEY", show_envvar=True, help="The API key.")
@click.option("--transport", type=click.Choice(["mcp", "a2a", "rest"]), help="Default: the URL's ending, else rest.")
@click.option("--account", metavar="ID", help="The account_id, if the server requires one.")
@click.option("--brand", metavar="DOMAIN", help="Name the account by its brand and operator instead.")
@click.option("--operator", metavar="DOMAIN", help="The domain of whoever buys for the brand.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--list", "only_list", is_flag=True, help="List the checks and run none.")
def conformance(
    url: str | None,
    key: str | None,
    transport: TransportName | None,
    account: str | None,
    brand: str | None,
    operator: str | None,
    as_json: bool,
    only_list: bool,
) -> None:
    """Check the AdCP server at URL: an MCP or A2A endpoint, or the base URL of a REST API like Postback's.

    It works with any seller's server. It sets up its own event source and logs events to it, so use a sandbox account.
    The exit status is 1 if a required check fails.
    """
    if only_list:
        for check in CHECKS:
            click.echo(f"{check.check_id:34}{check.level:13}{check.requirement}")
        return
    if not url or not key:
        raise click.UsageError("Give the URL of the server, and an API key with --key or POSTBACK_KEY.")
    ref = _account_ref(account, brand, operator)
    outcomes = []
    with Seller(open_transport(url, transport), key, ref) as seller:
        prepare(seller)
        for outcome in run(seller):
            outcomes.append(outcome)
            if not as_json:
                _print_outcome(outcome)
    failed = [outcome for outcome in outcomes if outcome.result == "failed"]
    required = [outcome for outcome in failed if outcome.check.level == "required"]
    if as_json:
        click.echo(msgspec.json.encode([_row(outcome) for outcome in outcomes]).decode())
    else:
        passed = sum(outcome.result == "passed" for outcome in outcomes)
        click.echo(f"{passed} of {len(outcomes)} checks passed; {len(required)} required ones failed.")
    sys.exit(1 if required else 0)


def _account_ref(account: str | None, brand: str | None, operator: str | None) -> dict[str, Any] | None:
    if bool(brand) != bool(operator) or (account and brand):
        raise click.UsageError("Give --account, or --brand and --operator.")
    if brand:
        return {"brand": {"domain": brand}, "operator": operator}
    return {"account_id": account} if account else None


def _print_outcome(outcome: CheckOutcome) -> None:
    click.echo(f"{_SIGNS[outcome.result]:8}{outcome.check.check_id}")
    if outcome.result == "failed":
        click.echo(f"        {outcome.check.level}: {outcome.check.requirement}")
        click.echo(f"        expected {outcome.expected}; got {outcome.got}")
    elif outcome.result == "skipped":
        click.echo(f"        {outcome.expected}")


def _row(outcome: CheckOutcome) -> dict[str, str]:
    row = {"check": outcome.check.check_id, "level": outcome.check.level, "result": outcome.result}
    return row | ({"expected": outcome.expected, "got": outcome.got} if outcome.expected else {})
