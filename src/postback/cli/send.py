"""postback send: log a file of events through a server, in as many requests as it takes."""

from __future__ import annotations

import os
import sys
import uuid
from io import BufferedReader

import click
import msgspec

from postback.cli.batches import Batch, read_batches, read_lines
from postback.cli.client import Client, Reply
from postback.cli.tally import LogAnswer, Tally
from postback.errors import StartupError

__all__ = ["send"]

_MOST_EVENTS = 10_000


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--url", envvar="POSTBACK_URL", show_envvar=True, default="http://127.0.0.1:8787", help="The server's.")
@click.option("--key", envvar="POSTBACK_KEY", show_envvar=True, required=True, help="The API key.")
@click.option("--source", required=True, metavar="ID", help="The event_source_id.")
@click.option("--account", metavar="ID", help="The account, when several have that source.")
@click.option(
    "--batch", "size", type=click.IntRange(1, _MOST_EVENTS), default=_MOST_EVENTS, help="Most events in a request."
)
@click.option("--test-event-code", metavar="CODE", help="Log test events, apart from the live ones.")
@click.pass_context
def send(
    ctx: click.Context,
    file: BufferedReader,
    url: str,
    key: str,
    source: str,
    account: str | None,
    size: int,
    test_event_code: str | None,
) -> None:
    """Log the events in FILE: AdCP events, one JSON object a line, gzipped or not; - reads standard input.

    Sending a file again changes nothing: events are stored once. The exit status is 1 when any event failed.
    """
    envelope: dict[str, object] = {"event_source_id": source}
    if account:
        envelope["account"] = {"account_id": account}
    if test_event_code:
        envelope["test_event_code"] = test_event_code
    tally = Tally()
    try:
        with Client(url, key, waiting=lambda why: click.echo(why, err=True)) as client:
            _send_file(client, file, size, envelope, tally)
    except StartupError:
        click.echo("Stopped before the end. Send the file again to go on: nothing is logged twice.", err=True)
        raise
    finally:
        for line in tally.report():
            click.echo(line)
    ctx.exit(1 if tally.failed else 0)


def _send_file(client: Client, file: BufferedReader, size: int, envelope: dict[str, object], tally: Tally) -> None:
    def malformed(number: int) -> None:
        tally.fail("MALFORMED_LINE", number, "The line is not one JSON value.")

    length = os.fstat(file.fileno()).st_size if file.seekable() else 0
    hidden = not (length and sys.stderr.isatty())
    with click.progressbar(length=length, label="Sending", file=sys.stderr, hidden=hidden) as bar:
        for batch in read_batches(read_lines(file, malformed), size, envelope):
            _send_batch(client, batch, tally)
            if length:
                bar.update(file.tell() - bar.pos)


def _send_batch(client: Client, batch: Batch, tally: Tally) -> None:
    reply = client.call("log_event", batch.request(batch.key))
    if reply.body.get("replayed") and reply.body.get("partial_failures"):
        # What was wrong then may be right now, as a source that takes more types; what was accepted stays as it is.
        reply = client.call("log_event", batch.request(f"{batch.key}-{uuid.uuid4().hex}"))
    if reply.status == 413 and len(batch.lines) > 1:
        for half in batch.halves():
            _send_batch(client, half, tally)
    elif reply.status == 413:
        tally.fail("REQUEST_TOO_LARGE", batch.lines[0].number, "The event alone is larger than the server reads.")
    elif error := reply.error:
        raise StartupError(f"The server refused the request: {error['message']} {error.get('suggestion', '')}".strip())
    else:
        tally.answered(batch, _log_answer(reply))


def _log_answer(reply: Reply) -> LogAnswer:
    try:
        return msgspec.convert(reply.body, LogAnswer)
    except msgspec.ValidationError as error:
        raise StartupError(f"The server's answer is not one to log_event ({error}). Is the URL right?") from error
