"""An installation for chaos: several servers on two shards and one PostgreSQL, each behind a proxy that can fail."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import create_engine, make_url, select
from tests.acceptance.test_closed_loop import SOURCE, bought
from tests.clickhouse_server import ClickHouseServer
from tests.conftest import Server, StartServer, free_port, servers
from tests.fault_proxy import FaultProxy
from tests.integration.conftest import postgresql_databases
from tests.integration.moves import Move
from tests.integration.upstream import Upstream, upstream

from postback.store.tables import placement

__all__ = ["SOURCE_ID", "Campaign", "Cluster", "Prefix", "faketime", "running_cluster", "with_clock"]

SOURCE_ID = str(SOURCE["event_source_id"])

_SERVERS = 3
_SHARDS = 2
_FAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"


Prefix = tuple[str, ...]


class Campaign(NamedTuple):
    """An account, and what was bought for it.

    Attributes:
        key: An API key of the account.
    """

    account_id: str
    key: str
    media_buy_id: str
    package_id: str


class Cluster:
    """Servers that started at once, with an account on each shard; events of the first are forwarded.

    Args:
        start: Starts a server.
        control: A new database of PostgreSQL, whose server listens on a socket in the file system.
        clickhouse: Which nobody else uses, for it is killed.
        receiver: Where events are forwarded to.
        folder: For the seller's file, and what moves of accounts print.
        prefix: What the servers are started under.

    Attributes:
        servers: Where calls go, in turn; a new list whenever one comes or goes.
        control: PostgreSQL itself.
        clickhouse: The server that has the databases of both shards.
        events: The shards themselves.
        postgresql: The proxy before PostgreSQL.
        shards: The proxies before the shards.
        campaigns: One on each shard.
        places: Which of the shards has an account, from 0 on.
    """

    def __init__(
        self,
        start: StartServer,
        control: str,
        clickhouse: ClickHouseServer,
        receiver: Upstream,
        folder: Path,
        prefix: Prefix = (),
    ) -> None:
        url = make_url(control)
        self.control = control
        self.clickhouse = clickhouse
        self.postgresql = FaultProxy(free_port(), Path(str(url.query["host"])) / ".s.PGSQL.5432")
        self.shards = [FaultProxy(free_port(), clickhouse.port) for _ in range(_SHARDS)]
        behind = [clickhouse.new_database(port=proxy.port) for proxy in self.shards]
        self.events = [
            url.replace(f":{proxy.port}/", f":{clickhouse.port}/")
            for url, proxy in zip(behind, self.shards, strict=True)
        ]
        config = folder / "seller.toml"
        config.write_text(receiver.seller_config(SOURCE_ID))
        self._settings = {
            "control": f"postgresql://postgres:@127.0.0.1:{self.postgresql.port}/{url.database}",
            "events": behind[0],
            "secret": secrets.token_hex(32),
            "seller_config": str(config),
        }
        self._folder = folder
        self._start = start
        with ThreadPoolExecutor(_SERVERS) as pool:
            self.servers = list(pool.map(partial(self._started, prefix), [free_port() for _ in range(_SERVERS)]))
        self._prefixes = dict.fromkeys((server.data for server in self.servers), prefix)
        self.campaigns = [self._campaign("default"), self._on_another_shard(behind[1])]
        self.places = {campaign.account_id: shard for shard, campaign in enumerate(self.campaigns)}
        self._control = create_engine(control)

    def close(self) -> None:
        """Close the proxies."""
        self._control.dispose()
        for proxy in (self.postgresql, *self.shards):
            proxy.close()

    def add(self) -> Server:
        """Start one more server."""
        server = self._started((), free_port())
        self.servers = [*self.servers, server]
        return server

    def restart(self, server: Server, prefix: Prefix | None = None) -> Server:
        """Start a server again that was killed or stopped.

        Args:
            prefix: What it is started under from now on; by default what it was started under before.
        """
        known = self._prefixes.get(server.data, ()) if prefix is None else prefix
        self._prefixes[server.data] = known
        again = self._started(known, int(server.url.rpartition(":")[2]), server.data)
        self.servers = [again if each.data == server.data else each for each in self.servers]
        return again

    def remove(self, server: Server) -> None:
        """Send no more calls to a server."""
        self.servers = [each for each in self.servers if each.data != server.data]

    def move(self, account_id: str, shard: int) -> Move:
        """Begin to move an account to the shard with this place in ``shards``."""
        log = self._folder / f"move-{secrets.token_hex(4)}"
        settings = self._settings | {"data": str(self.servers[0].data)}
        return Move(log, account_id, str(shard + 1), command=("accounts", "move"), **settings)

    def has_moved(self, account_id: str, shard: int) -> bool:
        """Move an account as far as it gets; returns whether all of it is there."""
        if f"is on shard {shard + 1}" not in self.command("accounts", "move", account_id, str(shard + 1)):
            return False
        self.places[account_id] = shard
        return True

    def phase(self) -> str | None:
        """How far the account has come that is on its way; asked of PostgreSQL itself."""
        with self._control.connect() as connection:
            phase: str | None = connection.scalar(select(placement.c.phase).where(placement.c.phase.is_not(None)))
        return phase

    def command(self, *arguments: str) -> str:
        """Everything that a command prints, which reaches the databases as servers do."""
        environ = os.environ | {f"POSTBACK_{name.upper()}": value for name, value in self._settings.items()}
        server = self.servers[0]
        prefix = self._prefixes.get(server.data, ())
        command = [*prefix, sys.executable, "-m", "postback", *arguments, "--data", str(server.data)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def _started(self, prefix: Prefix, port: int, data: Path | None = None) -> Server:
        place = {"data": data} if data else {}
        return self._start(*prefix, **self._settings, **place, port=port, sandbox="true", validation_workers=0)

    def _on_another_shard(self, url: str) -> Campaign:
        added = self.command("shards", "add", f"clickhouse://{url.rpartition('@')[2]}")
        assert "Shard 2 is added" in added, added
        self.command("accounts", "create", "far", "--sandbox")
        key = self.command("keys", "create", "--account", "far", "--scope", "both").splitlines()[0]
        return self._campaign("far", key)

    def _campaign(self, account_id: str, key: str = "") -> Campaign:
        server = replace(self.servers[0], key=key or self.servers[0].key)
        server.call("sync_event_sources", event_sources=[SOURCE]).raise_for_status()
        media_buy_id, packages = bought(server, packages=1, account_id=account_id)
        return Campaign(account_id, server.key, media_buy_id, packages[0])


@contextmanager
def running_cluster(folder: Path, prefix: Prefix = ()) -> Iterator[tuple[Cluster, Upstream]]:
    """A cluster whose servers are started under ``prefix``, and where it forwards to; it ends with the block."""
    with (
        _clickhouse() as clickhouse,
        upstream() as receiver,
        postgresql_databases() as new_postgresql,
        servers(lambda: Path(tempfile.mkdtemp(prefix="server-", dir=folder))) as start,
        closing(Cluster(start, new_postgresql(), clickhouse, receiver, folder, prefix)) as cluster,
    ):
        yield cluster, receiver


@contextmanager
def _clickhouse() -> Iterator[ClickHouseServer]:
    server = ClickHouseServer(free_port())
    try:
        yield server
    finally:
        server.stop()


def faketime() -> Path | None:
    """Debian's library that shows a process another time; None where it isn't installed."""
    return next(Path("/").glob(_FAKETIME.removeprefix("/")), None)


def with_clock(ahead: int) -> Prefix:
    """What starts a server whose wall clock is ahead by so many seconds; what passes is the same."""
    return ("env", f"LD_PRELOAD={faketime()}", f"FAKETIME={ahead:+}s", "DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1")
