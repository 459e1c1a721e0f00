"""Copying one table of events from one engine to another, until both have the same rows.

Nothing notes how far a copy has come: the rows that have arrived show it. So it can be cut short anywhere, and goes on
with whatever is missing. Rows are first appended in the order of the table's key, after the last key that has arrived.
What differs then, because rows came or changed meanwhile, is found by a checksum of every slice, and copied again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from postback.errors import StartupError
from postback.moving.event_tables import EventTable
from postback.store.event_engine import reason

__all__ = ["CopiedTable", "TableCopy"]

_BLOCK_BYTES = 32 << 20
"""A block of rows takes about so much memory."""

_FIRST_ROWS, _MOST_ROWS = 20_000, 500_000
_RANGES = 500
"""Stretches of time that one statement names."""

_TRIES = 4
_SOON_SECONDS = 3600
"""Rows that the engine deletes within an hour may be gone in one place and not yet in the other."""

_INSERT = {"insert_deduplicate": 0, "max_partitions_per_insert_block": 0}
"""The engine must not drop a block because it had the same one before it was deleted."""


class CopiedTable(NamedTuple):
    """A table that is equal in both places.

    Attributes:
        name: Its name.
        rows: How many rows it has, copies aside.
        checksum: Of all of them.
        copied: How many rows were copied for that.
    """

    name: str
    rows: int
    checksum: int
    copied: int


class _Slice(NamedTuple):
    rows: int
    checksum: int


_NOTHING = _Slice(0, 0)


class _Difference(NamedTuple):
    """A stretch of slices that all differ, with the rows that they have in both places."""

    first: int
    last: int
    source_rows: int
    target_rows: int


class TableCopy:
    """The copy of one table. Synchronous.

    Args:
        table: The table, which both engines have in the same form.
        source: Where it is copied from; rows may arrive there meanwhile.
        target: Where it is copied to; nobody else uses it.
        at: The time, in seconds since the epoch: rows that the engine no longer keeps then are left out.
        note: Called with each number of rows that were copied.
        where: As SQL, which rows of the table are meant, in both places.
        check: Called before each write; raises if this copy must not write any more.
    """

    def __init__(
        self,
        table: EventTable,
        source: Client,
        target: Client,
        at: int,
        note: Callable[[int], None] = lambda _: None,
        where: str = "true",
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._table = table
        self._source = source
        self._target = target
        self._at = at
        self._note = note
        self._where = where
        self._check = check
        with _failures_named(table, "source"):
            columns = source.query(
                "SELECT name, type, default_kind IN ('ALIAS', 'MATERIALIZED') FROM system.columns "
                "WHERE database = currentDatabase() AND table = {table:String} ORDER BY position",
                parameters={"table": table.name},
            ).result_rows
            [[engine, key]] = source.query(
                "SELECT engine, sorting_key FROM system.tables "
                "WHERE database = currentDatabase() AND name = {table:String}",
                parameters={"table": table.name},
            ).result_rows
        self._types = {name: kind for name, kind, _ in columns}
        self._columns = [name for name, _, computed in columns if not computed]
        self._key = key.split(", ")
        kind = engine.removeprefix("Replicated").removeprefix("Shared")
        self._replaces = kind == "ReplacingMergeTree"
        self._rows = table.name if kind == "MergeTree" else f"{table.name} FINAL"
        self._block_rows = _FIRST_ROWS
        self._copied = 0

    def make_equal(self) -> CopiedTable:
        """Copy what the target lacks, and delete what the source doesn't have.

        Raises:
            StartupError: An engine failed, or the table changes too fast to be copied.
        """
        self._append()
        for attempt in range(_TRIES):
            source, target = self._slices(self._source, attempt), self._slices(self._target, attempt)
            differences = _differences(source, target)
            if not differences:
                total = sum(found.rows for found in source.values())
                checksum = sum(found.checksum for found in source.values()) % 2**64
                return CopiedTable(self._table.name, total, checksum, self._copied)
            self._replace(differences, clean=attempt > 0 or not self._replaces)
        raise StartupError(
            f"The table {self._table.name} is still not the same in both places: something else writes to one of them. "
            "End it, and run the command again."
        )

    def append_and_replace(self) -> int:
        """Copy what the target lacks now, while more arrives at the source.

        Returns:
            How many rows were copied.

        Raises:
            StartupError: An engine failed.
        """
        self._append()
        differences = _differences(self._slices(self._source, 0), self._slices(self._target, 0))
        self._replace(differences, clean=not self._replaces)
        return self._copied

    def _append(self) -> None:
        """Copy the rows whose keys come after all that the target has."""
        last = self._last_key()
        while True:
            self._copy(f"{self._after(last)} ORDER BY {', '.join(self._key)} LIMIT {self._block_rows}")
            before, last = last, self._last_key()
            if last == before:
                return

    def _last_key(self) -> Sequence[str]:
        """The greatest key that the target has, as hexadecimal digits of what each column is as text."""
        texts = ", ".join(f"hex(toString({column}))" for column in self._key)
        order = ", ".join(f"{column} DESC" for column in self._key)
        with _failures_named(self._table, "target"):
            found = self._target.query(
                f"SELECT {texts} FROM {self._table.name} WHERE {self._where} ORDER BY {order} LIMIT 1"  # noqa: S608
            ).result_rows
        return found[0] if found else ()

    def _after(self, key: Sequence[str]) -> str:
        """As SQL, whether a row comes after a key; nested, for the engine finds its place in the table by that."""
        condition = "false" if key else "true"
        for column, digits in reversed(list(zip(self._key, key, strict=False))):
            value = f"CAST(unhex('{digits}') AS {self._types[column]})"
            condition = f"({column} > {value} OR ({column} = {value} AND {condition}))"
        return condition

    def _slices(self, client: Client, attempt: int) -> dict[int, _Slice]:
        """What a place has in each slice; later attempts leave out what the engine is about to delete."""
        at = self._at + _SOON_SECONDS * min(attempt, 1)
        values = ", ".join(self._hashed(column) for column in self._columns)
        statement = (
            f"SELECT {self._table.slice} AS slice, count(), sum(cityHash64({values})) FROM {self._rows} "  # noqa: S608
            f"WHERE {self._where} AND {self._table.kept(at)} GROUP BY slice"
        )
        with _failures_named(self._table, "source" if client is self._source else "target"):
            return {slice_: _Slice(rows, checksum) for slice_, rows, checksum in client.query(statement).result_rows}

    def _hashed(self, column: str) -> str:
        """What of a column goes into the checksum: the hash of NULL would be NULL."""
        if not self._types[column].startswith("Nullable"):
            return column
        return f"isNull({column}), ifNull(toString({column}), '')"

    def _replace(self, differences: Sequence[_Difference], *, clean: bool) -> None:
        """Copy slices; ``clean``: what the target has of them is deleted first."""
        for number in range(0, len(differences), _RANGES):
            several = differences[number : number + _RANGES]
            ranges = (f"{self._table.slice} BETWEEN {found.first} AND {found.last}" for found in several)
            condition = f"({' OR '.join(ranges)})"
            if clean and any(found.target_rows for found in several):
                self._check()
                with _failures_named(self._table, "target"):
                    self._target.command(f"DELETE FROM {self._table.name} WHERE {self._where} AND {condition}")  # noqa: S608
            parts = -(-sum(found.source_rows for found in several) // self._block_rows)
            for part in range(parts):
                self._copy(f"{condition} AND cityHash64({', '.join(self._key)}) % {parts} = {part}")

    def _copy(self, condition: str) -> None:
        """Copy the rows that fit a condition, in one block."""
        columns = ", ".join(self._columns)
        rows = f"{self._rows} WHERE {self._where} AND {self._table.kept(self._at)} AND {condition}"
        statement = f"SELECT {columns} FROM {rows}"  # noqa: S608
        with _failures_named(self._table, "source"):
            block = self._source.raw_query(statement, fmt="Native")
        if not block:
            return
        self._check()
        with _failures_named(self._table, "target"):
            summary = self._target.raw_insert(self._table.name, self._columns, block, settings=_INSERT, fmt="Native")
        written = summary.written_rows
        self._copied += written
        self._note(written)
        if written:
            self._block_rows = max(1_000, min(_MOST_ROWS, written * _BLOCK_BYTES // len(block)))


def _differences(source: dict[int, _Slice], target: dict[int, _Slice]) -> list[_Difference]:
    """The slices that differ; those with none between them that is equal are one stretch."""
    found: list[_Difference] = []
    adjoining = False
    for place in sorted(source.keys() | target.keys()):
        here, there = source.get(place, _NOTHING), target.get(place, _NOTHING)
        if here == there:
            adjoining = False
            continue
        if adjoining:
            first, _, source_rows, target_rows = found.pop()
            found.append(_Difference(first, place, source_rows + here.rows, target_rows + there.rows))
        else:
            found.append(_Difference(place, place, here.rows, there.rows))
        adjoining = True
    return found


@contextmanager
def _failures_named(table: EventTable, place: str) -> Iterator[None]:
    try:
        yield
    except (ClickHouseError, OSError) as error:
        raise StartupError(
            f"The table {table.name} can't be copied: the {place} of the move failed ({reason(error)}). Nothing is "
            "lost. Run the command again: it goes on where it was."
        ) from error
