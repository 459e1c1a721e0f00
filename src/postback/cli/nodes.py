"""postback nodes: the servers that share one PostgreSQL."""

from __future__ import annotations

import click

from postback.cli.control import data_option, format_minute, open_control, print_table
from postback.errors import StartupError
from postback.store.nodes import NodeStatus, forget_node, list_nodes

__all__ = ["nodes"]


@click.group()
def nodes() -> None:
    """The servers that share one PostgreSQL."""


@nodes.command("list")
@data_option
def list_them(data: str | None) -> None:
    """List the servers, and through which time each has stored what it received."""
    with open_control(data) as control:
        found = list_nodes(control)
    print_table(("NODE", "DATA FOLDER", "ROLE", "LAST SEEN", "STORED THROUGH"), [_row(status) for status in found])


@nodes.command()
@click.argument("number", type=int)
@click.option("--yes", is_flag=True, help="Do it: what the server had acknowledged and not stored is lost.")
@data_option
def remove(number: int, yes: bool, data: str | None) -> None:
    """Remove the server NUMBER, whose data folder is gone for good: attribution waits for it no more."""
    if not yes:
        raise StartupError(
            f"Nothing was changed. What node {number} had acknowledged and not stored is lost if you remove it, and a "
            "server that runs on its data folder stops. To do it, run the command again with --yes."
        )
    with open_control(data) as control:
        forget_node(control, number)
    click.echo(f"Node {number} is removed.")


def _row(status: NodeStatus) -> tuple[str, str, str, str, str]:
    through = status.stored_through
    stored = "all" if through is None else format_minute(through // 1_000_000)
    return str(status.number), status.place, status.role, f"{status.silent_seconds} s ago", stored
