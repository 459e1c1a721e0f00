"""The engine of the event store: ClickHouse in this process (chDB), or a server of it, through one client library."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

import clickhouse_connect
from clickhouse_connect.driver.binding import format_query_value
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.httpclient import HttpClient

from postback.clickhouse_url import ClickHouseUrl
from postback.errors import InternalError, StartupError, StoreUnavailable
from postback.store.table_engines import TableEngines

__all__ = ["GRANTS", "EngineUnreachable", "EventEngine", "failures_reported", "fitted", "unfit_rows_refused"]

_SETTINGS: dict[str, int] = {
    "async_insert": 0,  # else the engine answers before the rows are in a part
    "deduplicate_blocks_in_dependent_materialized_views": 1,  # what a repeated block adds to sums is not added again
    "optimize_on_insert": 0,  # halves the insert: copies collapse when parts merge, and before that under FINAL
    "use_top_k_dynamic_filtering": 0,  # 26.5 takes other columns for the times that it sorts by, and fails
}

_OF_A_SERVER: dict[str, str | int] = {
    **_SETTINGS,
    "insert_deduplicate": 1,  # whatever the user's profile says
    "join_use_nulls": 0,
    "max_query_size": 2**30,
    "wait_end_of_query": 1,  # else a statement that fails after its first row has the status of one that succeeded
}

_SESSION = {"session_timeout": 3600}
"""Seconds without a statement after which the server drops the tables of a run; it allows no more."""

_OLDEST = (26, 5)
"""The oldest release of ClickHouse whose SQL was tested."""

GRANTS = (
    "SELECT, INSERT, ALTER TABLE, ALTER VIEW, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE, OPTIMIZE "
    "ON {database}.*",
    "CREATE TEMPORARY TABLE, CREATE TEMPORARY VIEW ON *.*",
    "SELECT ON system.mutations",
)
"""What the user of a server must be permitted, beside what the tables' engines need. Asked for at the start, since some
of it is only used after months."""

_CONNECT_SECONDS = 5
_ANSWER_SECONDS = 60
"""A server that works on a statement sends a sign of life before that."""

_LARGE_PARAMETER = 64_000
"""Characters; a server takes 128 KiB of a parameter."""

_RETRY_SECONDS = 1.0
_REMINDER_SECONDS = 10.0

_UNFIT = frozenset(
    (
        *("ARGUMENT_OUT_OF_BOUND", "CANNOT_CONVERT_TYPE", "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN", "DECIMAL_OVERFLOW"),
        *("INCORRECT_DATA", "TOO_LARGE_STRING_SIZE", "TYPE_MISMATCH", "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE"),
        "VIOLATED_CONSTRAINT",
    )
)
"""The engine's errors that are about the rows, so that the same ones will fail again."""

_WHAT_TO_DO = {
    "AUTHENTICATION_FAILED": "Correct the user or the password in POSTBACK_EVENTS",
    "ACCESS_DENIED": "Give its user the permissions that docs/how-to/use-clickhouse.md lists",
    "READONLY": "Its user must not have a profile with readonly = 1",
    "UNKNOWN_DATABASE": "Create it, or correct POSTBACK_EVENTS",
}

_log = logging.getLogger(__name__)


class EngineUnreachable(StartupError):
    """The server of an event store can't be reached at present."""


class EventEngine:
    """Makes clients of one database. A client does one thing at a time.

    Args:
        dsn: ``chdb://`` and the path of a folder, or a URL as ``ClickHouseUrl`` has it.

    Attributes:
        embedded: Whether the engine is in this process.
        database: The database.
        place: How messages name the store.
        tables: What keeps the tables, which ``check`` asks a server.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._url = None if dsn.startswith("chdb:") else ClickHouseUrl.parse(dsn)
        self.embedded = self._url is None
        self.database = self._url.database if self._url else "default"
        self.place = self._url.place if self._url else dsn.removeprefix("chdb://")
        self.tables = TableEngines.PLAIN

    def client(self, database: str | None = None, *, session: bool = False) -> Client:
        """A client; the caller closes it.

        Args:
            database: Another database than the engine's own.
            session: Whether it can have temporary tables. The server then runs its statements one after the other,
                also when a connection was lost while one was at work, and forgets its tables when it is started again.

        Raises:
            ClickHouseError: The engine doesn't answer, or refuses.
        """
        if self._url is None:
            return clickhouse_connect.get_client(
                dsn=self._dsn, database=database or self.database, settings=_SETTINGS, tz_mode="aware"
            )
        return clickhouse_connect.get_client(
            interface="https" if self._url.tls else "http",
            host=self._url.host,
            port=self._url.port,
            username=self._url.user,
            password=self._url.password,
            database=database or self.database,
            ca_cert=self._url.ca_cert,
            settings=_OF_A_SERVER | self.tables.settings | (_SESSION if session else {}),
            autogenerate_session_id=session,
            connect_timeout=_CONNECT_SECONDS,
            send_receive_timeout=_ANSWER_SECONDS,
            compress=False,
            dedicated_pool=True,
            tz_mode="aware",
        )

    def check(self, patience: float = 0) -> None:
        """Check that a server answers and can be used.

        Args:
            patience: For so many seconds it is asked again, if it can't be reached.

        Raises:
            EngineUnreachable: It can't be reached.
            StartupError: It can't be used; says why, and what to do.
        """
        if self._url is None:
            return
        with closing(self._first_client(patience)) as client:
            version = str(client.server_version)
            if tuple(map(int, version.split(".")[:2])) < _OLDEST:
                raise StartupError(
                    f"ClickHouse at {self._url.host}:{self._url.port} is version {version}. Install "
                    f"{'.'.join(map(str, _OLDEST))} or newer."
                )
            self._check_grants(client, GRANTS)
            self.tables = self._tables(client)
            self._check_grants(client, self.tables.grants)

    def _check_grants(self, client: Client, grants: Sequence[str]) -> None:
        for grant in (grant.format(database=self.database) for grant in grants):
            if not client.command(f"CHECK GRANT {grant}"):
                raise StartupError(
                    f"The event store in {self.place} can't be used: its user lacks a permission. Run as an "
                    f"administrator of ClickHouse: GRANT {grant} TO {self._url and self._url.user}"
                )

    def _tables(self, client: Client) -> TableEngines:
        asked = "SELECT engine, getSetting('cloud_mode') FROM system.databases WHERE name = {name:String}"
        for engine, cloud in client.query(asked, parameters={"name": self.database}).result_rows:
            try:
                return TableEngines.of(engine, cloud=cloud)
            except ValueError:
                raise StartupError(
                    f"The event store can't be in {self.place}: its engine is {engine}, and Postback needs Atomic, "
                    "which is ClickHouse's default, or Replicated. Create another database, and name it in "
                    "POSTBACK_EVENTS."
                ) from None
        return TableEngines.PLAIN  # none for a user who may do nothing in it

    def _first_client(self, patience: float) -> Client:
        until, told = time.monotonic() + patience, 0.0
        while True:
            try:
                return self.client()
            except (ClickHouseError, OSError) as error:
                now = time.monotonic()
                if not _unreachable(error):
                    raise self.unusable(error) from error
                if now > until:
                    raise EngineUnreachable(str(self.unusable(error))) from error
                if now - told > _REMINDER_SECONDS:
                    told = now
                    _log.warning("Waiting for %s, which can't be reached: %s", self.place, reason(error))
                time.sleep(_RETRY_SECONDS)

    def unusable(self, error: Exception) -> StartupError:
        """What an operator is told when the store can't be opened."""
        name = reason(error)
        if self.embedded:
            return StartupError(f"The event store {self._dsn} can't be opened: {name}. Check its folder.")
        what_to_do = _WHAT_TO_DO.get(name, "Check POSTBACK_EVENTS, and that the server runs")
        return StartupError(f"The event store in {self.place} can't be opened: {name}. {what_to_do}.")


def fitted(client: Client, statement: str, parameters: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """A statement and its parameters, for a client; one too large to be sent beside the statement is in its text."""
    beside = dict(parameters)
    if isinstance(client, HttpClient):
        for name, value in parameters.items():
            if isinstance(value, list | tuple) and len(literal := format_query_value(list(value))) > _LARGE_PARAMETER:
                statement = _with_literal(statement, name, literal)
                del beside[name]
    return statement, beside


def _with_literal(statement: str, name: str, literal: str) -> str:
    return re.sub(rf"\{{{name}:([^}}]+)\}}", lambda found: f"CAST({literal} AS {found[1]})", statement)


@contextmanager
def failures_reported(what: str = "") -> Iterator[None]:
    """Log what the engine refused in ``what``, and raise an error for the caller that quotes nothing.

    Raises:
        StoreUnavailable: The engine refused, or doesn't answer.
    """
    try:
        yield
    except (ClickHouseError, OSError) as error:
        _log.error("The event store failed%s: %s", f" in {what}" if what else "", reason(error))
        raise StoreUnavailable("The event store is not available.", retry_after=1) from error


@contextmanager
def unfit_rows_refused() -> Iterator[None]:
    """Tell an insert that failed for what its rows are from one that may succeed later.

    Raises:
        InternalError: A value doesn't fit its column.
    """
    try:
        yield
    except ClickHouseError as error:
        name = reason(error)
        if name not in _UNFIT:
            raise
        _log.error("The event store refused rows: %s", name)
        raise InternalError(f"Events could not be stored ({name}).") from None


def reason(error: BaseException) -> str:
    """What failed, without the engine's text, which may quote a payload."""
    if name := getattr(error, "name", None):
        return str(name)
    while (cause := _cause(error)) is not None:
        error = cause
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def _cause(error: BaseException) -> BaseException | None:
    """What an error came from; urllib3 keeps it in ``reason``, or as what an error says."""
    known = (getattr(error, "reason", None), error.__cause__, *error.args)
    return next((cause for cause in known if isinstance(cause, BaseException)), None)


def _unreachable(error: Exception) -> bool:
    """Whether it was not ClickHouse that answered: the network, or a proxy before it."""
    return getattr(error, "code", None) is None
