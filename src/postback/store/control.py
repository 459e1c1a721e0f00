"""The control store: accounts, keys, event sources and idempotency records, in SQLite or PostgreSQL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, Table, create_engine, event, inspect, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from postback.errors import StartupError, StoreUnavailable
from postback.store import migrations

__all__ = ["ControlStore"]

_BUSY_TIMEOUT_S = 10


class ControlStore:
    """One database of control data. Synchronous and thread-safe: callers on an event loop use threads.

    Args:
        url: An SQLAlchemy URL, as ``sqlite:////data/control.db``.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._writing_engine = self._engine.execution_options(writing=True)

    def migrate(self) -> None:
        """Bring the schema to the newest revision; nothing happens when it is there already.

        Raises:
            StartupError: The database can't be opened or written, or a newer Postback wrote it.
        """
        try:
            with self._writing_engine.begin() as connection:
                _upgrade(connection)
        except DBAPIError as error:
            raise StartupError(
                f"The control store {self._engine.url!r} can't be opened: {error.orig}. "
                "Check that it is there, and that it can be written."
            ) from error

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection to read from, in one transaction.

        Raises:
            StoreUnavailable: The database doesn't answer.
        """
        with _failures_reported(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A connection to write to; what was written is durable when the block is left, or undone when it raises.

        Raises:
            StoreUnavailable: The database doesn't take the write; nothing of it is kept.
        """
        with _failures_reported(), self._writing_engine.begin() as connection:
            yield connection

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT that knows ``on_conflict_do_*``, which both dialects spell alike."""
        return sqlite.insert(table) if self._engine.dialect.name == "sqlite" else postgresql.insert(table)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


@contextmanager
def _failures_reported() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        raise StoreUnavailable("The control store is unavailable.", retry_after=1) from error


def _upgrade(connection: Connection) -> None:
    if _revision(connection) == migrations.HEAD:
        return
    # Alembic takes longer to import than the rest of this module to run: only those who migrate pay for it.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StartupError(
            "The control store was written by a newer Postback. Install that version, or use another data folder."
        ) from error


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _engine(url: str) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        # A connection that the server has closed meanwhile is replaced before it is used.
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin in _begin_sqlite, not behind our back
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA secure_delete=ON")  # what was deleted is overwritten, forwarded events above all
    _use_wal(connection)


def _use_wal(connection: sqlite3.Connection) -> None:
    # Of two processes that open a new file at the same moment SQLite fails one without waiting: it tries again.
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads before it writes must hold the write lock from the start: SQLite refuses to upgrade
    # it once another one has written, without waiting.
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
