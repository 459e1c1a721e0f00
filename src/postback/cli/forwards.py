"""postback forwards: the events that wait to be forwarded, and those that were given up."""

from __future__ import annotations

import click

from postback.cli.control import data_option, open_control, print_table
from postback.errors import StartupError
from postback.forwarding.outbox import Outbox, Parcel

__all__ = ["forwards"]


@click.group()
def forwards() -> None:
    """The events that wait to be forwarded."""


@forwards.command("list")
@click.option("--dead", is_flag=True, default=None, help="Only those that nothing is tried for any more.")
@data_option
def list_forwards(dead: bool | None, data: str | None) -> None:
    """List the parcels of events that wait."""
    with open_control(data) as control:
        parcels = Outbox(control).listed(dead)
    print_table(
        ("PARCEL", "DESTINATION", "ACCOUNT", "EVENT SOURCE", "EVENTS", "ATTEMPTS", "STATE", "LAST ERROR"),
        [_row(parcel) for parcel in parcels],
    )


@forwards.command()
@click.argument("parcel_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Every dead parcel.")
@data_option
def replay(parcel_id: str | None, everything: bool, data: str | None) -> None:
    """Try the dead parcel PARCEL_ID again; a running server does within seconds."""
    if (parcel_id is None) == (not everything):
        raise StartupError("Name one parcel, or say --all.")
    with open_control(data) as control:
        count = Outbox(control).replay(parcel_id)
    if parcel_id and not count:
        raise StartupError(f"No dead parcel has the id {parcel_id!r}. 'postback forwards list --dead' shows them.")
    click.echo(f"{count:,} parcels will be tried again.")


@forwards.command()
@click.argument("parcel_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Every dead parcel.")
@click.option("--destination", metavar="NAME", help="Every parcel for this destination, dead or waiting.")
@data_option
def drop(parcel_id: str | None, everything: bool, destination: str | None, data: str | None) -> None:
    """Forget the parcel PARCEL_ID and the events in it."""
    if [parcel_id is None, not everything, destination is None].count(False) != 1:
        raise StartupError("Name one parcel, or say --all or --destination.")
    with open_control(data) as control:
        count = Outbox(control).drop(parcel_id, destination)
    if parcel_id and not count:
        raise StartupError(f"No parcel has the id {parcel_id!r}. 'postback forwards list' shows them.")
    click.echo(f"{count:,} parcels were dropped.")


def _row(parcel: Parcel) -> tuple[str, ...]:
    return (
        parcel.parcel_id,
        parcel.destination,
        parcel.account_id,
        parcel.event_source_id,
        f"{parcel.events:,}",
        str(parcel.attempts),
        "dead" if parcel.dead else "waiting",
        parcel.error or "",
    )
