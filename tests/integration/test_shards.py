"""Accounts on two shards: one that is away keeps what is its own waiting, and nothing else."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.acceptance.conversions import call, log, order
from tests.acceptance.official import unique_key
from tests.acceptance.test_closed_loop import SOURCE, bought, exposure, person, report
from tests.conftest import HTTP, eventually, free_port
from tests.fault_proxy import Fault, FaultProxy

if TYPE_CHECKING:
    from tests.clickhouse_server import ClickHouseServer
    from tests.conftest import Server, StartServer


class Cluster(NamedTuple):
    """Two servers on one PostgreSQL and two shards, the second of which they reach by a proxy.

    Attributes:
        start: Starts a server.
        near: Both servers, with the key of an account on the first shard.
        far: The same, with that of an account on the second.
        proxy: Before the second shard.
        databases: Of the shards.
        clickhouse: The server that has them.
        environ: What commands are told.
    """

    start: StartServer
    near: list[Server]
    far: list[Server]
    proxy: FaultProxy
    databases: list[str]
    clickhouse: ClickHouseServer
    environ: dict[str, str]

    def command(self, *arguments: str) -> str:
        """Everything that a command prints."""
        return _command(self.near[0], self.environ, *arguments)

    def stored(self, shard: int, account_id: str) -> int:
        """How many events of an account a shard has."""
        query = f"SELECT count() FROM event FINAL WHERE account_id = '{account_id}'"
        return int(self.clickhouse.execute(query, self.databases[shard - 1]))


def _command(server: Server, environ: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "postback", *arguments, "--data", str(server.data)]
    done = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def cluster(
    start_server: StartServer, new_postgresql: Callable[[], str], clickhouse: ClickHouseServer
) -> Iterator[Cluster]:
    proxy = FaultProxy(free_port(), clickhouse.port)
    control, first, second = new_postgresql(), clickhouse.new_database(), clickhouse.new_database(port=proxy.port)
    shared = {"control": control, "events": first, "secret": secrets.token_hex(32)}
    start = partial(start_server, **shared, sandbox="true", validation_workers=0)
    near = [start(), start()]
    environ = {f"POSTBACK_{name.upper()}": value for name, value in shared.items()}
    added = _command(near[0], environ, "shards", "add", f"clickhouse://{second.rpartition('@')[2]}")
    assert "Shard 2 is added" in added
    _command(near[0], environ, "accounts", "create", "far", "--sandbox")
    key = _command(near[0], environ, "keys", "create", "--account", "far", "--scope", "both").splitlines()[0]
    far = [replace(server, key=key) for server in near]
    for servers in (near, far):
        servers[0].call("sync_event_sources", event_sources=[SOURCE]).raise_for_status()
    databases = [url.rpartition("/")[2] for url in (first, second)]
    yield Cluster(start, near, far, proxy, databases, clickhouse, environ)
    proxy.close()


def sell(server: Server, buy: tuple[str, list[str]]) -> None:
    """Have somebody click and buy; both calls are acknowledged."""
    name = unique_key()
    report(server, exposure(name, buy, user_match=person(name)))
    log(server, "shop", order(name, user_match=person(name)))


def conversions(server: Server, buy: tuple[str, list[str]]) -> int | None:
    """How many conversions a server reports; None if it can't."""
    answer = call(server, "rest", "get_media_buy_delivery", {"media_buy_ids": [buy[0]]})
    if "adcp_error" in answer:
        assert answer["adcp_error"]["code"] == "SERVICE_UNAVAILABLE"
        return None
    return int(answer["media_buy_deliveries"][0]["totals"].get("conversions", 0))


def has(server: Server, buy: tuple[str, list[str]], count: int | None) -> bool:
    """Whether a server reports so many conversions."""
    return conversions(server, buy) == count


def test_a_shard_that_is_away_holds_up_its_own_accounts_only_and_has_all_once_when_it_is_back(cluster: Cluster) -> None:
    near, far = bought(cluster.near[0]), bought(cluster.far[1], account_id="far")
    for number in range(2):
        sell(cluster.near[number], near)
        sell(cluster.far[number], far)
    for number in range(2):
        eventually(partial(has, cluster.near[number], near, 2), "the near orders")
        eventually(partial(has, cluster.far[number], far, 2), "the far orders")
    assert (cluster.stored(1, "far"), cluster.stored(2, "far")) == (0, 2)
    assert (cluster.stored(1, "default"), cluster.stored(2, "default")) == (2, 0)

    with cluster.proxy.failing(Fault("refuse")):
        for number in range(2):
            sell(cluster.far[number], far)
            sell(cluster.near[number], near)
        for number in range(2):
            eventually(partial(has, cluster.near[number], near, 4), "the near orders")
            eventually(partial(has, cluster.far[number], far, None), "that the far ones wait")
        ready = HTTP.get(f"{cluster.near[0].url}/readyz")
        assert ready.status_code == 200
        assert "Shard 2 of ClickHouse" in ready.json()["warning"]
        waits = 'postback_shard_backlog_events{shard="2"}'
        eventually(lambda: f"{waits} 2.0" in HTTP.get(f"{cluster.near[0].url}/metrics").text, "the backlog's metric")
        cluster.near[0].stop()
        again = cluster.start(data=cluster.near[0].data)  # starts although the shard is away
        cluster.near[0], cluster.far[0] = again, replace(again, key=cluster.far[0].key)
        sell(cluster.far[0], far)
        sell(cluster.near[0], near)
        eventually(partial(has, cluster.near[0], near, 5), "the near order after the start")
        assert conversions(cluster.far[0], far) is None
        assert cluster.proxy.hits

    for number in range(2):
        eventually(partial(has, cluster.far[number], far, 5), "the far orders")
        assert conversions(cluster.near[number], near) == 5
    assert (cluster.stored(1, "far"), cluster.stored(2, "far")) == (0, 5)
    eventually(lambda: "warning" not in HTTP.get(f"{cluster.near[0].url}/readyz").json(), "that all is well")


def test_a_shard_that_keeps_still_is_not_waited_for(cluster: Cluster) -> None:
    near, far = bought(cluster.near[0]), bought(cluster.far[0], account_id="far")

    with cluster.proxy.failing(Fault("freeze")):
        sell(cluster.far[0], far)
        sell(cluster.near[0], near)
        eventually(partial(has, cluster.near[0], near, 1), "the near order")
        assert cluster.proxy.hits

    eventually(partial(has, cluster.far[0], far, 1), "the far order")


def test_accounts_are_placed_where_there_are_fewest_and_never_on_a_shard_that_is_drained(cluster: Cluster) -> None:
    assert "names a user or a password" in cluster.command("shards", "add", "clickhouse://me:secret@elsewhere/postback")
    assert "is shard 1 already" in cluster.command(
        "shards", "add", f"clickhouse://127.0.0.1:{cluster.clickhouse.port}/{cluster.databases[0]}"
    )
    foreign = cluster.command(
        "shards", "add", f"clickhouse://127.0.0.1:{cluster.clickhouse.port}/{cluster.databases[1]}"
    )
    assert "begins with an empty database" in foreign
    assert "There is no shard 7" in cluster.command("shards", "drain", "7")

    def counts() -> list[int]:
        lines = cluster.command("shards", "list").splitlines()[1:]
        return [int(line.split()[3]) for line in lines]

    before = counts()
    cluster.command("accounts", "create", "fewest")
    fewest = counts()
    cluster.command("shards", "drain", "2")
    assert "No other shard than 1" in cluster.command("shards", "drain", "1")
    for name in ("one", "two", "three"):
        cluster.command("accounts", "create", name)
    after = counts()

    least = before.index(min(before))
    assert fewest == [count + (number == least) for number, count in enumerate(before)]
    assert after == [fewest[0] + 3, fewest[1]]
    assert "draining" in cluster.command("shards", "list")
