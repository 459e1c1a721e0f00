"""The control store: accounts, keys, event sources and idempotency records, in SQLite or PostgreSQL."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, inspect, make_url, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from postback.errors import StartupError, StoreUnavailable
from postback.store.control_schema import upgrade
from postback.store.sqlite import INCREMENTAL, sqlite_engine
from postback.store.tables import JSON_CODEC, commit_count

__all__ = ["ControlStore", "PinnedControl", "one_start_at_a_time"]

_READ_SECONDS, _WRITE_SECONDS = 5.0, 15.0
"""How long PostgreSQL may keep still in the middle of a statement; one that writes may wait for locks of others."""

_AWAY_SECONDS = 3
"""When PostgreSQL has not answered a probe for so long, nothing else asks it before one is answered."""

_BUSY_SECONDS = 2
"""How long a call waits for another process that writes to SQLite, before it is refused with 503."""

_PAGES_AT_ONCE = 1_000
"""So few that no other writer waits for long."""

_START_SECONDS = 10
"""How long a start waits for another one in SQLite."""

_STARTS = 7_620_001
"""PostgreSQL's advisory lock of a start: a number that nothing else in the database uses."""

_LOCK_TIMEOUT = "55P03"
"""PostgreSQL's code for a lock that it waited for too long."""

_STARTS_SECONDS = 120
"""How long a start waits for others in PostgreSQL, which may upgrade large tables."""

_CONNECT_SECONDS = 5
"""How long a start waits for a connection to PostgreSQL, which may be frozen."""

_CHECK_SECONDS = 5
_CHECK_STEPS = 100_000
"""How long a start looks for damage, and the steps of SQLite's machine after which it looks at the time."""

_log = logging.getLogger(__name__)


class ControlStore:
    """The database of control data. Synchronous and thread-safe: callers on an event loop use threads.

    Args:
        url: An SQLAlchemy URL, for example ``sqlite:////data/control.db``.

    Attributes:
        shared: Whether several servers may use it at once.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = _engine(url)
        self.shared = self._engine.dialect.name != "sqlite"
        self._counts_commits = not self.shared
        self._writing_engine = self._engine.execution_options(writing=True)
        self._unanswered_since: float | None = None
        self._wait_at_most: Callable[[Any, float | None], None] = lambda _, __: None
        if self.shared:
            from postback.store import postgresql  # a library that SQLite does without

            postgresql.connect_impatiently(self._engine)
            self._wait_at_most = postgresql.wait_at_most

    @property
    def engine(self) -> str:
        """The database's name: ``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    def migrate(self) -> None:
        """Upgrade the schema to the newest revision; does nothing when it is already there.

        Raises:
            StartupError: The database can't be opened or written, a row refers to one that is missing, or a newer
                Postback has upgraded it. Nothing was changed.
        """
        # SQLite changes a table by making it anew; what refers to it would be in the way meanwhile.
        engine = _engine(self._url, _START_SECONDS, foreign_keys=False)
        try:
            with engine.execution_options(writing=True).begin() as connection:
                upgrade(connection)
        except DBAPIError as error:
            raise _unopened(self._engine, error) from error
        finally:
            engine.dispose()

    def let_shrink(self) -> None:
        """Rewrite a SQLite file of an earlier version once; it can't give space back to the disk otherwise."""
        if self._engine.dialect.name != "sqlite":
            return
        with closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            if cursor.execute("PRAGMA auto_vacuum").fetchone()[0] == INCREMENTAL:
                return
            file = Path(cursor.execute("PRAGMA database_list").fetchone()[2])
            try:
                if shutil.disk_usage(file.parent).free < 3 * file.stat().st_size:
                    raise sqlite3.OperationalError("the disk has less than three times its size left")
                cursor.execute(f"PRAGMA auto_vacuum={INCREMENTAL}")
                cursor.execute("VACUUM")
            except sqlite3.DatabaseError as error:
                _log.warning("The control store can't be rewritten, so it gives no space back to the disk: %s", error)

    def give_space_back(self) -> None:
        """Give the space of what was deleted back to the disk; does nothing where the database does so itself.

        Raises:
            StoreUnavailable: The database rejects it.
        """
        while self._engine.dialect.name == "sqlite":
            with self.begin() as connection:
                pages = connection.scalar(text("PRAGMA page_count"))
                # By the driver, which steps through a statement to its end: each step gives back one page.
                cursor = connection.connection.cursor()
                cursor.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
                cursor.fetchall()
                if connection.scalar(text("PRAGMA page_count")) == pages:
                    return

    @contextmanager
    def connect(self, *, seconds: float | None = _READ_SECONDS) -> Iterator[Connection]:
        """A connection for reading, in one transaction.

        Args:
            seconds: How long PostgreSQL may keep still; None for as long as it takes.

        Raises:
            StoreUnavailable: The database doesn't answer.
        """
        self.require_reachable()
        with _failures_reported(), self._engine.connect() as connection, self._waiting(connection, seconds):
            yield connection

    @contextmanager
    def begin(self, *, seconds: float | None = _WRITE_SECONDS) -> Iterator[Connection]:
        """A connection for writing; the writes are durable when the block ends, and rolled back when it raises.

        Args:
            seconds: How long PostgreSQL may keep still; None for as long as it takes.

        Raises:
            StoreUnavailable: The database rejects the write; nothing is stored.
        """
        self.require_reachable()
        with (
            _failures_reported(),
            self._writing_engine.begin() as connection,
            self._waiting(connection, seconds),
        ):
            if self._counts_commits:
                connection.exec_driver_sql("UPDATE commit_count SET commits = commits + 1")
            yield connection

    @contextmanager
    def probing(self) -> Iterator[Connection]:
        """The same for what a server writes every second, by which it knows whether a shared database answers.

        Raises:
            StoreUnavailable: The database rejects the write; nothing is stored.
        """
        since = self._unanswered_since
        self._unanswered_since = since or time.monotonic()
        try:
            with _failures_reported(), self._writing_engine.begin() as connection:
                yield connection
        except StoreUnavailable:
            if since is None:
                _log.warning("The control store does not answer. Callers that are known can log events meanwhile.")
            raise
        self._unanswered_since = None
        if since is not None:
            _log.warning("The control store answers again, after %d s.", time.monotonic() - since)

    @contextmanager
    def _waiting(self, connection: Connection, seconds: float | None) -> Iterator[None]:
        """Let a connection wait for an answer so long, until it goes back."""
        driven = connection.connection.driver_connection
        self._wait_at_most(driven, seconds)
        if seconds is None and self.shared:  # nor does PostgreSQL end what takes long
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        try:
            yield
        finally:
            self._wait_at_most(driven, _READ_SECONDS)

    def require_reachable(self) -> None:
        """Check that probes are answered, so that nobody waits for a database that is away.

        Raises:
            StoreUnavailable: They are not.
        """
        since = self._unanswered_since
        if since is not None and time.monotonic() > since + _AWAY_SECONDS:
            raise StoreUnavailable("The control store is unavailable.", retry_after=1)

    def pin(self) -> PinnedControl:
        """What the store has at this moment, until it is closed; writers go on meanwhile.

        Raises:
            StoreUnavailable: The database doesn't answer.
        """
        engine = _engine(self._url)  # its own, for the connections of the others are counted
        with ExitStack() as undo, _failures_reported():
            undo.callback(engine.dispose)
            connection = undo.enter_context(engine.connect())
            if engine.dialect.name == "sqlite":
                connection.execute(text("SELECT name FROM sqlite_master LIMIT 1")).all()  # the first read fixes it
                return PinnedControl(connection, None, undo.pop_all())
            name = str(connection.scalar(text("SELECT pg_export_snapshot()")))
            return PinnedControl(connection, name, undo.pop_all())

    def commits(self) -> int:
        """How many transactions have written to a SQLite file, since they are counted; also before ``migrate``.

        Raises:
            StoreUnavailable: The database doesn't answer.
        """
        with self.connect() as connection:
            if not inspect(connection).has_table(commit_count.name):
                return 0
            return int(connection.scalar(select(commit_count.c.commits)) or 0)

    def check_pages(self) -> None:
        """Check that a SQLite file is whole, as far as that takes a few seconds; also before ``migrate``.

        Raises:
            StartupError: It is damaged, or can't be opened.
        """
        if not self._counts_commits:
            return
        deadline = time.monotonic() + _CHECK_SECONDS
        try:
            connection = self._engine.raw_connection()
        except DBAPIError as error:
            raise _unopened(self._engine, error) from error
        try:
            sqlite_connection: Any = connection.driver_connection
            sqlite_connection.set_progress_handler(lambda: time.monotonic() > deadline, _CHECK_STEPS)
            [found] = sqlite_connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise self._damaged(str(error)) from error
            _log.warning(
                "The control store is too large to be checked in %d s. While no server runs, check it with: "
                "sqlite3 control.db 'PRAGMA quick_check'",
                _CHECK_SECONDS,
            )
            return
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from error
        finally:
            connection.detach()
            connection.close()
        if found != "ok":
            raise self._damaged(found.replace("\n", " ").removeprefix("*** in database main *** "))

    def _damaged(self, what: str) -> StartupError:
        return StartupError(
            f"The control store {self._engine.url!r} is damaged: {what}. Restore it from a backup, with the events of "
            "the same moment."
        )

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT with ``on_conflict_do_*``, which both dialects spell alike."""
        return sqlite.insert(table) if self._engine.dialect.name == "sqlite" else postgresql.insert(table)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


class PinnedControl:
    """What a control store had at one moment.

    Attributes:
        name: In PostgreSQL, the name by which other connections see the same, for example ``pg_dump --snapshot``.
    """

    def __init__(self, connection: Connection, name: str | None, opened: ExitStack) -> None:
        self._connection = connection
        self._opened = opened
        self.name = name

    def close(self) -> None:
        """Let it go: until then SQLite can't shorten its log."""
        self._opened.close()

    def copy_to(self, file: Path) -> None:
        """Copy it from SQLite into a new file.

        Raises:
            OSError: The file can't be created.
            StoreUnavailable: It can't be written, or the store can't be read.
        """
        file.touch(mode=0o600, exist_ok=False)
        source: Any = self._connection.connection.driver_connection
        try:
            with closing(sqlite3.connect(file)) as copy:
                source.backup(copy)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"The control store can't be copied ({error}).", retry_after=1) from error


def _unopened(engine: Engine, error: DBAPIError) -> StartupError:
    return StartupError(
        f"The control store {engine.url!r} can't be opened: {error.orig}. "
        "Check that it exists and that Postback may write to it."
    )


@contextmanager
def _failures_reported() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        raise StoreUnavailable("The control store is unavailable.", retry_after=1) from error


@contextmanager
def one_start_at_a_time(url: str | None) -> Iterator[None]:
    """Let no other server that shares a PostgreSQL start while the block runs; a data folder's SQLite has one anyway.

    A start that is killed, or loses its connection, makes way at once.

    Raises:
        StartupError: The database can't be opened, or another start does not end.
    """
    if url is None:
        yield
        return
    timeout = {} if "connect_timeout" in make_url(url).query else {"connect_timeout": _CONNECT_SECONDS}
    engine = create_engine(url, poolclass=NullPool, connect_args=timeout)
    try:
        with ExitStack() as undo:
            try:
                connection = undo.enter_context(engine.begin())
                connection.execute(text(f"SET LOCAL lock_timeout = '{_STARTS_SECONDS}s'"))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_STARTS})"))
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) == _LOCK_TIMEOUT:
                    raise StartupError(
                        f"Another server on this database has been starting for {_STARTS_SECONDS} s. Look at its log, "
                        "end it if it hangs, and start again."
                    ) from error
                raise _unopened(engine, error) from error
            yield
    finally:
        engine.dispose()


def _engine(url: str, seconds: float = _BUSY_SECONDS, *, foreign_keys: bool = True) -> Engine:
    if make_url(url).get_backend_name() == "sqlite":
        return sqlite_engine(url, seconds, foreign_keys=foreign_keys)
    # A connection that the server has closed is replaced before it is used.
    return create_engine(url, pool_pre_ping=True, **JSON_CODEC)
