"""postback backup: a copy of a data folder, while its server runs or is stopped."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from postback.backups.creating import create_backup, open_target
from postback.backups.sources import open_source
from postback.cli.control import data_option
from postback.config import load_settings

__all__ = ["backup", "megabytes"]


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@data_option
def backup(folder: Path, data: str | None) -> None:
    """Back up the data folder into a new folder in FOLDER, while the server runs or is stopped.

    Everything that was acknowledged before the command began is in the backup.
    """
    settings = load_settings(os.environ, data=data)
    folder = folder.absolute()
    with open_target(folder, settings.data):
        began_at = datetime.now(UTC)
        with open_source(settings) as source:
            created = create_backup(folder, source, began_at)
    click.echo(
        f"Backed up {megabytes(created.size)} in {created.files:,} files to {created.path}; "
        f"{megabytes(created.added)} of it were not in the backup before."
    )


def megabytes(size: int) -> str:
    """A number of bytes, for a reader."""
    return f"{size / 1e6:,.1f} MB"
