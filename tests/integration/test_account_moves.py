"""An account moves to another shard under load, and back, and what moves it or stores events is killed meanwhile.

Nothing is lost, or counted twice.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, create_engine, text
from tests.conftest import eventually
from tests.faults.buyers import EVENTS, Buyers
from tests.faults.kills import kill_during, suspended_during, waiting_in_log
from tests.integration.moves import (
    CLICKS,
    Move,
    batch,
    check_ledger,
    click,
    has_rows,
    health,
    is_reported,
    report,
    sell,
)

from postback.cli import main
from postback.moving.account_move import MOVED_TABLES
from postback.store.account_moves import LEAVING, SWITCHING

if TYPE_CHECKING:
    from tests.clickhouse_server import ClickHouseServer
    from tests.conftest import Server, StartServer


class Cluster(NamedTuple):
    """Two servers on one PostgreSQL and two shards.

    Attributes:
        start: Starts one.
        servers: Both; the account ``default`` is on the first shard.
        databases: Of the shards.
        clickhouse: The server that has them.
        control: The PostgreSQL database.
        settings: What commands are told.
        log: File for what a command prints.
    """

    start: StartServer
    servers: list[Server]
    databases: list[str]
    clickhouse: ClickHouseServer
    control: Engine
    settings: dict[str, str]
    log: Path

    def command(self, *arguments: str) -> Result:
        """What a command comes to."""
        environ = {f"POSTBACK_{name.upper()}": value for name, value in self.settings.items()}
        return CliRunner().invoke(main, arguments, env=environ)

    def move(self, shard: int) -> Move:
        """Begin to move the account."""
        return Move(self.log, "default", str(shard), command=("accounts", "move"), **self.settings)

    def phase(self) -> str | None:
        """How far the account has come that is on its way."""
        with self.control.connect() as connection:
            phase: str | None = connection.scalar(text("SELECT phase FROM placement WHERE phase IS NOT NULL"))
        return phase

    def kill(self, number: int, phase: str) -> None:
        """Kill a server with calls in its log while an account is in a phase of its move, and start it again."""
        server = self.servers[number]
        kill_during(
            server.process, lambda: self.phase() == phase and waiting_in_log(server.data), f"a call in the log, {phase}"
        )
        self.servers[number] = self.start(data=server.data, port=server.url.rpartition(":")[2])

    def let_leases_end(self) -> None:
        """As if the command that was killed had been silent for long enough."""
        with self.control.begin() as connection:
            connection.execute(text("UPDATE lease SET held_until = 0"))

    def rows(self, shard: int) -> int:
        """How many rows of the account a shard has, in all tables."""
        counts = (f"SELECT count() AS rows FROM {table.name} WHERE account_id = 'default'" for table in MOVED_TABLES)
        return int(
            self.clickhouse.execute(f"SELECT sum(rows) FROM ({' UNION ALL '.join(counts)})", self.databases[shard - 1])
        )


@pytest.fixture(scope="module")
def cluster(
    start_server: StartServer,
    new_postgresql: Callable[[], str],
    clickhouse: ClickHouseServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    control, first, second = new_postgresql(), clickhouse.new_database(), clickhouse.new_database()
    settings = {"control": control, "events": first, "secret": secrets.token_hex(32)}
    start = partial(start_server, **settings, sandbox="true", validation_workers=0)
    servers = [start() for _ in range(2)]
    databases = [url.rpartition("/")[2] for url in (first, second)]
    engine = create_engine(control)
    log = tmp_path_factory.mktemp("command") / "log"
    found = Cluster(start, servers, databases, clickhouse, engine, settings | {"data": str(servers[0].data)}, log)
    added = found.command("shards", "add", f"clickhouse://{second.rpartition('@')[2]}")
    assert "Shard 2 is added" in added.output
    yield found
    engine.dispose()


def sell_one_more(server: Server, buyers: Buyers, media_buy_id: str) -> None:
    """Have one more batch of events, and clicks that come after them."""
    buyers.send_one()
    *_, (body, _) = buyers.acknowledged.values()
    click(server, media_buy_id, body["events"][:-1])


def test_an_account_moves_under_load_and_back_whatever_is_killed_meanwhile(cluster: Cluster) -> None:
    near, far = cluster.servers
    media_buy_id, buyers = sell(near), Buyers(near, arguments=batch, buyers=1)

    with buyers.sending():
        buyers.wait_for_answers(CLICKS)
        begun = cluster.move(2)
        copying = partial(has_rows, cluster.clickhouse, cluster.databases[1], "event")
        with suspended_during(begun.process, copying, "the copying"):
            assert "Another command is moving an account" in cluster.command("accounts", "move", "default", "2").output
            begun.process.kill()
        begun.process.wait()
        assert "on its way from shard 1 to shard 2" in cluster.command("shards", "list").output
        cluster.let_leases_end()
        kill_during(cluster.move(2).process, lambda: cluster.phase() == SWITCHING, "the switch")
        cluster.let_leases_end()
        buyers.wait_for_answers(2)
        eventually(partial(is_reported, far, media_buy_id, CLICKS * EVENTS), "that servers go on without the command")
        begun = cluster.move(2)
        cluster.kill(0, SWITCHING)
        if (
            begun.process.wait()
        ):  # it waits for half a minute, which the start may take on a machine that does much else
            begun = cluster.move(2)
        assert "account default is on shard 2. Servers stored nothing for" in begun.succeed()
        buyers.wait_for_answers(2)
    sell_one_more(near, buyers, media_buy_id)

    for server in cluster.servers:
        eventually(partial(is_reported, server, media_buy_id, (CLICKS + 1) * EVENTS), "the report of all conversions")
    check_ledger(buyers, cluster.clickhouse, cluster.databases[1])
    assert cluster.rows(1) == 0
    reported, healthy = report(near, media_buy_id), health(near)
    kill_during(cluster.move(1).process, lambda: cluster.phase() == LEAVING, "the last of the move")
    assert "rows of it are left on shard 2" in cluster.command("shards", "list").output
    cluster.let_leases_end()
    cluster.move(1).succeed()
    for server in cluster.servers:
        assert report(server, media_buy_id) == reported
        assert health(server) == healthy
    sell_one_more(far, buyers, media_buy_id)
    for server in cluster.servers:
        eventually(partial(is_reported, server, media_buy_id, (CLICKS + 2) * EVENTS), "what came after the moves")
    check_ledger(buyers, cluster.clickhouse, cluster.databases[0])
    assert cluster.rows(2) == 0


def test_a_move_that_can_not_be_is_refused_and_one_that_was_cut_short_can_be_given_up(cluster: Cluster) -> None:
    def refused(*arguments: str) -> str:
        result = cluster.command("accounts", "move", *arguments)
        assert result.exit_code == 2, result.output
        return result.output

    assert "There is no account nobody" in refused("nobody", "2")
    assert "There is no shard 7" in refused("default", "7")
    assert "is on shard 1 already" in refused("default", "1")
    cluster.command("shards", "drain", "2")
    assert "Shard 2 is draining" in refused("default", "2")
    with cluster.control.begin() as connection:
        connection.execute(text("UPDATE shard SET draining = false"))

    cluster.command("accounts", "create", "other")
    sell(cluster.servers[0])
    kill_during(cluster.move(2).process, lambda: cluster.rows(2), "the copying")
    cluster.let_leases_end()
    assert "Account default is on its way to shard 2, and one account moves at a time" in refused("other", "2")
    assert cluster.command("accounts", "move", "default", "1").exit_code == 0
    assert (cluster.phase(), cluster.rows(2)) == (None, 0)


def test_accounts_of_one_event_store_do_not_move(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["accounts", "move", "default", "2", "--data", str(tmp_path)])

    assert result.exit_code == 2
    assert "Events are stored in the data folder, which can't be divided" in result.output
