"""The engines of tables, by what keeps them: one ClickHouse, a replicated group of servers, or ClickHouse Cloud.

Migrations are written for one ClickHouse. Elsewhere a few words of a statement differ, and a few settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Self

__all__ = ["TableEngines"]

_ENGINE = re.compile(r"(?<=ENGINE = )(?=\w*MergeTree\b)")
_WINDOW = re.compile(r"\bnon_replicated_deduplication_window = (\d+)")

_REMEMBERED = "replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800"
"""The tokens of inserts. An insert is repeated when a store is back: a week is longer than an outage."""


class TableEngines(Enum):
    """What keeps the tables of a database.

    In a ``Replicated`` database a statement that changes the schema runs on every server, and a table names no path of
    its own. An insert is on a majority of the servers when it is answered. ClickHouse Cloud puts its own engines in
    place of those that are named, and has every insert on shared storage; a read asks what was inserted elsewhere.
    """

    PLAIN = "Atomic"
    REPLICATED = "Replicated"
    CLOUD = "Shared"

    @classmethod
    def of(cls, database_engine: str, *, cloud: bool) -> Self:
        """What keeps the tables of a database.

        Args:
            database_engine: Its engine.
            cloud: Whether ClickHouse Cloud has it.

        Raises:
            ValueError: Nothing that Postback knows.
        """
        return cls("Shared" if cloud else database_engine)

    @property
    def settings(self) -> dict[str, str | int]:
        """What each statement is sent with."""
        return _SETTINGS[self]

    @property
    def grants(self) -> tuple[str, ...]:
        """What a user needs beside what they do with rows; ``{database}`` is the database's name."""
        if self is TableEngines.CLOUD:
            return ()
        prefix = "Replicated" if self is TableEngines.REPLICATED else ""
        engines = (
            f"TABLE ENGINE ON {prefix}{name}" for name in ("MergeTree", "ReplacingMergeTree", "AggregatingMergeTree")
        )
        syncing = ("SYSTEM SYNC REPLICA ON {database}.*",) if self is TableEngines.REPLICATED else ()
        return (*engines, "TABLE ENGINE ON Memory", *syncing)

    def adapted(self, statement: str) -> str:
        """A statement of a migration, as it is here."""
        if self is TableEngines.PLAIN:
            return statement
        statement = _WINDOW.sub(
            lambda found: _REMEMBERED if int(found[1]) else "replicated_deduplication_window = 0", statement
        )
        return _ENGINE.sub("Replicated", statement) if self is TableEngines.REPLICATED else statement


_SETTINGS: Mapping[TableEngines, dict[str, str | int]] = {
    TableEngines.PLAIN: {},
    TableEngines.REPLICATED: {
        "distributed_ddl_output_mode": "none_only_active",  # a server that is away follows when it is back
        "insert_quorum": "auto",
        "insert_quorum_parallel": 1,  # else an insert fails while another one into the same table is at work
        "insert_quorum_timeout": 30_000,
    },
    TableEngines.CLOUD: {"select_sequential_consistency": 1},
}
