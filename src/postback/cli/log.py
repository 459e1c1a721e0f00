"""postback log: what was acknowledged and is on its way into the stores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from postback.cli.control import data_option, print_table
from postback.config import load_settings
from postback.errors import StartupError
from postback.protocol.timestamps import rfc3339
from postback.store.log_files import LogFiles
from postback.store.log_frames import Frame
from postback.store.log_segments import SegmentContent, read_segments

__all__ = ["log"]


@click.group()
def log() -> None:
    """Inspect the ingest log, also while the server runs."""


@log.command()
@data_option
def verify(data: str | None) -> None:
    """Check that everything in the log that was acknowledged is there and whole."""
    frames, rows, files = 0, 0, 0
    for segment in _segments(data):
        files += 1
        frames += len(segment.frames)
        rows += sum(map(_rows, segment.frames))
    click.echo(f"Whole: {frames:,} calls with {rows:,} rows in {files:,} files wait to be stored.")


@log.command()
@data_option
def show(data: str | None) -> None:
    """List the calls in the log, without what is in them."""
    lines = [_line(segment.name, frame) for segment in _segments(data) for frame in segment.frames]
    print_table(("SEQUENCE", "RECEIVED", "ROWS", "BYTES", "RESPONSE", "DELIVERIES", "FILE"), lines)


def _segments(data: str | None) -> Iterator[SegmentContent]:
    folder = load_settings(os.environ, data=data).data / "log"
    if not folder.exists():
        raise StartupError(f"There is no log in {folder.parent}. Name a server's data folder with --data.")
    try:
        yield from read_segments(LogFiles(folder))
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
