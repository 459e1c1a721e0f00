"""The event store: ClickHouse, in this process (chDB) or on a server, through clickhouse-connect."""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from postback.clock import Clock
from postback.errors import InternalError
from postback.protocol.timestamps import from_micros
from postback.store.event_engine import EventEngine, failures_reported, fitted, unfit_rows_refused
from postback.store.event_schema import upgrade
from postback.store.placements import FIRST_SHARD
from postback.store.receipt_times import ReceiptTimes
from postback.store.rows import COLUMNS, Rows, Table, arrow_stream
from postback.store.stored_events import (
    SourceActivity,
    SourceMatching,
    StoredCopy,
    StoredEvent,
    StoredEventStatus,
    StoredRejection,
)
from postback.store.table_engines import TableEngines

__all__ = [
    "READERS",
    "EventStore",
    "SourceActivity",
    "SourceMatching",
    "StoredCopy",
    "StoredEvent",
    "StoredEventStatus",
    "StoredRejection",
]

READERS = 2
"""How many reads the store does at a time."""

_SQL = resources.files("postback.store") / "sql"

_IDENTITIES: Mapping[Table, str] = {
    "event": "(SELECT DISTINCT account_id, event_source_id, event_type, event_id FROM event)",
    "exposure": "(SELECT DISTINCT account_id, exposure_hash, exposure_id FROM exposure)",
}
"""What copies have in common, in the tables that keep those that differ."""

_NO_LINKS: Mapping[tuple[str, str], str] = MappingProxyType({})


class EventStore:
    """The tables of events. Synchronous and thread-safe: callers on an event loop use threads.

    One client writes, one derives, one asks whether the engine answers, and a few read: each does one thing at a time.

    Attributes:
        engine: Makes the clients.
        deriver: The client, with temporary tables, for the statements of attribution, which are long and follow one
            another.
        deriving: Held by each of those that writes.
        receipt_times: Of what is stored. They rise in the order of inserts, so that whoever reads what arrived since a
            time misses nothing.
        number: The shard's, among those of the installation.
        stored_elsewhere: Returns the time through which other servers have stored what they received, in µs since the
            epoch; None where none holds anything up.
    """

    def __init__(
        self, engine: EventEngine, writer: Client, deriver: Client, asked: Client, readers: Sequence[Client]
    ) -> None:
        self.engine = engine
        self.deriver = deriver
        self.deriving = threading.Lock()
        self.receipt_times = ReceiptTimes()
        self.number = FIRST_SHARD
        self.stored_elsewhere: Callable[[], int | None] = lambda: None
        self._inserting = threading.Lock()
        self._clients = (writer, deriver, asked, *readers)
        self._writer = writer
        self._asking = threading.Lock()
        self._asked = asked
        self._idle: queue.LifoQueue[Client] = queue.LifoQueue()
        for reader in readers:
            self._idle.put(reader)

    @classmethod
    def open(
        cls,
        dsn: str,
        scratch: Path,
        clock: Clock | None = None,
        patience: float = 0,
        times: ReceiptTimes | None = None,
    ) -> EventStore:
        """Connect, and bring the schema to that of this code.

        Args:
            dsn: Of the engine, as ``chdb:///data/events`` or ``clickhouse://user:password@host:8123/database``.
            scratch: Folder for the files by which chDB takes its inserts; on the same disk as the data.
            clock: The time, for receipt times.
            patience: Seconds for which to wait for a server that can't be reached.
            times: What issues receipt times, if they are not only this store's.

        Raises:
            EngineUnreachable: The server can't be reached.
            StartupError: The store can't be opened or written, or a newer Postback wrote it.
        """
        engine = EventEngine(dsn)
        engine.check(patience)
        try:
            with ExitStack() as undo:
                writer = undo.enter_context(closing(engine.client()))
                deriver = undo.enter_context(closing(engine.client(session=True)))
                asked = undo.enter_context(closing(engine.client()))
                readers = [undo.enter_context(closing(engine.client())) for _ in range(READERS)]
                upgrade(writer, tables=engine.tables)
                undo.pop_all()
        except (ClickHouseError, OSError) as error:
            raise engine.unusable(error) from error
        if engine.embedded:
            tempfile.tempdir = str(scratch)  # chDB's client offers no other way to choose it
        store = cls(engine, writer, deriver, asked, readers)
        store.receipt_times = times or ReceiptTimes(clock=clock)
        store.receipt_times.advance(store.last_received_at())
        return store

    @property
    def version(self) -> str:
        """The engine's version, for example ``26.5.1.1``."""
        return str(self._writer.server_version)

    def close(self) -> None:
        """Close every client; the engine stops with the last one."""
        tempfile.tempdir = None
        with ExitStack() as stack:
            for client in self._clients:
                stack.callback(client.close)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let no insert be at work."""
        with self._inserting:
            yield

    def freeze(self, name: str) -> list[Path]:
        """Have the engine make hard links to the parts of every table, in its folder ``shadow/NAME``.

        Returns:
            The tables' folders.

        Raises:
            StoreUnavailable: The engine refused.
        """
        tables = self.query("tables_on_disk")
        with failures_reported(), closing(self.engine.client()) as client:
            for table, _ in tables:
                client.command(f"ALTER TABLE {table} FREEZE WITH NAME '{name}'")
        return [Path(folder) for _, folder in tables]

    def ping(self) -> bool:
        """Whether the engine answers, at any time: a client of its own asks, which waits for no insert and no read."""
        with self._asking:
            return self._asked.ping()

    def insert(self, rows: Sequence[Rows]) -> None:
        """Store rows at once: one insert a table, durable when this returns. While a server runs, its log does it.

        Rows that have no receipt times get theirs here. When it raises, some tables may hold their rows and others
        not; the same rows again complete them.

        Raises:
            InternalError: A value doesn't fit its column; nothing was stored.
            StoreUnavailable: The engine refused.
        """
        with self._inserting, self.receipt_times.on_their_way():
            received = self._received(rows)
            tables = [table for table in COLUMNS if any(part.table == table for part in received)]
            streams = [_stream(table, [part for part in received if part.table == table]) for table in tables]
            for table, (names, stream) in zip(tables, streams, strict=True):
                self._insert(table, names, stream, {"insert_deduplicate": 0})

    def insert_block(self, table: Table, rows: Sequence[Rows], token: str) -> None:
        """Store rows of one table, with their receipt times, in one insert that is durable when this returns.

        The same rows under the same token again, also after a restart, change nothing: rows collapse by their keys, and
        the engine drops what it would add to sums a second time.

        Raises:
            InternalError: A value doesn't fit its column; nothing was stored.
            StoreUnavailable: The engine refused.
        """
        with self._inserting:
            names, stream = _stream(table, rows)
            self._insert(table, names, stream, {"insert_deduplication_token": token})

    def _insert(self, table: Table, names: list[str], stream: pa.Buffer, settings: dict[str, Any]) -> None:
        with failures_reported(), unfit_rows_refused():
            self._writer.raw_insert(table, names, stream, settings=settings, fmt="ArrowStream")

    def _received(self, call: Sequence[Rows]) -> list[Rows]:
        """The rows of a call with their receipt times."""
        places = max((part.places for part in call), default=0)
        first = self.receipt_times.take(places)
        return [part.received(first, self.receipt_times.step) for part in call]

    def status(self, account_id: str, event_source_id: str, event_type: str, event_id: str) -> StoredEventStatus:
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
        copies = self.query("copies", **key)
        return StoredEventStatus(
            copies=tuple(StoredCopy(*row) for *row, _ in copies),
            stored_copies=copies[0][-1] if copies else 0,
            event=next(map(_event, self.query("accepted", **key)), None),
            tests=tuple(map(_event, self.query("accepted_tests", **key))),
            rejections=tuple(StoredRejection(*row) for row in self.query("rejected", **key)),
        )

    def activity(self, account_id: str, linked: Mapping[tuple[str, str], str] = _NO_LINKS) -> dict[str, SourceActivity]:
        """What arrived from each source of an account, by event_source_id; silent sources are absent.

        Args:
            account_id: The account.
            linked: (event_type, event_source_id) → what linked sources have in common.

        Raises:
            StoreUnavailable: The engine doesn't answer.
        """
        kinds = {"kinds": ["\n".join(kind) for kind in linked], "groups": list(linked.values())}
        repeated_orders = self._counts("same_orders", account_id=account_id, **kinds)
        siblings = self._counts("sibling_differences", account_id=account_id, **kinds) if linked else {}
        arrived = self.query("activity", account_id=account_id)
        return {
            source: SourceActivity(
                events_received_24h=accepted + rejected,
                rejected_24h=rejected,
                last_event_at=last_at,
                mean_quality_24h=quality / accepted if accepted else None,
                duplicates_24h=duplicates,
                different_24h=different,
                from_browser_24h=from_browser,
                last_minute=minute,
                repeated_orders_24h=repeated_orders.get(source, 0),
                different_siblings_24h=siblings.get(source, 0),
            )
            for source, accepted, rejected, quality, last_at, duplicates, different, from_browser, minute in arrived
        }

    def unnamed_refunds(self, account_id: str, event_source_ids: Sequence[str]) -> dict[str, int]:
        """How many refunds of the last seven days came from these sources, whose refunds no goal names.

        Raises:
            StoreUnavailable: The engine doesn't answer.
        """
        if not event_source_ids:
            return {}
        return self._counts("unnamed_refunds", account_id=account_id, event_source_ids=event_source_ids)

    def _counts(self, name: str, **parameters: object) -> dict[str, int]:
        """A number for each source, where there is something to count."""
        return {source: count for source, count in self.query(name, **parameters)}  # noqa: C416 rows are no pairs to mypy

    def matching(self, account_id: str) -> dict[str, SourceMatching]:
        """How each source's events were matched, by event_source_id; sources that no goal names are absent.

        Raises:
            StoreUnavailable: The engine doesn't answer.
        """
        return {
            source: SourceMatching(events, attributed, delay, dict(reasons))
            for source, events, attributed, delay, reasons in self.query("matching", account_id=account_id)
        }

    def last_received_at(self) -> int:
        """The newest received_at of any live event, in µs since the epoch; 0 when there is none."""
        return int(self.query("last_received_at")[0][0])

    def stored_through(self) -> datetime:
        """The time through which whatever was received is stored, UTC; what arrives from now on gets a later one.

        Raises:
            StoreUnavailable: It is not known of other servers.
        """
        own, elsewhere = self.receipt_times.stored_through(self.number), self.stored_elsewhere()
        return from_micros(own if elsewhere is None else min(own, elsewhere))

    def wait_for_inserts(self) -> None:
        """Let the server that is read have what was inserted through another one of its replicated group.

        Raises:
            StoreUnavailable: The engine doesn't answer.
        """
        if self.engine.tables is TableEngines.REPLICATED:
            with failures_reported(), self._reader() as client:
                for (table,) in client.query(_sql("replicated_tables")).result_rows:
                    client.command(f"SYSTEM SYNC REPLICA {table} LIGHTWEIGHT")

    def count(self, table: Table) -> int:
        """How many rows a table has; copies count once."""
        rows = _IDENTITIES.get(table, f"{table} FINAL")
        with failures_reported(), self._reader() as client:
            return int(client.query(f"SELECT count() FROM {rows}").result_rows[0][0])  # noqa: S608 a literal type

    def query(self, name: str, **parameters: object) -> Sequence[Sequence[Any]]:
        """The rows that the statement in ``sql/NAME.sql`` selects.

        Raises:
            StoreUnavailable: The engine doesn't answer.
        """
        with failures_reported(), self._reader() as client:
            statement, beside = fitted(client, _sql(name), parameters)
            return client.query(statement, parameters=beside).result_rows

    def execute(self, name: str, **parameters: object) -> None:
        """Run the statement in ``sql/NAME.sql``, which changes what no log writes.

        Raises:
            StoreUnavailable: The engine doesn't answer.
        """
        with self._inserting, failures_reported():
            statement, beside = fitted(self._writer, _sql(name), parameters)
            self._writer.command(statement, parameters=beside)

    @contextmanager
    def _reader(self) -> Iterator[Client]:
        client = self._idle.get()
        try:
            yield client
        finally:
            self._idle.put(client)


def _stream(table: Table, rows: Sequence[Rows]) -> tuple[list[str], pa.Buffer]:
    try:
        return arrow_stream(table, rows)
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        # Its text may quote a payload, so it goes nowhere.
        raise InternalError(f"Events could not be stored ({type(error).__name__}).") from None


@cache
def _sql(name: str) -> str:
    """The statement in ``sql/NAME.sql``."""
    return (_SQL / f"{name}.sql").read_text()


def _event(row: Sequence[Any]) -> StoredEvent:
    code, received_at, event_time, quality, warnings, name, dropped, kinds, keys = row
    return StoredEvent(
        code, received_at, event_time, quality, tuple(warnings), name, dropped, tuple(kinds), tuple(keys)
    )
