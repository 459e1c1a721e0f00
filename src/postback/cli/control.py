"""The control store of a data folder, which a running server may have open too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

from postback.config import Settings, load_settings
from postback.errors import StartupError
from postback.store.control_store import ControlStore
from postback.store.fingerprint import require_not_moved, stored

__all__ = ["data_option", "format_minute", "open_control", "print_table", "require_folder"]

data_option: Callable[[Any], Any] = click.option(
    "--data", metavar="DIR", help="The server's data folder (POSTBACK_DATA)."
)


@contextmanager
def open_control(data: str | None) -> Iterator[ControlStore]:
    """The control store in ``data``, or in the folder that POSTBACK_DATA names."""
    settings = load_settings(os.environ, data=data)
    require_folder(settings)
    control = ControlStore(settings.control or f"sqlite:///{settings.data}/control.db")
    control.migrate()
    try:
        require_not_moved(stored(control))
        yield control
    finally:
        control.close()


def require_folder(settings: Settings) -> None:
    """Check that there are control data to work on.

    Raises:
        StartupError: There are none.
    """
    if not settings.control and not (settings.data / "control.db").exists():
        raise StartupError(
            f"{settings.data} is not a data folder, or its control.db is missing. Run 'postback serve' once to create "
            "it, or name another one with --data."
        )


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows as aligned columns with titles."""
    lines = [titles, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def format_minute(seconds: int) -> str:
    """A time in seconds since the epoch, to the minute, as ``2026-07-01 09:30Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%MZ")
