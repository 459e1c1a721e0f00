"""The event store: ClickHouse, in this process (chDB) or on a server, through clickhouse-connect."""

from __future__ import annotations

import logging
import queue
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from postback.errors import InternalError, StartupError, StoreUnavailable
from postback.store.derived import DerivedStore
from postback.store.rows import COLUMNS, Rows, Table, arrow_stream

__all__ = ["EventStore", "SourceActivity", "SourceMatching", "StoredEvent", "StoredRejection", "StoredVerdicts"]

_READERS = 2

_SETTINGS = {
    "async_insert": 0,  # else the engine answers before the rows are in a part
    "optimize_on_insert": 0,  # halves the insert: copies collapse when parts merge, and before that under FINAL
}

_SQL = resources.files("postback.store") / "sql"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An accepted event.

    Attributes:
        test_event_code: Empty for a live event.
        received_at: When its first copy arrived, UTC.
        event_time: When it happened, UTC.
        quality: Its match quality, 0 to 1.
        warnings: Codes of what was odd about it.
        custom_event_name: Its name, for custom events; else empty.
        kinds: First byte of each of its match keys, in order: the kinds of identifier (``ingest.identifiers.KINDS``).
    """

    test_event_code: str
    received_at: datetime
    event_time: datetime
    quality: float
    warnings: tuple[str, ...]
    custom_event_name: str
    kinds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StoredRejection:
    """Why an event failed last; ``test_event_code`` is empty for a live event, ``field`` for the event itself."""

    test_event_code: str
    received_at: datetime
    reason: str
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class StoredVerdicts:
    """All that is known of one (account, source, type, id).

    Attributes:
        event: The live event, or None.
        tests: Test events, newest first; at most ten.
        rejections: The latest rejection, live and for each test_event_code, newest first; at most ten.
    """

    event: StoredEvent | None
    tests: tuple[StoredEvent, ...]
    rejections: tuple[StoredRejection, ...]


@dataclass(frozen=True, slots=True)
class SourceActivity:
    """What arrived from one event source; test events don't count.

    Attributes:
        events_received_24h: Accepted (copies included) and rejected events of the last 24 hours.
        rejected_24h: Those of them that were rejected.
        last_event_at: When the last accepted event arrived, UTC; None when none ever did.
        mean_quality_24h: Mean match quality of the accepted ones; None when there are none.
    """

    events_received_24h: int
    rejected_24h: int
    last_event_at: datetime | None
    mean_quality_24h: float | None


@dataclass(frozen=True, slots=True)
class SourceMatching:
    """How the events of one source that a goal names were matched, over the last seven days.

    Attributes:
        events: How many there are.
        attributed: Those of them that were attributed to an exposure.
        median_delay_seconds: How long after they happened they arrived.
    """

    events: int
    attributed: int
    median_delay_seconds: float


class EventStore:
    """The tables of events. Synchronous and thread-safe: callers on an event loop use threads.

    One client writes, one derives and a few read, for a client does one thing at a time.

    Attributes:
        derived: The tables that attribution derives from these.
    """

    def __init__(self, writer: Client, deriver: Client, readers: Sequence[Client]) -> None:
        self.derived = DerivedStore(deriver)
        self._clients = (writer, deriver, *readers)
        self._writer = writer
        self._idle: queue.LifoQueue[Client] = queue.LifoQueue()
        for reader in readers:
            self._idle.put(reader)

    @classmethod
    def open(cls, dsn: str, scratch: Path) -> EventStore:
        """Connect, and create the tables that are missing.

        Args:
            dsn: Of clickhouse-connect, as ``chdb:///data/events``.
            scratch: Folder for the files by which chDB takes its inserts; on the same disk as the data.

        Raises:
            StartupError: The store can't be opened or written.
        """
        try:
            clients = [
                clickhouse_connect.get_client(dsn=dsn, settings=_SETTINGS, tz_mode="aware") for _ in range(2 + _READERS)
            ]
            for file in sorted((_SQL / "schema").iterdir(), key=lambda file: file.name):
                clients[0].command(file.read_text())
        except (ClickHouseError, OSError) as error:
            raise StartupError(f"The event store {dsn} can't be opened: {_name(error)}. Check its folder.") from error
        tempfile.tempdir = str(scratch)  # chDB's client offers no other way to choose it
        return cls(clients[0], clients[1], clients[2:])

    def close(self) -> None:
        """Close every client; the engine stops with the last one."""
        for client in self._clients:
            client.close()
        tempfile.tempdir = None

    def ping(self) -> bool:
        """Whether the engine answers."""
        with self._reader() as client:
            return client.ping()

    def insert(self, rows: Sequence[Rows]) -> None:
        """Store all rows: one insert a table, durable when this returns.

        When it raises, some tables may hold their rows and others not; the same rows again complete them.

        Raises:
            InternalError: A value doesn't fit its column; nothing was stored.
            StoreUnavailable: The engine refused.
        """
        tables = [table for table in COLUMNS if any(part.table == table for part in rows)]
        try:
            streams = [(table, *arrow_stream(table, [p for p in rows if p.table == table])) for table in tables]
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            # Its text may quote a payload, so it goes nowhere.
            raise InternalError(f"Events could not be stored ({type(error).__name__}).") from None
        with _failures_reported():
            for table, names, stream in streams:
                self._writer.raw_insert(table, names, stream, fmt="ArrowStream")

    def verdicts(self, account_id: str, event_source_id: str, event_type: str, event_id: str) -> StoredVerdicts:
        """What became of one event.

        Raises:
            StoreUnavailable: The engine doesn't answer.
        """
        key = {
            "account_id": account_id,
            "event_source_id": event_source_id,
            "event_type": event_type,
            "event_id": event_id,
        }
        return StoredVerdicts(
            event=next(map(_event, self.query("accepted", **key)), None),
            tests=tuple(map(_event, self.query("accepted_tests", **key))),
            rejections=tuple(StoredRejection(*row) for row in self.query("rejected", **key)),
        )

    def activity(self, account_id: str) -> dict[str, SourceActivity]:
        """What arrived from each source of an account, by event_source_id; silent sources are absent.

        Raises:
            StoreUnavailable: The engine doesn't answer.
        """
        return {
            event_source_id: SourceActivity(
                events_received_24h=accepted + rejected,
                rejected_24h=rejected,
                last_event_at=last_at,
                mean_quality_24h=quality / accepted if accepted else None,
            )
            for event_source_id, accepted, rejected, quality, last_at in self.query("activity", account_id=account_id)
        }

    def matching(self, account_id: str) -> dict[str, SourceMatching]:
        """How each source's events were matched, by event_source_id; sources that no goal names are absent.

        Raises:
            StoreUnavailable: The engine doesn't answer.
        """
        return {source: SourceMatching(*row) for source, *row in self.query("matching", account_id=account_id)}

    def last_stamp(self) -> int:
        """The newest received_at of any live event, in µs since the epoch; 0 when there is none."""
        return int(self.query("last_stamp")[0][0])

    def count(self, table: Table) -> int:
        """Rows of a table, copies collapsed."""
        with _failures_reported(), self._reader() as client:
            return int(client.query(f"SELECT count() FROM {table} FINAL").result_rows[0][0])  # noqa: S608 a literal type

    def query(self, name: str, **parameters: object) -> Sequence[Sequence[Any]]:
        """The rows that the statement in ``sql/NAME.sql`` selects.

        Raises:
            StoreUnavailable: The engine doesn't answer.
        """
        with _failures_reported(), self._reader() as client:
            return client.query(_sql(name), parameters=parameters).result_rows

    @contextmanager
    def _reader(self) -> Iterator[Client]:
        client = self._idle.get()
        try:
            yield client
        finally:
            self._idle.put(client)


@contextmanager
def _failures_reported() -> Iterator[None]:
    try:
        yield
    except (ClickHouseError, OSError) as error:
        _log.error("The event store failed: %s", _name(error))
        raise StoreUnavailable("The event store is not available.", retry_after=1) from error


@cache
def _sql(name: str) -> str:
    """The statement in ``sql/NAME.sql``."""
    return (_SQL / f"{name}.sql").read_text()


def _name(error: Exception) -> str:
    """What failed, without the engine's text, which may quote a payload."""
    return getattr(error, "name", None) or getattr(error, "strerror", None) or type(error).__name__


def _event(row: Sequence[Any]) -> StoredEvent:
    code, received_at, event_time, quality, warnings, name, kinds = row
    return StoredEvent(code, received_at, event_time, quality, tuple(warnings), name, tuple(kinds))
