"""Connections to SQLite: how each is set up, and how its transactions begin."""

from __future__ import annotations

import sqlite3
import time

from sqlalchemy import Connection, Engine, create_engine, event

from postback.store.tables import JSON_CODEC

__all__ = ["INCREMENTAL", "sqlite_engine"]

INCREMENTAL = 2
"""SQLite's number of the way in which a file gives back space when it is asked to."""

_WAL_BYTES = 64 << 20
"""A write-ahead log that grew beyond it is cut once its pages are in the file."""

_OPEN_SECONDS = 10
"""How long two processes that open a new file at once wait for each other."""


def sqlite_engine(url: str, seconds: float, *, foreign_keys: bool) -> Engine:
    """An engine for a file.

    Args:
        url: SQLAlchemy's.
        seconds: How long a transaction waits for another process that writes.
        foreign_keys: Whether references are checked.
    """
    engine = create_engine(url, connect_args={"timeout": seconds}, **JSON_CODEC)
    event.listen(engine, "connect", _configure_sqlite)
    if foreign_keys:
        event.listen(engine, "connect", _check_foreign_keys)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin in _begin_sqlite, not behind our back
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
    connection.execute("PRAGMA secure_delete=ON")  # deleted data is overwritten, forwarded events above all
    _prepare_file(connection)


def _check_foreign_keys(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys=ON")


def _prepare_file(connection: sqlite3.Connection) -> None:
    # When two processes open a new file at once, SQLite fails one of them without waiting: it tries again.
    deadline = time.monotonic() + _OPEN_SECONDS
    while True:
        try:
            if not connection.execute("PRAGMA page_count").fetchone()[0]:  # a new file; of another it would write
                connection.execute(f"PRAGMA auto_vacuum={INCREMENTAL}")
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads before it writes must take the write lock at the start: once another one has written,
    # SQLite refuses to upgrade it without waiting.
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
