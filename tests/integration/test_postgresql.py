"""The control data lies in PostgreSQL: the same server, with another store behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from tests.acceptance.conversions import call, order
from tests.acceptance.official import unique_key
from tests.integration.orders import CPA, SOURCES, buy, package

from postback.errors import StartupError
from postback.store.control_store import ControlStore
from postback.store.tables import METADATA

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer


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
