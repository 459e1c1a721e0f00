"""postback exposures: impressions and clicks from files."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import get_args

import click

from postback.accounts.store import AccountStore
from postback.auth.principal import Account
from postback.cli.control import data_option, require_folder
from postback.cli.file_options import check_rejects, one_character, pairs, remove_rejects
from postback.cli.reused_exposures import reused
from postback.config import load_settings
from postback.errors import StartupError
from postback.exposures.file_reader import ExposureFile, FileFormat
from postback.exposures.importer import ExposureImport, ImportProgress
from postback.exposures.registered import PackageCurrencies
from postback.media_buys.store import MediaBuyStore
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.flusher import drain
from postback.store.installation import open_control_store
from postback.store.nodes import Node
from postback.store.shards import open_shards

__all__ = ["exposures"]

_ROWS_PER_LINE = 1_000_000
"""Rows per line of progress, if there is no terminal."""


@click.group()
def exposures() -> None:
    """Manage impressions and clicks."""


exposures.add_command(reused)


@exposures.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--account", "account_id", metavar="ID", help="Their account; required if there are several.")
@click.option("--format", "format_", type=click.Choice(get_args(FileFormat)), help="Default: recognized.")
@click.option("--separator", metavar="CHARACTER", help="Between two cells of CSV. Default: recognized.")
@click.option("--encoding", metavar="NAME", help="Of the text, for example windows-1252. Default: recognized.")
@click.option("--decimal", type=click.Choice([".", ","]), default=".", help="The decimal sign of costs.")
@click.option("--map", "columns", metavar="FIELD=COLUMN", multiple=True, help="The column of a field. Repeatable.")
@click.option(
    "--set", "constants", metavar="FIELD=VALUE", multiple=True, help="The value of a field in every row. Repeatable."
)
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for rejected rows, instead of FILE.rejected.ndjson.",
)
@click.option("--restart", is_flag=True, help="Start at the first row, even if the file was imported before.")
@data_option
def import_(
    file: Path,
    account_id: str | None,
    format_: FileFormat | None,
    separator: str | None,
    encoding: str | None,
    decimal: str,
    columns: Sequence[str],
    constants: Sequence[str],
    rejects: Path | None,
    restart: bool,
    data: str | None,
) -> None:
    """Import FILE while the server is stopped: CSV, NDJSON, a JSON array or Parquet, also as .gz or .zst.

    If interrupted, run the same command again. The exit status is 1 if a row was rejected.
    """
    described = ExposureFile(
        file,
        format_,
        pairs("--map", columns),
        pairs("--set", constants),
        encoding=encoding,
        separator=one_character(separator),
        decimal=decimal,
    )
    rejects = rejects or file.with_name(f"{file.name}.rejected.ndjson")
    check_rejects(rejects, file)
    with ExitStack() as opened:
        settings = load_settings(os.environ, data=data)
        require_folder(settings)
        folder = opened.enter_context(closing(DataDir.open(settings.data, settings.secret)))
        control = opened.enter_context(closing(open_control_store(folder, settings.control, settings.events)))
        account, registered = _account(control, account_id)
        content = opened.enter_context(ThreadPoolExecutor(1)).submit(described.digest)  # while the store opens
        shards = opened.enter_context(closing(open_shards(folder, control, settings.events)))
        shards.require_all()
        events = shards.of(account.account_id)
        node = Node.joined(control, folder, shards)
        if node:
            opened.callback(node.leave)
        drain(folder, shards, control)
        work = ExposureImport(folder, events, account, described, content.result(), rejects, registered)
        try:
            for _ in _run(work, restart=restart):
                if node:
                    node.publish(shards.stored_through())
        except StartupError:
            if work.progress.rows:
                click.echo("Stopped before the end of the file. What came before is stored.", err=True)
                _print_result(work.progress, rejects)
            raise
    _print_result(work.progress, rejects)
    if work.progress.rejected:
        sys.exit(1)


def _run(work: ExposureImport, *, restart: bool) -> Iterator[None]:
    """Import block by block, and say how far it has come."""
    if restart:
        work.restart()
    elif work.progress.done:
        click.echo("This file is already imported. Use --restart to import it again.", err=True)
        return
    elif work.progress.rows:
        click.echo(f"Resuming after row {work.progress.rows:,}.", err=True)
    begun, before, printed = time.monotonic(), work.progress.rows, work.progress.rows
    for progress in work.run():
        speed = (progress.rows - before) / max(time.monotonic() - begun, 0.001)
        line = f"{progress.rows:,} rows, {progress.rows - progress.accepted:,} rejected, {speed:,.0f} rows/s"
        if sys.stderr.isatty():
            click.echo(f"\r{line}    ", nl=False, err=True)
        elif progress.rows - printed >= _ROWS_PER_LINE:
            printed = progress.rows
            click.echo(line, err=True)
        yield
    if sys.stderr.isatty():
        click.echo(err=True)


def _print_result(progress: ImportProgress, rejects: Path) -> None:
    click.echo(f"{progress.accepted:,} of {progress.rows:,} exposures are stored.")
    for code, count in sorted(progress.warnings.items()):
        click.echo(f"{code}: {count:,} of them.")
    if progress.rejected:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(progress.rejected.items()))
        click.echo(f"Rejected: {counts}; see {rejects}.")
    else:
        remove_rejects(rejects)
    click.echo("To attribute conversions to them, start the server or run 'postback attribute'.")


def _account(control: ControlStore, account_id: str | None) -> tuple[Account, PackageCurrencies]:
    """The account, and the packages of its media buys."""
    account = _named(AccountStore(control).list(), account_id)
    return account, MediaBuyStore(control).package_currencies(account.account_id)


def _named(accounts: Sequence[Account], account_id: str | None) -> Account:
    approved = [account for account in accounts if account.approved]
    if account_id is None and len(approved) == 1:
        return approved[0]
    if account_id is None:
        raise StartupError(
            "There are several accounts. Name the exposures' account with --account; 'postback accounts list' lists "
            "the accounts."
        )
    for account in accounts:
        if account.account_id == account_id:
            return account
    raise StartupError(f"There is no account {account_id!r}. 'postback accounts list' lists the accounts.")
