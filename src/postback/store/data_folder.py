"""The data folder: one server's stores, its lock and its secret."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from postback.errors import StartupError, StoreUnavailable
from postback.store.log_files import LogFiles

__all__ = ["DataDir", "write_durably"]

_SECRET_BYTES = 32
_ROOM_BYTES = 1 << 20


class DataDir:
    """A data folder that this process has locked; no other server can use it until ``close``.

        lock          locked by the server; contains its process id
        secret.key    keys the hashes of identifiers, as hexadecimal digits
        events/       the event store (chDB)
        control.db    the control store (SQLite)
        log/          the ingest log: calls that were acknowledged and are on their way into the stores
        quarantine/   rows that the event store refused
        derived/      indexes, which are derived anew where they are missing
        tmp/          batches on their way into the event store; emptied at each start

    Attributes:
        path: The folder.
        secret: 32 bytes, generated at the first start. Events logged under one secret never match under another.
    """

    def __init__(self, path: Path, lock: IO[str], secret: bytes) -> None:
        self.path = path
        self.secret = secret
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> DataDir:
        """Create the folder if it is missing, and lock it.

        Raises:
            StartupError: It can't be created or written, another server has locked it, or its secret is missing.
        """
        path = path.absolute()
        if {"?", "#"} & set(str(path)):
            raise StartupError(
                f"The path of the data folder {path} contains '?' or '#'. Choose another folder with --data."
            )
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with ExitStack() as undo:
                lock = undo.enter_context(_lock(path))
                shutil.rmtree(path / "tmp", ignore_errors=True)
                (path / "tmp").mkdir(mode=0o700)
                folder = cls(path, lock, _secret(path))
                undo.pop_all()
            return folder
        except OSError as error:
            raise StartupError(
                f"The data folder {path} can't be used ({error.strerror}). "
                "Give this user write access, or choose another folder with --data."
            ) from error

    @property
    def events_dsn(self) -> str:
        """The event store's DSN for clickhouse-connect."""
        return f"chdb://{self.path}/events"

    @property
    def control_url(self) -> str:
        """The control store's URL for SQLAlchemy."""
        return f"sqlite:///{self.path}/control.db"

    @property
    def log(self) -> LogFiles:
        """The files of the ingest log."""
        return LogFiles(self.path / "log")

    @property
    def quarantine(self) -> LogFiles:
        """The files with rows that the event store refused."""
        return LogFiles(self.path / "quarantine")

    @property
    def derived(self) -> Path:
        """The folder for what can be derived anew from the stores."""
        return self.path / "derived"

    @property
    def scratch(self) -> Path:
        """The folder for temporary files."""
        return self.path / "tmp"

    def check_room(self) -> None:
        """Check that the folder has room for another batch.

        Raises:
            StoreUnavailable: Its disk is full, or it can't be written.
        """
        try:
            with tempfile.TemporaryFile(dir=self.scratch) as file:
                file.write(bytes(_ROOM_BYTES))
                file.flush()
        except OSError as error:
            raise StoreUnavailable("The data folder can't be written.", retry_after=1) from error

    def close(self) -> None:
        """Unlock the folder."""
        self._lock.close()


def _lock(path: Path) -> IO[str]:
    lock = (path / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise StartupError(
            f"The data folder {path} is in use by another server (process {holder}). "
            "Stop that server first, or choose another folder with --data."
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _secret(path: Path) -> bytes:
    file = path / "secret.key"
    if not file.exists():
        if (path / "events").exists():
            raise StartupError(
                f"{file} is missing, but {path} contains events that were logged with it. Restore it from a backup: "
                "without it, new identifiers cannot match the stored ones."
            )
        write_durably(file, secrets.token_hex(_SECRET_BYTES))
    try:
        secret = bytes.fromhex(file.read_text())
    except ValueError:
        secret = b""
    if len(secret) != _SECRET_BYTES:
        raise StartupError(f"{file} must contain {2 * _SECRET_BYTES} hexadecimal digits. Restore it from a backup.")
    return secret


def write_durably(file: Path, text: str) -> None:
    """Write a file atomically: after a power failure it is complete or absent."""
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
