"""postback forwards: the events that are waiting to be forwarded, and the dead-lettered ones."""

from __future__ import annotations

import click

from postback.cli.control import data_option, open_control, print_table
from postback.errors import StartupError
from postback.forwarding.outbox import Delivery, Outbox

__all__ = ["forwards"]


@click.group()
def forwards() -> None:
    """Events that are waiting to be forwarded."""


@forwards.command("list")
@click.option("--dead", is_flag=True, default=None, help="Only dead-lettered ones: no further attempts are made.")
@data_option
def list_forwards(dead: bool | None, data: str | None) -> None:
    """List the deliveries in the outbox."""
    with open_control(data) as control:
        deliveries = Outbox(control).listed(dead)
    print_table(
        ("DELIVERY", "DESTINATION", "ACCOUNT", "EVENT SOURCE", "EVENTS", "ATTEMPTS", "STATE", "LAST ERROR"),
        [_row(delivery) for delivery in deliveries],
    )


@forwards.command()
@click.argument("delivery_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Every dead delivery.")
@data_option
def replay(delivery_id: str | None, everything: bool, data: str | None) -> None:
    """Send the dead delivery DELIVERY_ID again; a running server does so within seconds."""
    if (delivery_id is None) == (not everything):
        raise StartupError("Name one delivery, or use --all.")
    with open_control(data) as control:
        count = Outbox(control).replay(delivery_id)
    click.echo(f"Deliveries that will be sent again: {count:,}.")


@forwards.command()
@click.argument("delivery_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Every dead delivery.")
@click.option("--destination", metavar="NAME", help="Every delivery for this destination, dead or waiting.")
@data_option
def drop(delivery_id: str | None, everything: bool, destination: str | None, data: str | None) -> None:
    """Delete the delivery DELIVERY_ID and the events in it."""
    if [delivery_id is None, not everything, destination is None].count(False) != 1:
        raise StartupError("Name one delivery, or use --all or --destination.")
    with open_control(data) as control:
        count = Outbox(control).drop(delivery_id, destination)
    if delivery_id and not count:
        raise StartupError(f"No delivery has the id {delivery_id!r}. 'postback forwards list' lists the deliveries.")
    click.echo(f"Deliveries dropped: {count:,}.")


def _row(delivery: Delivery) -> tuple[str, ...]:
    return (
        delivery.delivery_id,
        delivery.destination,
        delivery.account_id,
        delivery.event_source_id,
        f"{delivery.events:,}",
        str(delivery.attempts),
        "dead" if delivery.dead else "waiting",
        delivery.error or "",
    )
