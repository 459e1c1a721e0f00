"""Where a backup comes from: a running server, which is asked for a snapshot, or the data folder of a stopped one."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from sqlalchemy import URL, make_url

from postback.backups.snapshot_server import SnapshotAnswer, socket_path
from postback.config import Settings
from postback.errors import StartupError
from postback.store.data_folder import CONTROL_FILES, LEFT_OUT, require_restored, try_lock

__all__ = ["CONTROL_DUMP", "Source", "open_source", "server_snapshot"]

CONTROL_DUMP = "control.dump"
"""What pg_dump writes where the control store is in PostgreSQL."""

_ANSWER_SECONDS = 600.0
_EVENTS_LEFT_OUT = frozenset(("events/shadow", "events/tmp"))


class Source(NamedTuple):
    """What is backed up.

    Attributes:
        root: A folder as a data folder, in which nothing changes while it is a source.
        left_out: Paths in it that don't belong to the backup.
        control: Where the control store is.
        write_control: Writes what ``root`` doesn't have of the control store into a folder; returns the file's name.
        require_whole: Raises StartupError if ``root`` may have been deleted meanwhile.
    """

    root: Path
    left_out: frozenset[str]
    control: Literal["sqlite", "postgresql"]
    write_control: Callable[[Path], str] | None
    require_whole: Callable[[], None]


@contextmanager
def open_source(settings: Settings) -> Iterator[Source]:
    """The data folder of these settings as the source of a backup, whether a server runs on it or not.

    Raises:
        StartupError: It is not a data folder, it is in use by something that is not a server, or a store can't be read.
    """
    data = settings.data
    if settings.events:
        raise StartupError(
            "postback backup copies embedded event stores only, and POSTBACK_EVENTS names a ClickHouse server. Back "
            "that database up with ClickHouse's BACKUP, then the data folder; docs/how-to/use-clickhouse.md says how."
        )
    try:
        if not (data / "secret.key").exists():
            raise StartupError(f"{data} is not a data folder. Name the server's data folder with --data.")
        require_restored(data)
        lock = try_lock(data / "lock")
    except OSError as error:
        raise StartupError(
            f"The data folder {data} can't be locked ({error.strerror}). Run the command as the server's user."
        ) from error
    if isinstance(lock, str):
        with server_snapshot(data, settings.control, lock) as source:
            yield source
    else:
        with lock:
            yield _stopped(data, settings.control)


def _stopped(data: Path, control: str | None) -> Source:
    left_out = LEFT_OUT | CONTROL_FILES | _EVENTS_LEFT_OUT
    if control:
        return Source(data, left_out, "postgresql", partial(_dump, control, None), lambda: None)
    if not (data / "control.db").exists():
        raise StartupError(
            f"{data} has no control.db. If the server's control store is in PostgreSQL, set POSTBACK_CONTROL as for "
            "the server."
        )
    return Source(data, left_out, "sqlite", partial(_copy_sqlite, data), lambda: None)


@contextmanager
def server_snapshot(data: Path, control: str | None, process: str) -> Iterator[Source]:
    """What the server that runs on a data folder has stored at this moment.

    Args:
        data: The folder.
        control: The control store's database, if it isn't in the folder.
        process: The server's process, for messages.

    Raises:
        StartupError: The server gives no snapshot.
    """
    with closing(socket.socket(socket.AF_UNIX)) as connection, socket_path(data) as path:
        connection.settimeout(_ANSWER_SECONDS)
        try:
            connection.connect(path)
            with connection.makefile("rb") as reader:
                line = reader.readline()
            answer = msgspec.json.decode(line, type=SnapshotAnswer)
        except (OSError, msgspec.DecodeError) as error:
            raise StartupError(
                f"The data folder {data} is in use by process {process}, which gives no snapshot: it is starting or "
                "stopping, or is a command. Run this command again when it has started or ended."
            ) from error
        if answer.error:
            raise StartupError(f"The server can give no snapshot at present. {answer.error} Run this command again.")
        if bool(answer.postgresql) != bool(control):
            raise StartupError(
                "POSTBACK_CONTROL must be set for this command as it is for the server, whose control store is in "
                f"{'PostgreSQL' if answer.postgresql else 'SQLite'}."
            )
        write = partial(_dump, control, answer.postgresql) if control else None
        kind: Literal["sqlite", "postgresql"] = "postgresql" if control else "sqlite"
        yield Source(data / answer.path, frozenset(), kind, write, partial(_require_connected, connection))


def _require_connected(connection: socket.socket) -> None:
    """Check that the server runs, for a snapshot goes with it."""
    connection.setblocking(False)
    try:
        ended = not connection.recv(1)
    except BlockingIOError:
        return
    except OSError:
        ended = True
    if ended:
        raise StartupError("The server ended before the backup was complete. Run this command again.")


def _copy_sqlite(data: Path, target: Path) -> str:
    file = target / "control.db"
    file.touch(mode=0o600, exist_ok=False)
    try:
        with (
            closing(sqlite3.connect(data / "control.db")) as source,
            closing(sqlite3.connect(file)) as copy,
        ):
            source.backup(copy)
    except sqlite3.Error as error:
        raise StartupError(f"The control store {data / 'control.db'} can't be copied ({error}).") from error
    return file.name


def _dump(url: str, snapshot: str | None, target: Path) -> str:
    """Have pg_dump write the control store into a folder, as of a snapshot if there is one."""
    server = make_url(url)
    place = URL.create(
        "postgresql", server.username, None, server.host, server.port, server.database, server.query
    ).render_as_string()
    file = target / CONTROL_DUMP
    file.touch(mode=0o600, exist_ok=False)
    command = ["pg_dump", "--format=custom", "--no-owner", f"--file={file}", f"--dbname={place}"]
    command += [f"--snapshot={snapshot}"] if snapshot else []
    password = {"PGPASSWORD": server.password} if server.password else {}  # not in the list of processes
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own settings
            command, env=os.environ | password, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise StartupError(
            "pg_dump is not installed, which copies the control store from PostgreSQL. Install PostgreSQL's client "
            "programs, of the server's version or newer."
        ) from error
    if done.returncode:
        reason = " ".join(done.stderr.split()).rstrip(".") or f"exit status {done.returncode}"
        raise StartupError(f"The control store can't be copied from PostgreSQL: {reason}.")
    return file.name
