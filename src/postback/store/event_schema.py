"""The schema of the event store: numbered migrations, each run once, and views that every start replaces.

A migration is a file ``sql/migrations/NNN_pre_NAME.sql`` or ``NNN_post_NAME.sql``, whose statements end with ``;`` at
the end of a line. *pre* only adds: servers of the release before work on beside it, so they can be replaced one by one.
*post* removes what the running release no longer uses; where servers share a store it comes one release after the code
that stopped using it.

Every statement can be repeated (IF EXISTS, IF NOT EXISTS, MODIFY SETTING) and the version is written last, so that the
next start completes a migration that was interrupted anywhere. A migration that was released never changes again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from postback.errors import StartupError
from postback.store.table_engines import TableEngines

__all__ = ["MIGRATIONS", "Migration", "drop_materialized_views", "upgrade"]

_SQL = resources.files("postback.store") / "sql"
_FILE_NAME = re.compile(r"(?P<version>\d{3})_(?P<name>(pre|post)_[a-z_]+)\.sql")


class Migration(NamedTuple):
    """One step of the schema.

    Attributes:
        version: The schema's version once it is complete; from 1.
        name: What it does.
        statements: Its SQL, in order.
    """

    version: int
    name: str
    statements: tuple[str, ...]


def _read_migrations() -> tuple[Migration, ...]:
    found = []
    for file in (_SQL / "migrations").iterdir():
        named = _FILE_NAME.fullmatch(file.name)
        if named is None:
            raise ValueError(f"{file.name} is not the name of a migration, for example 003_pre_add_a_column.sql.")
        statements = (statement.strip() for statement in file.read_text().split(";\n"))
        found.append(Migration(int(named["version"]), named["name"], tuple(filter(None, statements))))
    return tuple(sorted(found))


MIGRATIONS = _read_migrations()
"""Every migration, in order."""


def upgrade(
    client: Client, migrations: Sequence[Migration] = MIGRATIONS, tables: TableEngines = TableEngines.PLAIN
) -> None:
    """Bring a store to the schema of this code, whether it is empty, older, or interrupted in an upgrade.

    A store that was made before versions were recorded has none, so it begins with the first migration, which finds
    its tables there.

    Raises:
        StartupError: A newer Postback wrote the store.
        ClickHouseError: A statement failed; the next call completes what was begun.
    """
    client.command(tables.adapted((_SQL / "schema_version.sql").read_text()))
    version = int(client.query("SELECT max(version) FROM schema_version").result_rows[0][0])
    if version > migrations[-1].version:
        raise StartupError(
            f"The event store was written by a newer Postback: its schema has version {version}, and this Postback "
            f"knows versions up to {migrations[-1].version}. Install that version, or use another data folder."
        )
    for migration in (migration for migration in migrations if migration.version > version):
        for statement in migration.statements:
            client.command(tables.adapted(statement))
        client.command(
            "INSERT INTO schema_version (version, name) VALUES ({version:UInt32}, {name:String})",
            parameters={"version": migration.version, "name": migration.name},
        )
    _replace_materialized_views(client)


def drop_materialized_views(client: Client) -> None:
    """Have nothing added to sums by what is inserted, until the next ``upgrade``."""
    for file in (_SQL / "materialized_views").iterdir():
        client.command(f"DROP VIEW IF EXISTS {file.name.removesuffix('.sql')}")


def _replace_materialized_views(client: Client) -> None:
    """Let them be those of this code. They are altered, not dropped: rows that arrive meanwhile are counted.

    A new one is altered too: the engine names what a view inserts differently until its first ALTER, and an insert
    repeated after that ALTER would be added to the view's sums again.
    """
    for file in sorted((_SQL / "materialized_views").iterdir(), key=lambda file: file.name):
        create, name = file.read_text(), file.name.removesuffix(".sql")
        query = create.partition(" AS\n")[2]
        client.command(create)
        client.command(f"ALTER TABLE {name} MODIFY QUERY {query}")
