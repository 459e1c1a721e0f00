"""postback move: an installation's data to servers of ClickHouse and PostgreSQL, and back into a data folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from postback.cli.control import data_option
from postback.config import Settings, load_settings
from postback.errors import StartupError
from postback.moving.move import Moved, give_up
from postback.moving.move import move as move_installation

__all__ = ["move"]


@click.command()
@click.option("--to", metavar="URL|FOLDER", help="ClickHouse database for the events; or a new data folder.")
@click.option("--control", metavar="URL", help="PostgreSQL database for control data, if --to names a database.")
@click.option(
    "--password-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the password for --to, whose URL then has none.",
)
@click.option("--undo", is_flag=True, help="Use the old stores again, which a move has left.")
@data_option
def move(to: str | None, control: str | None, password_file: Path | None, undo: bool, data: str | None) -> None:
    """Move everything to other stores, while servers take events until the last seconds.

    The settings of the servers say where it is now. If interrupted, run the same command again.
    """
    settings = load_settings(os.environ, data=data)
    if undo:
        click.echo("\n".join(_lines_of_undo(give_up(settings))))
        return
    if not to:
        raise click.UsageError("Say where to with --to, for example --to clickhouse://USER@HOST/DATABASE.")
    target = _target(settings, to, control, password_file)
    moved = move_installation(settings, target, lambda line: click.echo(line))
    click.echo("\n".join(_lines_of(moved, settings)))


def _target(settings: Settings, to: str, control: str | None, password_file: Path | None) -> Settings:
    """The settings of a server in the new place.

    Raises:
        StartupError: They don't fit each other, or those of the old one.
    """
    if "://" in to:
        if not control:
            raise StartupError("Name a PostgreSQL database for the control data with --control.")
        passwords = {"POSTBACK_EVENTS_PASSWORD_FILE": str(password_file)} if password_file else {}
        target = load_settings(passwords, data=settings.data, events=to, control=control)
        if target.events is None:
            raise StartupError("--to chdb:// names no place. Name a new data folder, for example --to /srv/data.")
        if target.events == settings.events or target.control == settings.control:
            raise StartupError("The events, or the control data, are in that database already. Create empty ones.")
        return target
    if control or password_file:
        raise StartupError("A data folder has the control data, too. Leave --control and --password-file out.")
    if settings.events is None:
        raise StartupError(
            "The events are in a data folder already. Copy it with 'postback backup' and 'postback restore'."
        )
    if settings.control is None:
        raise StartupError("The control data are in a data folder already, and only all stores move together.")
    target = load_settings({}, data=to)
    if target.data == settings.data:
        raise StartupError(f"{target.data} belongs to a server. Name a folder that is empty or missing.")
    return target


def _lines_of(moved: Moved, settings: Settings) -> Iterator[str]:
    if moved.tables:
        yield "Equal in both places:"
        yield from (f"  {table.name}: {table.rows:,} rows, checksum {table.checksum:016x}" for table in moved.tables)
        yield f"  control data: {moved.control_rows:,} rows"
        yield f"This installation has moved to {moved.place}. No server could run for {moved.seconds:.1f} s."
    else:
        yield f"This installation had moved to {moved.place} before."
    yield "Start the server with:\n"
    yield from (f"    {setting}" for setting in moved.settings)
    if len(moved.settings) == 1:
        yield "\nand without POSTBACK_EVENTS, POSTBACK_CONTROL and POSTBACK_SECRET."
        return
    yield (
        f"\nEach further server needs a data folder of its own, and POSTBACK_SECRET: the content of {settings.data}/"
        "secret.key."
    )


def _lines_of_undo(place: str | None) -> Iterator[str]:
    if place is None:
        yield "These stores were not left: servers can use them as before."
        return
    yield (
        f"Servers can use these stores again. Start none in {place}: what it receives would be missing here. To move "
        "again, empty that place first."
    )
