"""The data folder: one server's stores, its lock and its secret."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import stat
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from postback.errors import StartupError, StoreUnavailable
from postback.setting_types import SECRET_BYTES
from postback.store.log_files import LogFiles

__all__ = [
    "BACKUP_SOCKET",
    "CONTROL_FILES",
    "LEFT_OUT",
    "OF_THE_SYSTEM",
    "RESTORING",
    "DataDir",
    "node_id_in",
    "require_restored",
    "secret_in",
    "sync_names",
    "try_lock",
    "write_durably",
]

BACKUP_SOCKET = "backup.sock"
RESTORING = "restoring"
LEFT_OUT = frozenset(("lock", BACKUP_SOCKET, "derived", "tmp"))
"""What a copy of a data folder does without."""

CONTROL_FILES = frozenset(("control.db", "control.db-wal", "control.db-shm", "control.commits"))
"""What only SQLite can copy, and what is noted of this very file."""

OF_THE_SYSTEM = frozenset(("lost+found",))
"""What an empty disk has."""

_ROOM_BYTES = 1 << 20
_SECRET, _NEXT, _PREVIOUS = "secret.key", "secret.next", "secret.previous"
_NODE = "node"
_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO

_log = logging.getLogger(__name__)


class DataDir:
    """A data folder that this process has locked; no other server can use it until ``close``.

        lock              locked by the server; contains its process id
        secret.key        keys the hashes of identifiers, as hexadecimal digits
        node              the folder's id among those that share one PostgreSQL
        secret.previous   secrets that were replaced, a line each: click links made with them still work
        events/           the event store (chDB)
        control.db        the control store (SQLite)
        control.commits   how many transactions it has had at least
        log/              the ingest log: calls that were acknowledged and are on their way into the stores
        quarantine/       rows that the event store refused
        derived/          indexes, which are derived anew where they are missing
        tmp/              batches on their way into the event store, and snapshots for backups; emptied at each start
        backup.sock       where a running server is asked for a snapshot
        restoring         a file that is here while a backup is restored into the folder

    Attributes:
        path: The folder.
        secret: 32 bytes, generated at the first start. Events logged under one secret never match under another.
        given_secret: The installation's, if POSTBACK_SECRET has it: that of the folder may be an earlier one.
        next_secret: The one that replaces it, while it is being replaced; else None.
    """

    def __init__(self, path: Path, lock: IO[str], secret: bytes, given_secret: bytes | None = None) -> None:
        self.path = path
        self.secret = secret
        self.given_secret = given_secret
        self.next_secret = _read_secret(path / _NEXT) if (path / _NEXT).exists() else None
        self._lock = lock

    @classmethod
    def open(cls, path: Path, secret: str | None = None) -> DataDir:
        """Create the folder if it is missing, lock it, and see that no other user can read it.

        Args:
            path: The folder.
            secret: What POSTBACK_SECRET has: the secret of a folder that has none.

        Raises:
            StartupError: It can't be created or written, it is another user's, another server has locked it, or its
                secret is missing.
        """
        path = path.absolute()
        if {"?", "#"} & set(str(path)):
            raise StartupError(
                f"The path of the data folder {path} contains '?' or '#'. Choose another folder with --data."
            )
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _close_to_others(path)
            with ExitStack() as undo:
                lock = undo.enter_context(_lock(path))
                require_restored(path)
                for left_behind in (path / "tmp", path / "events" / "shadow"):
                    shutil.rmtree(left_behind, ignore_errors=True)
                (path / "tmp").mkdir(mode=0o700)
                given = bytes.fromhex(secret) if secret else None
                folder = cls(path, lock, _secret(path, given), given)
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
    def has_events(self) -> bool:
        """Whether there is anything in the folder of the event store."""
        events = self.path / "events"
        return events.is_dir() and any(events.iterdir())

    @property
    def has_control(self) -> bool:
        """Whether there is anything in the file of the control store."""
        control = self.path / "control.db"
        return control.exists() and control.stat().st_size > 0

    @property
    def commit_mark(self) -> Path:
        """The file that says how many transactions the control store has had at least."""
        return self.path / "control.commits"

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

    def node_id(self) -> str:
        """The folder's id among those that share one PostgreSQL; made when it is first asked for."""
        file = self.path / _NODE
        if not file.exists():
            write_durably(file, f"{secrets.token_hex(8)}\n")
        return node_id_in(self.path) or ""

    def previous_secrets(self) -> list[bytes]:
        """The secrets that were replaced, oldest first, whose click links still work.

        Raises:
            StartupError: The file with them is damaged.
        """
        file = self.path / _PREVIOUS
        return [_secret_of(line, file) for line in file.read_text().splitlines()] if file.exists() else []

    def prepare_secret(self, secret: bytes | None = None) -> bytes:
        """A new secret, durable but not in use: ``replace_secret`` takes it up. Always the same one until then."""
        if self.next_secret is None or secret not in (None, self.next_secret):
            write_durably(self.path / _NEXT, secret.hex() if secret else secrets.token_hex(SECRET_BYTES))
            self.next_secret = _read_secret(self.path / _NEXT)
        return self.next_secret

    def replace_secret(self) -> None:
        """Put the prepared secret in the place of the present one, which is remembered for click links."""
        new, previous = self.prepare_secret(), self.previous_secrets()
        if self.secret not in previous:
            write_durably(self.path / _PREVIOUS, "".join(f"{secret.hex()}\n" for secret in [*previous, self.secret]))
        (self.path / _NEXT).rename(self.path / _SECRET)
        sync_names(self.path)
        self.secret, self.next_secret = new, None

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


def node_id_in(path: Path) -> str | None:
    """The id of a data folder among those that share one PostgreSQL; None if it never was asked for."""
    file = path / _NODE
    return file.read_text().strip() if file.exists() else None


def _lock(path: Path) -> IO[str]:
    lock = try_lock(path / "lock")
    if isinstance(lock, str):
        raise StartupError(
            f"The data folder {path} is in use by another server (process {lock}). "
            "Stop that server first, or choose another folder with --data."
        )
    return lock


def try_lock(file: Path) -> IO[str] | str:
    """A file that this process has locked until it is closed, or the id of the process that has.

    Raises:
        OSError: It can't be created or written.
    """
    lock = file.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with lock:
            lock.seek(0)
            return lock.read().strip() or "unknown"
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def secret_in(path: Path) -> bytes:
    """The secret of a data folder, which a server may have locked.

    Raises:
        StartupError: There is none.
    """
    try:
        return _read_secret(path / _SECRET)
    except OSError as error:
        raise StartupError(
            f"{path} is not a data folder: {_SECRET} can't be read ({error.strerror}). Name the server's data folder "
            "with --data."
        ) from error


def require_restored(path: Path) -> None:
    """Refuse a folder into which a backup was not restored to the end.

    Raises:
        StartupError: It is one.
    """
    if (path / RESTORING).exists():
        raise StartupError(
            f"A backup was being restored into the data folder {path}, and that did not end. Delete what is in the "
            "folder, and run 'postback restore' again."
        )


def _close_to_others(path: Path) -> None:
    """Take the folder from every other user of the machine.

    Raises:
        StartupError: It is another user's, or its permissions can't be changed.
    """
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise StartupError(
            f"The data folder {path} belongs to another user (uid {found.st_uid}), who could read and change what is "
            f"in it; this process has the uid {os.geteuid()}. Run Postback as its owner, or name a folder inside it "
            "that Postback can create, with --data."
        )
    if not found.st_mode & _OF_OTHERS:
        return
    in_use = (path / _SECRET).exists()
    if not in_use and any(entry.name not in OF_THE_SYSTEM for entry in path.iterdir()):
        raise StartupError(
            f"Other users can read {path}, and what is in it is not Postback's. Choose a folder that is empty or "
            "missing with --data."
        )
    path.chmod(0o700)
    if path.stat().st_mode & _OF_OTHERS:
        raise StartupError(
            f"Other users can read the data folder {path}, and its file system stores no permissions. Choose a folder "
            "on another file system with --data."
        )
    if in_use:
        _log.warning(
            "Other users could read the data folder %s (mode %o) with its secret; now only its owner can. If anybody "
            "else has access to this machine, replace the secret: postback secret rotate",
            path,
            stat.S_IMODE(found.st_mode),
        )


def _secret(path: Path, given: bytes | None) -> bytes:
    file = path / _SECRET
    if not file.exists() and given:
        write_durably(file, given.hex())
    if not file.exists():
        if (path / "events").exists() or (path / "control.db").exists():
            raise StartupError(
                f"{file} is missing, but {path} contains data that were stored with it. Restore it from a backup: "
                "without it, new identifiers cannot match the stored ones."
            )
        write_durably(file, secrets.token_hex(SECRET_BYTES))
    return _read_secret(file)


def _read_secret(file: Path) -> bytes:
    return _secret_of(file.read_text(errors="replace"), file)


def _secret_of(text: str, file: Path) -> bytes:
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise StartupError(f"{file} must contain {2 * SECRET_BYTES} hexadecimal digits. Restore it from a backup.")
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
    sync_names(file.parent)


def sync_names(path: Path) -> None:
    """Make the names in a folder durable."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
