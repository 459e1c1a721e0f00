"""postback send: log a file of events, or the rows of a table, in as many requests as it takes."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from io import BufferedReader
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from postback.cli.client import Reply, ServerClient
from postback.cli.file_options import check_rejects, one_character, pairs
from postback.cli.send.batches import Batch, read_batches, read_lines
from postback.cli.send.mapper import RowMapper
from postback.cli.send.mapping import ColumnMapping, load_mapping, merged, parse_hash, parse_where, save_mapping
from postback.cli.send.presets import PRESETS
from postback.cli.send.preview import Preview
from postback.cli.send.rejects import RejectsFile
from postback.cli.send.summary import LogResponse, SendSummary, describe_rows
from postback.errors import StartupError
from postback.events.rejection import Rejection
from postback.record_files.opening import FileFormat
from postback.record_files.record_file import RecordFile

__all__ = ["send"]

_MAX_EVENTS = 10_000
_COUNT_COPIES = {"postback": {"count_duplicates": "exact"}}

Command = Callable[..., None]


def _table_options(command: Command) -> Command:
    """The options about rows and columns."""
    options = (
        click.option(
            "--map", "fields", metavar="FIELD=COLUMN", multiple=True, help="The column of a field. Repeatable."
        ),
        click.option(
            "--set", "constants", metavar="FIELD=VALUE", multiple=True, help="A field of every event. Repeatable."
        ),
        click.option("--hash", "hashes", metavar="email,phone", multiple=True, help="Hash these, or email=COLUMN."),
        click.option("--country", metavar="CODE", help="Of phone numbers without a country code, for example DE."),
        click.option("--timezone", metavar="NAME", help="Of times without an offset, for example Europe/Berlin."),
        click.option("--time-format", "formats", metavar="FORMAT", multiple=True, help="For example '%d.%m.%Y %H:%M'."),
        click.option("--decimal", type=click.Choice([".", ","]), help="The decimal sign of amounts. Default: a point."),
        click.option("--where", "conditions", metavar="COLUMN=VALUE,…", multiple=True, help="Only these rows."),
        click.option("--one-per", metavar="COLUMN", help="One event per order: only the first of its rows."),
        click.option("--preset", type=click.Choice(sorted(PRESETS)), help="The columns of a shop's export."),
        click.option("--mapping", type=click.Path(path_type=Path), help="A file with such options, TOML or JSON."),
        click.option(
            "--save-mapping", "save_as", type=click.Path(path_type=Path), help="Write these options to a file."
        ),
        click.option("--format", "format_", type=click.Choice(get_args(FileFormat)), help="Default: recognized."),
        click.option("--separator", metavar="CHARACTER", help="Between two cells of CSV. Default: recognized."),
        click.option("--encoding", metavar="NAME", help="Of the text, for example windows-1252. Default: recognized."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--url", envvar="POSTBACK_URL", show_envvar=True, default="http://127.0.0.1:8787", help="The server's URL."
)
@click.option("--key", envvar="POSTBACK_KEY", show_envvar=True, help="The API key. Required but for --dry-run.")
@click.option("--source", metavar="ID", help="The event_source_id. Required but for --dry-run.")
@click.option("--account", metavar="ID", help="The account, if several have this source.")
@click.option(
    "--batch", "size", type=click.IntRange(1, _MAX_EVENTS), default=_MAX_EVENTS, help="Maximum events per request."
)
@click.option("--test-event-code", metavar="CODE", help="Log test events, stored apart from live ones.")
@click.option("--dry-run", is_flag=True, help="Send nothing; show the first events, and count what would fail.")
@click.option(
    "--rejects", type=click.Path(path_type=Path), help="File for what fails, instead of FILE.rejected.ndjson."
)
@_table_options
@click.pass_context
def send(
    ctx: click.Context,
    /,
    file: BufferedReader,
    url: str,
    key: str | None,
    source: str | None,
    account: str | None,
    size: int,
    test_event_code: str | None,
    dry_run: bool,
    rejects: Path | None,
    **table: Any,
) -> None:
    """Log the events in FILE: AdCP events as NDJSON or a JSON array, or the rows of CSV or Parquet.

    .gz and .zst are read, too, and - is standard input. For a table, say which column is which field: postback send
    orders.csv --map event_id=Order --map event_time=Date --set event_type=purchase --hash email. Look at the result
    with --dry-run first.

    It is safe to send a file again, because each event is stored once. The exit status is 1 if an event failed.
    """
    name = "-" if file.name == "<stdin>" or not isinstance(file.name, str) else file.name
    records, mapper = _opened(file, name, **table)
    beside = Path(f"{name}.rejected.ndjson") if Path(name).is_file() else None  # a pipe has no place beside it
    if rejects:
        check_rejects(rejects, Path(name))
    with closing(records), RejectsFile(rejects or beside, chosen=bool(rejects)) as rejected:
        if dry_run:
            failed = _preview(records, mapper, size, rejected)
        else:
            envelope: dict[str, object] = {"event_source_id": _required(source, "--source")}
            if account:
                envelope["account"] = {"account_id": account}
            if test_event_code:
                envelope["test_event_code"] = test_event_code
            envelope["ext"] = _COUNT_COPIES
            with ServerClient(url, _required(key, "--key"), waiting=lambda why: click.echo(why, err=True)) as client:
                failed = _send_file(client, file, records, mapper, size, envelope, rejected)
    ctx.exit(1 if failed else 0)


def _required(value: str | None, option: str) -> str:
    if not value:
        raise click.UsageError(f"Missing option {option!r}.")
    return value


def _opened(
    file: BufferedReader,
    name: str,
    *,
    fields: Sequence[str],
    constants: Sequence[str],
    hashes: Sequence[str],
    conditions: Sequence[str],
    formats: Sequence[str],
    preset: str | None,
    mapping: Path | None,
    save_as: Path | None,
    format_: FileFormat | None,
    separator: str | None,
    **plain: str | None,
) -> tuple[RecordFile, RowMapper | None]:
    """The file, and what makes events of its rows; None if its records are events."""
    options = ColumnMapping(
        map=pairs("--map", fields),
        set=pairs("--set", constants),
        hash=parse_hash(hashes),
        where=parse_where(pairs("--where", conditions)),
        time_format=list(formats),
        separator=one_character(separator),
        **plain,  # timezone, decimal, country, one_per, encoding
    )
    chosen = merged([load_mapping(mapping), options] if mapping else [options])
    records = RecordFile(file, name, format=format_, encoding=chosen.encoding, separator=chosen.separator)
    if preset:
        columns = records.columns
        if columns is None and not records.is_empty:
            raise StartupError(f"--preset is about tables, and {records.name} is JSON.")
        found = PRESETS[preset]
        chosen = merged([found.for_columns(columns or ()), chosen]) if columns else chosen
        for need in found.needs:
            if not (chosen.timezone if need == "timezone" else need in chosen.map or need in chosen.set):
                how = "--timezone, for example Europe/Berlin" if need == "timezone" else f"--set {need}=VALUE"
                raise StartupError(f"{found.export.capitalize()} doesn't say the {need}. Add {how}.")
    if records.is_empty:
        click.echo(f"{records.name} is empty.", err=True)
    if records.is_empty or (records.columns is None and chosen.is_empty):
        return records, None
    mapper = RowMapper(chosen, records.columns, records.name, records.describe_columns())
    if save_as:
        save_mapping(msgspec.structs.replace(chosen, hash=mapper.mapping.hash), save_as)
        click.echo(f"The mapping is saved; --mapping {save_as} uses it.", err=True)
    if records.columns is not None:
        records.places_of({column: column for column in mapper.columns})  # before anything is sent
    return records, mapper


def _describe(records: RecordFile, mapper: RowMapper | None) -> None:
    if mapper:
        click.echo(f"Read as {records.description}.", err=True)


def _preview(records: RecordFile, mapper: RowMapper | None, size: int, rejects: RejectsFile) -> int:
    _describe(records, mapper)
    preview = Preview(rejects)
    try:
        for batch in read_batches(read_lines(records, mapper, preview.fail), size, {}):
            preview.add(batch)
    finally:
        _print(preview.report(), mapper)
    click.echo(
        "Nothing was sent. With --test-event-code instead of --dry-run, the server checks the rest: the event source's "
        "own types, domains and currencies. It counts no test event."
    )
    return preview.failed.total()


def _print(report: Iterator[str], mapper: RowMapper | None) -> None:
    for line in report:
        click.echo(line)
    for line in describe_rows(mapper) if mapper else ():
        click.echo(line)


def _send_file(
    client: ServerClient,
    file: BufferedReader,
    records: RecordFile,
    mapper: RowMapper | None,
    size: int,
    envelope: dict[str, object],
    rejects: RejectsFile,
) -> int:
    _describe(records, mapper)
    tally = SendSummary(rejects)
    length = os.fstat(file.fileno()).st_size if file.seekable() else 0
    hidden = not (length and sys.stderr.isatty())
    try:
        with click.progressbar(length=length, label="Sending", file=sys.stderr, hidden=hidden) as bar:
            for batch in read_batches(read_lines(records, mapper, tally.fail), size, envelope):
                _send_batch(client, batch, tally)
                if length:
                    bar.update(file.tell() - bar.pos)
    except StartupError:
        click.echo("Stopped before the end. Send the file again to continue. No event is logged twice.", err=True)
        raise
    finally:
        _print(tally.report(), mapper)
    return tally.failed.total()


def _send_batch(client: ServerClient, batch: Batch, tally: SendSummary) -> None:
    reply = client.call("log_event", batch.request(batch.key))
    if reply.body.get("replayed") and reply.body.get("partial_failures"):
        # The cause may be fixed by now, for example the source's event_types. Accepted events stay unchanged.
        reply = client.call("log_event", batch.request(f"{batch.key}-{uuid.uuid4().hex}"))
    if reply.status == 413 and len(batch.lines) > 1:
        for half in batch.halves():
            _send_batch(client, half, tally)
    elif reply.status == 413:
        line = batch.lines[0]
        why = "The event exceeds the server's maximum body size."
        tally.fail(line.row, line.number, Rejection("REQUEST_TOO_LARGE", why))
    elif error := reply.error:
        raise StartupError(f"The server refused the request: {error['message']} {error.get('suggestion', '')}".strip())
    else:
        tally.add(batch, _log_response(reply))


def _log_response(reply: Reply) -> LogResponse:
    try:
        return msgspec.convert(reply.body, LogResponse)
    except msgspec.ValidationError as error:
        raise StartupError(f"The server did not return a log_event response ({error}). Check the URL.") from error
