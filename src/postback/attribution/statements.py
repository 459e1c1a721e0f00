"""The tables that attribution derives from what was received: a client of their own, for its statements are long."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from postback.meters import Stages
from postback.store.event_engine import failures_reported, fitted

__all__ = ["DerivedStore"]

_SQL = resources.files("postback.attribution") / "sql"


class DerivedStore:
    """Runs the statements in ``attribution/sql``. Synchronous; one at a time.

    Args:
        client: Of the event store.
        stages: Where each statement is timed, by the name of its file.
        writing: Held by each statement that writes.

    Attributes:
        stages: The same.
    """

    def __init__(self, client: Client, stages: Stages, writing: threading.Lock) -> None:
        self._client = client
        self.stages = stages
        self._writing = writing

    def run(self, name: str, **parameters: object) -> None:
        """Run the statement in ``NAME.sql``; what it wrote to a table on disk is durable when this returns.

        Raises:
            StoreUnavailable: The engine refused.
        """
        with self._writing, failures_reported(name), self.stages.time(name):
            statement, beside = fitted(self._client, _statement(name), parameters)
            self._client.command(statement, parameters=beside)

    def rows(self, name: str, **parameters: object) -> Sequence[Sequence[Any]]:
        """The rows that the statement in ``NAME.sql`` selects.

        Raises:
            StoreUnavailable: The engine refused.
        """
        with failures_reported(name), self.stages.time(name):
            statement, beside = fitted(self._client, _statement(name), parameters)
            return self._client.query(statement, parameters=beside).result_rows

    def arrow(self, name: str, **parameters: object) -> pa.Table:
        """The rows that the statement in ``NAME.sql`` selects, as columns.

        Raises:
            StoreUnavailable: The engine refused.
        """
        with failures_reported(name), self.stages.time(name):
            statement, beside = fitted(self._client, _statement(name), parameters)
            return self._client.query_arrow(statement, parameters=beside)

    def value(self, name: str, **parameters: object) -> int:
        """The one number that the statement in ``NAME.sql`` selects."""
        return int(self.rows(name, **parameters)[0][0])

    def fill(self, table: str, rows: pa.Table) -> None:
        """Let a table of the run at work hold these rows only."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)
        self.empty(table)
        if len(rows):
            with self._writing, failures_reported(table):
                self._client.raw_insert(table, rows.column_names, sink.getvalue(), fmt="ArrowStream")

    def replace(self, name: str) -> None:
        """Create the temporary table or view of ``scratch/NAME.sql`` anew; this store's client alone has it.

        Raises:
            StoreUnavailable: The engine refused.
        """
        with self._writing, failures_reported(name):
            self._client.command(f"DROP TABLE IF EXISTS {name}")
            self._client.command(_statement(f"scratch/{name}"))

    def empty(self, *tables: str) -> None:
        """Let tables hold nothing."""
        for table in tables:
            with self._writing, failures_reported(table):
                self._client.command(f"TRUNCATE TABLE {table}")


@cache
def _statement(name: str) -> str:
    return (_SQL / f"{name}.sql").read_text()
