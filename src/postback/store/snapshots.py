"""Snapshots: what a server has stored at one moment, as a data folder of hard links and small copies."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from postback.errors import StoreUnavailable
from postback.store.control_store import ControlStore, PinnedControl
from postback.store.data_folder import CONTROL_FILES, LEFT_OUT, DataDir
from postback.store.event_store import EventStore

__all__ = ["Snapshot", "snapshot"]

_TABLE_FILES = ("format_version.txt", "mutation_*.txt")


class Snapshot(NamedTuple):
    """A snapshot: its folder, and the control store as it was at the same moment."""

    path: Path
    control: PinnedControl

    def copy_control(self) -> None:
        """Add the control store's file, unless it is in PostgreSQL.

        Raises:
            StoreUnavailable: It can't be copied.
        """
        if self.control.name is None:
            self.control.copy_to(self.path / "control.db")
            self.control.close()


@contextmanager
def snapshot(
    folder: DataDir, events: EventStore, control: ControlStore, between_flushes: AbstractContextManager[None]
) -> Iterator[Snapshot]:
    """What the stores have at this moment, in the scratch folder until the block is left.

    It is what a kill would have left, so a start on it completes or repeats what was under way; without the ingest log,
    whose calls are stored, and without what is derived anew. Any thread may leave it.

    Args:
        folder: The data folder.
        events: The event store.
        control: The control store.
        between_flushes: Lets no flush be at work.

    Raises:
        StoreUnavailable: A store doesn't answer, or the data folder can't be written.
    """
    name = f"snapshot_{secrets.token_hex(8)}"  # the engine escapes anything else
    path, shadow = folder.scratch / name, folder.path / "events" / "shadow" / name
    with ExitStack() as opened:
        for created in (path, shadow):
            opened.callback(shutil.rmtree, created, ignore_errors=True)
        try:
            with events.deriving, between_flushes, events.paused():
                tables = events.freeze(name)
                pinned = control.pin()
                opened.callback(pinned.close)
                _copy_definitions(folder.path / "events", path / "events", tables)
                _copy_rest(folder.path, path)
            _move_parts(shadow, path / "events")
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise StoreUnavailable(f"A snapshot can't be written in the data folder ({why}).", retry_after=1) from error
        yield Snapshot(path, pinned)


def _copy_definitions(events: Path, target: Path, tables: Sequence[Path]) -> None:
    """Copy what the engine knows of its tables: their statements, by links to folders, and their mutations."""
    shutil.copytree(events / "metadata", target / "metadata", symlinks=True)
    for link in (events / "metadata").iterdir():
        _copy_files(link, ("*.sql",), target / link.resolve().relative_to(events.resolve()))
    for table in tables:
        _copy_files(table, _TABLE_FILES, target / table.resolve().relative_to(events.resolve()))


def _move_parts(shadow: Path, target: Path) -> None:
    for prefix in (shadow / "store").iterdir():
        for table in prefix.iterdir():
            for part in table.iterdir():
                part.rename(target / part.relative_to(shadow))


def _copy_rest(data: Path, target: Path) -> None:
    for entry in data.iterdir():
        if entry.suffix == ".new":  # is being written, and may be gone the next moment
            continue
        if entry.is_dir() and entry.name not in LEFT_OUT | {"events", "log"}:
            shutil.copytree(entry, target / entry.name)
        elif entry.is_file() and entry.name not in LEFT_OUT | CONTROL_FILES:
            shutil.copy2(entry, target)


def _copy_files(folder: Path, patterns: Sequence[str], target: Path) -> None:
    target.mkdir(parents=True)
    for pattern in patterns:
        for file in folder.glob(pattern):
            shutil.copy2(file, target)
