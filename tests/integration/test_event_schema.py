"""Upgrades of the event store: from every version, interrupted anywhere, and never over a newer one."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from importlib import resources
from itertools import count
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from postback.errors import StartupError
from postback.store.event_schema import MIGRATIONS, Migration, upgrade
from postback.store.table_engines import TableEngines


class Engine:
    """One engine, since a process can have only one; its databases are stores."""

    def __init__(self, folder: Path) -> None:
        self._dsn = f"chdb://{folder}"
        self._clients = [clickhouse_connect.get_client(dsn=self._dsn)]

    def client(self, database: str) -> Client:
        self._clients.append(clickhouse_connect.get_client(dsn=self._dsn, database=database))
        return self._clients[-1]

    def new_store(self) -> Client:
        name = f"store_{len(self._clients)}"
        self._clients[0].command(f"CREATE DATABASE {name}")
        return self.client(name)

    def close(self) -> None:
        for client in self._clients:
            client.close()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("events"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def fresh(engine: Engine) -> dict[str, Any]:
    """The schema of a store that this code made."""
    client = engine.new_store()
    upgrade(client)
    return schema(client)


def schema(client: Client) -> dict[str, Any]:
    """By table or view: how it is made, and its columns."""
    tables = client.query("SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()")
    columns = client.query(
        "SELECT table, name, type, default_kind, default_expression, is_in_sorting_key FROM system.columns "
        "WHERE database = currentDatabase() ORDER BY table, position"
    ).result_rows
    return {
        name: (query.replace(f"{database(client)}.", ""), [row[1:] for row in columns if row[0] == name])
        for name, query in tables.result_rows
    }


def database(client: Client) -> str:
    return str(client.query("SELECT currentDatabase()").result_rows[0][0])


def versions(client: Client) -> list[int]:
    return [row[0] for row in client.query("SELECT version FROM schema_version FINAL ORDER BY version").result_rows]


def make_unversioned(client: Client) -> None:
    """What a store has that was made before versions were recorded."""
    for statement in MIGRATIONS[0].statements:
        client.command(statement)
    for table in ("run_prior", "run_kind"):
        client.command(f"CREATE TABLE {table} (name String) ENGINE = Memory")
    client.command(
        "CREATE MATERIALIZED VIEW source_activity_of_event TO source_activity AS SELECT account_id FROM event"
    )


class KilledError(Exception):
    """Stands for a process that is killed."""


class KilledClient:
    """A client whose process is killed before one of its commands."""

    def __init__(self, client: Client, commands: int) -> None:
        self._client = client
        self._left = commands
        self.query = client.query

    def command(self, *arguments: Any, **more: Any) -> Any:
        if self._left == 0:
            raise KilledError
        self._left -= 1
        return self._client.command(*arguments, **more)


def interrupted(client: Client, commands: int) -> bool:
    """Upgrade a store and be killed after so many commands; returns False when it was done before."""
    try:
        upgrade(KilledClient(client, commands))  # type: ignore[arg-type]
    except KilledError:
        return True
    return False


@pytest.mark.parametrize("made", range(1, len(MIGRATIONS) + 1))
def test_every_version_becomes_what_a_fresh_store_is(engine: Engine, fresh: dict[str, Any], made: int) -> None:
    client = engine.new_store()
    client.command((resources.files("postback.store") / "sql/schema_version.sql").read_text())
    for migration in MIGRATIONS[:made]:
        for statement in migration.statements:
            client.command(statement)
        client.command(f"INSERT INTO schema_version (version, name) VALUES ({migration.version}, '{migration.name}')")

    upgrade(client)

    assert schema(client) == fresh
    assert versions(client) == [migration.version for migration in MIGRATIONS]


def test_a_store_without_a_version_is_upgraded_from_the_first(engine: Engine, fresh: dict[str, Any]) -> None:
    client = engine.new_store()
    make_unversioned(client)
    assert schema(client) != fresh

    upgrade(client)

    assert schema(client) == fresh


@pytest.mark.parametrize("before", [lambda client: None, make_unversioned], ids=["empty", "unversioned"])
def test_an_upgrade_that_is_killed_anywhere_is_completed(
    engine: Engine, fresh: dict[str, Any], before: Callable[[Client], None]
) -> None:
    """One store is killed before each command; each start gets one command further than the one before."""
    client = engine.new_store()
    before(client)
    kills, commands, reached = 0, 1, 0
    while interrupted(client, commands):
        kills += 1
        completed = len(versions(client))
        commands = commands + 1 if completed == reached else 1
        reached = completed
    assert schema(client) == fresh
    assert versions(client) == [migration.version for migration in MIGRATIONS]
    assert kills > sum(len(migration.statements) + 1 for migration in MIGRATIONS)


def test_the_version_is_written_last(engine: Engine) -> None:
    client = engine.new_store()
    assert interrupted(client, len(MIGRATIONS[0].statements) + 1)
    assert versions(client) == []


def test_a_second_start_writes_no_version_again(engine: Engine) -> None:
    client = engine.new_store()
    upgrade(client)
    upgrade(client)
    assert client.query("SELECT count() FROM schema_version").result_rows[0][0] == len(MIGRATIONS)


def test_a_view_of_older_code_is_replaced_and_counts_as_this_code_does(engine: Engine, fresh: dict[str, Any]) -> None:
    client = engine.new_store()
    upgrade(client)
    client.command("ALTER TABLE source_activity_of_event MODIFY QUERY SELECT account_id, 7 AS accepted FROM event")
    assert schema(client) != fresh

    upgrade(client)

    assert schema(client) == fresh
    client.command("INSERT INTO event (account_id, event_source_id, received_at) VALUES ('a', 'shop', now64(6))")
    assert client.query("SELECT sum(accepted) FROM source_activity").result_rows == [(1,)]


def test_events_that_arrive_while_views_are_replaced_are_counted_once(engine: Engine) -> None:
    client = engine.new_store()
    upgrade(client)
    writer = engine.client(database(client))
    inserted, stopping = count(), threading.Event()

    def write() -> None:
        while not stopping.is_set():
            number = next(inserted)
            writer.command(f"INSERT INTO event (account_id, event_id, received_at) VALUES ('a', '{number}', now64(6))")

    writing = threading.Thread(target=write)
    writing.start()
    for _ in range(30):
        upgrade(client)
    stopping.set()
    writing.join()

    arrived = next(inserted)
    assert arrived > 1
    assert client.query("SELECT sum(accepted) FROM source_activity").result_rows == [(arrived,)]


def test_a_newer_store_is_refused_and_left_as_it_is(engine: Engine) -> None:
    client = engine.new_store()
    upgrade(client)
    client.command("INSERT INTO schema_version (version, name) VALUES (99, 'post_of_the_future')")
    client.command("DROP VIEW source_activity_of_event")
    before = schema(client)

    with pytest.raises(
        StartupError,
        match=rf"written by a newer Postback: its schema has version 99, and this Postback knows versions up to "
        rf"{MIGRATIONS[-1].version}\. Install that version, or use another data folder\.",
    ):
        upgrade(client)

    assert schema(client) == before


def test_a_wrong_clock_lets_the_engine_delete_nothing_that_counts(fresh: dict[str, Any]) -> None:
    """It deletes by the wall clock what has a time to live: only what helps to find mistakes may have one."""
    expiring = {name for name, (made, _) in fresh.items() if " TTL " in made}
    assert expiring == {"test_event", "rejected_event", "receipt", "receipt_hour", "source_hour"}


@pytest.mark.parametrize("tables", [TableEngines.REPLICATED, TableEngines.CLOUD])
def test_what_replicated_servers_and_the_cloud_are_sent_is_known_to_the_engine(
    engine: Engine, fresh: dict[str, Any], tables: TableEngines
) -> None:
    """An engine without Keeper makes no replicated table: it parses the statements, and runs them without that word."""
    adapted = [tables.adapted(statement) for migration in MIGRATIONS for statement in migration.statements]
    store = engine.new_store()
    for statement in adapted:
        assert store.query(f"EXPLAIN AST {statement}").result_rows

    upgrade(store, [unreplicated(migration, tables) for migration in MIGRATIONS])

    created = "".join(adapted)
    assert "non_replicated" not in created
    assert ("ReplicatedAggregatingMergeTree" in created) == (tables is TableEngines.REPLICATED)
    assert not re.search(r"ENGINE = (Replacing|Aggregating)?MergeTree", created) or tables is TableEngines.CLOUD
    assert {name: columns for name, (_, columns) in schema(store).items()} == {
        name: columns for name, (_, columns) in fresh.items()
    }
    windows = store.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine_full LIKE "
        "'% replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800%' ORDER BY name"
    )
    assert [name for (name,) in windows.result_rows] == ["invalid_click", "receipt", "receipt_hour", "source_activity"]


def unreplicated(migration: Migration, tables: TableEngines) -> Migration:
    adapted = (tables.adapted(statement) for statement in migration.statements)
    return migration._replace(statements=tuple(sql.replace("ENGINE = Replicated", "ENGINE = ") for sql in adapted))
