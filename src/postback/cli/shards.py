"""postback shards: the ClickHouse databases that share an installation's accounts."""

from __future__ import annotations

import os
from contextlib import closing

import click

from postback.cli.control import data_option, open_control, print_table
from postback.clickhouse_url import ClickHouseUrl
from postback.config import load_settings
from postback.errors import StartupError
from postback.store.account_moves import LEAVING, AccountMove, moving
from postback.store.control_store import ControlStore
from postback.store.installation import prepare_event_store
from postback.store.placements import accounts_by_shard, add_shard, drain_shard, list_shards

__all__ = ["first_shard", "shards"]


@click.group()
def shards() -> None:
    """The ClickHouse databases that share an installation's accounts."""


@shards.command()
@click.argument("url")
@data_option
def add(url: str, data: str | None) -> None:
    """Place new accounts also in the empty ClickHouse database at URL, as clickhouse://HOST:8123/DATABASE.

    Its user and password are those of POSTBACK_EVENTS. Servers that run notice it within a second or two.
    """
    first = first_shard(data)
    try:
        further = first.beside(url)
    except ValueError as error:
        raise StartupError(f"The URL {error}.") from None
    with open_control(data) as control:
        places = {(first.host, first.port, first.database): 1}
        for row in list_shards(control)[1:]:
            known = first.beside(row.url)
            places[known.host, known.port, known.database] = row.number
        if known_as := places.get((further.host, further.port, further.database)):
            raise StartupError(f"{further.place} is shard {known_as} already.")
        with closing(prepare_event_store(control, further.text)):
            number = add_shard(control, url)
    click.echo(f"Shard {number} is added: {further.place}.")


@shards.command("list")
@data_option
def list_them(data: str | None) -> None:
    """List the shards, and how many accounts each has."""
    first = first_shard(data)
    with open_control(data) as control:
        rows = list_shards(control)
        accounts, move = _accounts(control)
    print_table(
        ("SHARD", "HOST", "DATABASE", "ACCOUNTS", "STATE"),
        [
            (
                str(row.number),
                f"{url.host}:{url.port}",
                url.database,
                f"{accounts.get(row.number, 0):,}",
                "draining" if row.draining else "active",
            )
            for row in rows
            for url in [first.beside(row.url) if row.url else first]
        ],
    )
    if move:
        click.echo(f"\n{_sentence(move)}")


def _sentence(move: AccountMove) -> str:
    if move.phase == LEAVING:
        there, go_on = f"is on shard {move.shard}, and rows of it are left on shard {move.other}", move.shard
    else:
        there, go_on = f"is on its way from shard {move.shard} to shard {move.other}", move.other
    return (
        f"Account {move.account_id} {there}. If the command was cut short, run 'postback accounts move "
        f"{move.account_id} {go_on}' again."
    )


@shards.command()
@click.argument("number", type=int)
@data_option
def drain(number: int, data: str | None) -> None:
    """Place no more accounts on shard NUMBER; those that are there stay."""
    first_shard(data)
    with open_control(data) as control:
        drain_shard(control, number)
    click.echo(f"Shard {number} takes no more accounts.")


def first_shard(data: str | None) -> ClickHouseUrl:
    """The first shard.

    Raises:
        StartupError: Events are in the data folder, which is one shard for good.
    """
    events = load_settings(os.environ, data=data).events
    if events is None:
        raise StartupError(
            "Events are stored in the data folder, which can't be divided. Shards are databases of ClickHouse: set "
            "POSTBACK_EVENTS as the servers have it."
        )
    return ClickHouseUrl.parse(events)


def _accounts(control: ControlStore) -> tuple[dict[int, int], AccountMove | None]:
    """How many accounts each shard has, and the one that is on its way."""
    with control.connect() as connection:
        return dict(accounts_by_shard(connection)), moving(connection)
