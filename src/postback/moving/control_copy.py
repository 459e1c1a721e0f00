"""Copying control data from one database to another: all tables, in one transaction, each compared before it ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Table, delete, insert, select

from postback.errors import StartupError
from postback.store.control_store import ControlStore
from postback.store.tables import METADATA, account, commit_count, installation, lease, node, signature_nonce

__all__ = ["CONTROL_TABLES", "LEFT_BEHIND", "copy_control", "holds_nothing"]

LEFT_BEHIND = frozenset((commit_count, lease, node, signature_nonce))
"""What belongs to a database and to the servers that use it now."""

CONTROL_TABLES = tuple(table for table in METADATA.sorted_tables if table not in LEFT_BEHIND)
"""Each after those that it refers to."""

_AT_ONCE = 1_000


class _Content(NamedTuple):
    rows: int
    checksum: int


def holds_nothing(control: ControlStore) -> bool:
    """Whether no installation uses a database."""
    with control.connect() as connection:
        return all(connection.execute(select(table).limit(1)).first() is None for table in (account, installation))


def copy_control(source: ControlStore, target: ControlStore) -> int:
    """Copy all control data into a database that no installation uses; everything or nothing.

    Returns:
        How many rows there are.

    Raises:
        StartupError: What has arrived is not what was sent; nothing was stored.
        StoreUnavailable: A database failed; nothing was stored.
    """
    total = 0
    with source.connect(seconds=None) as reading, target.begin(seconds=None) as writing:
        for table in reversed(CONTROL_TABLES):
            writing.execute(delete(table))
        for table in CONTROL_TABLES:
            sent = _content(_inserted(writing, table, _blocks(reading, table)))
            if sent != _content(_blocks(writing, table)):
                raise StartupError(
                    f"The table {table.name} of the control store arrived otherwise than it was sent. Nothing was "
                    "changed. Please report it."
                )
            total += sent.rows
    return total


def _blocks(connection: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    found = connection.execute(select(table), execution_options={"yield_per": _AT_ONCE})
    for block in found.partitions():
        yield [_as_moved(table, row) for row in block]


def _as_moved(table: Table, row: Row[Any]) -> dict[str, Any]:
    """A row as it is in the new place, which has not been left for another."""
    return dict(row._mapping) | ({"moved_to": None} if table is installation else {})


def _inserted(
    connection: Connection, table: Table, blocks: Iterable[list[dict[str, Any]]]
) -> Iterator[list[dict[str, Any]]]:
    for block in blocks:
        connection.execute(insert(table), block)
        yield block


def _content(blocks: Iterable[list[dict[str, Any]]]) -> _Content:
    """What rows there are, in whatever order."""
    rows, checksum = 0, 0
    for block in blocks:
        rows += len(block)
        checksum += sum(map(_hash, block))
    return _Content(rows, checksum % 2**64)


def _hash(row: dict[str, Any]) -> int:
    return int.from_bytes(blake2b(repr(sorted(row.items())).encode(), digest_size=8).digest())
