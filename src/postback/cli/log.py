"""postback log: what was acknowledged and is on its way into the stores."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from postback.cli.control import data_option, open_control, print_table
from postback.config import load_settings
from postback.errors import StartupError
from postback.protocol.timestamps import rfc3339
from postback.store.adoption import adopt
from postback.store.backlogs import read_backlogs
from postback.store.log_files import LogFiles
from postback.store.log_frames import Frame
from postback.store.log_segments import read_segments
from postback.store.shards import open_shared_shards

__all__ = ["log"]

_T = TypeVar("_T")


@click.group()
def log() -> None:
    """Inspect the ingest log, also while the server runs, or adopt that of a server that is gone."""


@log.command()
@data_option
def verify(data: str | None) -> None:
    """Check that everything in the log that was acknowledged is there and whole."""
    frames, rows, files = 0, 0, 0
    for segment in _read(data, read_segments):
        files += 1
        frames += len(segment.frames)
        rows += sum(map(_rows, segment.frames))
    click.echo(f"Whole: {frames:,} calls with {rows:,} rows in {files:,} files wait to be stored.")
    apart = Counter(shard for shard, segment in _read(data, read_backlogs) for _ in segment.frames)
    for shard, calls in sorted(apart.items()):
        click.echo(f"Whole: {calls:,} calls have rows that wait for shard {shard}, in its backlog.")


@log.command()
@data_option
def show(data: str | None) -> None:
    """List the calls in the log and in the backlogs of shards, without what is in them."""
    lines = [_line(segment.name, frame) for segment in _read(data, read_segments) for frame in segment.frames]
    for shard, segment in _read(data, read_backlogs):
        lines += [_line(f"shard-{shard}/{segment.name}", frame) for frame in segment.frames]
    print_table(("SEQUENCE", "RECEIVED", "ROWS", "BYTES", "RESPONSE", "DELIVERIES", "FILE"), lines)


@log.command("adopt")
@click.argument("folder", type=click.Path(path_type=Path))
@data_option
def adopt_log(folder: Path, data: str | None) -> None:
    """Store what a server that is gone for good left in its log, and remove it from the nodes.

    FOLDER is its data folder, or the folder log in it, wherever they are mounted now. If interrupted, run the same
    command again.
    """
    settings = load_settings(os.environ, data=data)
    if not (settings.control and settings.events):
        raise StartupError(
            "A log is adopted by servers that share a PostgreSQL and a ClickHouse. Set POSTBACK_CONTROL and "
            "POSTBACK_EVENTS as they have it; a server that works alone stores its log when it starts on its folder."
        )
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as stack:
        control = stack.enter_context(open_control(data))
        shards = stack.enter_context(closing(open_shared_shards(control, settings.events)))
        adopted = adopt(folder.absolute(), control, shards, settings.data / "quarantine")
    rows = "1 row is" if adopted.rows == 1 else f"{adopted.rows:,} rows are"
    if adopted.number is not None:
        click.echo(f"{rows} stored. Node {adopted.number} is removed.")
        return
    click.echo(
        f"{rows} stored. The server had been removed before, and attribution has gone on without these rows. To count "
        "them, stop a server and run 'postback attribute --rebuild' on its data folder."
    )


def _read(data: str | None, read: Callable[[LogFiles], Iterator[_T]]) -> Iterator[_T]:
    folder = load_settings(os.environ, data=data).data / "log"
    if not folder.exists():
        raise StartupError(f"There is no log in {folder.parent}. Name a server's data folder with --data.")
    try:
        yield from read(LogFiles(folder))
    except OSError as error:
        raise StartupError(f"The ingest log {folder} can't be read ({error.strerror}).") from error


def _rows(frame: Frame) -> int:
    return sum(frame.summary.rows.values())


def _line(name: str, frame: Frame) -> tuple[str, ...]:
    summary = frame.summary
    return (
        str(frame.sequence),
        rfc3339(datetime.fromtimestamp(frame.received_at / 1_000_000, UTC)),
        ", ".join(f"{table} {count:,}" for table, count in sorted(summary.rows.items())) or "-",
        f"{len(frame.packed):,}",
        "yes" if summary.answer else "-",
        str(summary.deliveries or "-"),
        name,
    )
