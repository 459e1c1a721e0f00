"""postback restore: a new data folder from a backup."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from postback.backups.restoring import damages, opened_backup, restore_backup
from postback.backups.sources import CONTROL_DUMP
from postback.cli.backup import megabytes
from postback.cli.control import data_option
from postback.config import load_settings

__all__ = ["restore"]


@click.command()
@click.argument("backup", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--verify", is_flag=True, help="Restore nothing; check that every file of the backup is whole.")
@data_option
def restore(backup: Path, verify: bool, data: str | None) -> None:
    """Restore BACKUP, a folder that postback backup made, into a data folder that is empty or missing."""
    backup = backup.absolute()
    manifest = opened_backup(backup)
    if verify:
        found = list(damages(backup, manifest))
        for damage in found:
            click.echo(damage, err=True)
        if found:
            click.echo(f"{len(found):,} of {len(manifest.files):,} files are damaged. Use another backup.", err=True)
            sys.exit(1)
        click.echo(f"Whole: {megabytes(manifest.size)} in {len(manifest.files):,} files, from {manifest.began_at}.")
        return
    target = load_settings(os.environ, data=data).data
    restore_backup(backup, manifest, target)
    click.echo(
        f"Restored {megabytes(manifest.size)} in {len(manifest.files):,} files to {target}. Everything that was "
        f"acknowledged before {manifest.began_at} is in it."
    )
    if manifest.control == "postgresql":
        click.echo(
            "Before the server starts, load the control store into an empty database, and name that database with "
            f"POSTBACK_CONTROL:\n\n    pg_restore --no-owner --dbname=DATABASE {target / CONTROL_DUMP}\n"
        )
