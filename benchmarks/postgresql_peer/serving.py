"""Starts the peer: a PostgreSQL 18 with a folder of its own, and uvicorn with a worker a core."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.postgresql import postgresql
from benchmarks.processes import Endpoint, free_port, running

__all__ = ["Peer", "serving_peer"]

_TABLES = """
CREATE TABLE event (
    event_source_id text COLLATE "C" NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    event_time timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    action_source text,
    event_source_url text,
    custom_event_name text,
    value numeric,
    currency text,
    user_match json,
    custom_data json,
    PRIMARY KEY (event_source_id, event_type, event_id)
);
CREATE TABLE answer (
    idempotency_key text COLLATE "C" PRIMARY KEY,
    digest bytea NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer(Endpoint):
    """The running peer; ``database`` is the URL of its database."""

    database: str

    def stored_events(self) -> int:
        """Distinct events in its database."""
        with psycopg.connect(self.database) as connection:
            [stored] = connection.execute("SELECT count(*) FROM event").fetchone() or [0]
        return int(stored)

    def version(self) -> str:
        """The version of PostgreSQL."""
        with psycopg.connect(self.database) as connection:
            [version] = connection.execute("SHOW server_version").fetchone() or ["unknown"]
        return str(version)


@contextmanager
def serving_peer(folder: Path) -> Iterator[Peer]:
    """Serve until the block is left, from a database that is made anew unless ``folder`` has it."""
    made = not (folder / "database").exists()
    with postgresql(folder / "database") as (postmaster, url):
        if made:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(_TABLES)
        port = free_port()
        workers = ["--workers", str(os.cpu_count() or 1)]
        quiet = ["--no-access-log", "--no-server-header", "--log-level", "warning"]
        app = "benchmarks.postgresql_peer.app:app"
        command = [sys.executable, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port), *workers, *quiet]
        environ = os.environ | {"PEER_DATABASE": url}
        with running(command, folder / "peer.log", f"http://127.0.0.1:{port}/healthz", environ) as process:
            yield Peer(port=port, pids=[process.pid, postmaster], database=url)
