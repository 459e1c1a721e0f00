"""postback exposures: impressions and clicks from files."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click

from postback.accounts.store import AccountStore
from postback.cli.control import data_option
from postback.config import load_settings
from postback.errors import StartupError
from postback.exposures.files import ExposureFile, FileFormat
from postback.exposures.importer import ExposureImport, ImportProgress
from postback.principal import Account
from postback.store.control import ControlStore
from postback.store.datadir import DataDir
from postback.store.events import EventStore

__all__ = ["exposures"]

_QUIET_ROWS = 1_000_000
"""Without a terminal, a line is printed after so many rows."""


@click.group()
def exposures() -> None:
    """Impressions and clicks."""


@exposures.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--account", "account_id", metavar="ID", help="Whose they are; needed when there are several accounts.")
@click.option("--format", "format_", type=click.Choice(get_args(FileFormat)), help="Unless the file's name tells it.")
@click.option("--map", "columns", metavar="FIELD=COLUMN", multiple=True, help="Which column holds a field. Repeatable.")
@click.option(
    "--set", "constants", metavar="FIELD=VALUE", multiple=True, help="What a field is in every row. Repeatable."
)
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where rejected rows are noted, instead of FILE.rejected.ndjson.",
)
@click.option("--restart", is_flag=True, help="Begin at the first row, also if the file was imported before.")
@data_option
def import_(
    file: Path,
    account_id: str | None,
    format_: FileFormat | None,
    columns: Sequence[str],
    constants: Sequence[str],
    rejects: Path | None,
    restart: bool,
    data: str | None,
) -> None:
    """Import FILE (CSV, NDJSON or Parquet) while the server is stopped. Killed, the same command goes on."""
    described = ExposureFile.of(file, format_, _pairs("--map", columns), _pairs("--set", constants))
    settings = load_settings(os.environ, data=data)
    folder = DataDir.open(settings.data)
    try:
        account = _account(settings.control or folder.control_url, account_id)
        events = EventStore.open(folder.events_dsn, folder.scratch)
        try:
            rejects = rejects or file.with_name(f"{file.name}.rejected.ndjson")
            progress = _run(ExposureImport(folder, events, account, described, rejects), restart=restart)
        finally:
            events.close()
    finally:
        folder.close()
    _tell(progress, rejects)
    if progress.rows and not progress.accepted:
        sys.exit(1)


def _run(work: ExposureImport, *, restart: bool) -> ImportProgress:
    if restart:
        work.restart()
    elif work.progress.done:
        click.echo("This file was imported before; nothing is left to do. --restart imports it again.", err=True)
        return work.progress
    elif work.progress.rows:
        click.echo(f"Going on after row {work.progress.rows:,}.", err=True)
    begun, before, told = time.monotonic(), work.progress.rows, work.progress.rows
    for progress in work.run():
        speed = (progress.rows - before) / max(time.monotonic() - begun, 0.001)
        line = f"{progress.rows:,} rows, {progress.rows - progress.accepted:,} rejected, {speed:,.0f} rows/s"
        if sys.stderr.isatty():
            click.echo(f"\r{line}    ", nl=False, err=True)
        elif progress.rows - told >= _QUIET_ROWS:
            told = progress.rows
            click.echo(line, err=True)
    if sys.stderr.isatty():
        click.echo(err=True)
    return work.progress


def _tell(progress: ImportProgress, rejects: Path) -> None:
    click.echo(f"{progress.accepted:,} of {progress.rows:,} exposures are stored.")
    for code, count in sorted(progress.warnings.items()):
        click.echo(f"{code}: {count:,} of them.")
    if progress.rejected:
        told = ", ".join(f"{count:,} {reason}" for reason, count in sorted(progress.rejected.items()))
        click.echo(f"Rejected: {told}; see {rejects}.")
    else:
        rejects.unlink(missing_ok=True)
    click.echo("Conversions are attributed to them when the server starts, or by 'postback attribute'.")


def _account(control_url: str, account_id: str | None) -> Account:
    control = ControlStore(control_url)
    control.migrate()
    try:
        accounts = AccountStore(control).list()
    finally:
        control.close()
    if account_id is None and len(accounts) == 1:
        return accounts[0]
    if account_id is None:
        raise StartupError("Say whose exposures they are by --account. 'postback accounts list' shows the accounts.")
    for account in accounts:
        if account.account_id == account_id:
            return account
    raise StartupError(f"There is no account {account_id!r}. 'postback accounts list' shows them.")


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise StartupError(f"{option} takes FIELD=VALUE, as {option} exposure_id=impression_id, not {text!r}.")
        pairs[name] = value
    return pairs
