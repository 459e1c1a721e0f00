"""An installation moves to servers under load, cut short, and back: nothing is lost, or counted twice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from tests.clickhouse_server import PASSWORD, ClickHouseServer
from tests.conftest import eventually
from tests.faults.buyers import EVENTS, Buyers
from tests.faults.kills import kill_during
from tests.integration.moves import (
    CLICKS,
    Move,
    batch,
    check_ledger,
    health,
    is_ending,
    is_reported,
    report,
    sell,
)

from postback.cli import main
from postback.errors import StartupError
from postback.moving.control_copy import CONTROL_TABLES, LEFT_BEHIND
from postback.moving.event_tables import EVENT_TABLES, NOT_MOVED
from postback.store.data_folder import DataDir
from postback.store.event_engine import EventEngine
from postback.store.event_schema import upgrade
from postback.store.installation import open_control_store
from postback.store.tables import METADATA

if TYPE_CHECKING:
    from tests.conftest import StartServer


def test_an_installation_moves_to_servers_under_load_and_back(
    start_own_server: StartServer, new_postgresql: Callable[[], str], clickhouse: ClickHouseServer, tmp_path: Path
) -> None:
    server = start_own_server(sandbox="true", validation_workers=0)
    place = {"sandbox": "true", "validation_workers": 0, "port": urlsplit(server.url).port}
    events, control = clickhouse.new_database(), new_postgresql()
    database = events.rpartition("/")[2]
    (tmp_path / "password").write_text(PASSWORD)
    to = ["--to", events.replace(f":{events.split(':')[2].partition('@')[0]}@", "@"), "--control", control]
    to += ["--password-file", str(tmp_path / "password")]
    media_buy_id, buyers = sell(server), Buyers(server, arguments=batch, buyers=1)

    with buyers.sending():
        buyers.wait_for_answers(CLICKS)
        move = Move(tmp_path / "log", *to, data=str(server.data))
        move.wait_until("Stop the servers now")
        buyers.wait_for_answers(2)
        server.stop()
        kill_during(move.process, partial(is_ending, server.data, control), "the last of the copying")
        with closing(DataDir.open(server.data)) as folder, pytest.raises(StartupError, match="has moved to the data"):
            open_control_store(folder, None)
        printed = Move(tmp_path / "log", *to, data=str(server.data)).succeed()
        assert "moved to the database" in printed
        assert PASSWORD not in printed
        server = start_own_server(data=server.data, events=events, control=control, **place)
        buyers.wait_for_answers(2)

    eventually(partial(is_reported, server, media_buy_id, CLICKS * EVENTS), "the report of every conversion")
    reported, healthy = report(server, media_buy_id), health(server)
    server.stop()
    check_ledger(buyers, clickhouse, database)
    settings = {"data": str(server.data), "events": events, "control": control}
    Move(tmp_path / "log", "--to", str(tmp_path / "back"), **settings).succeed()
    back = start_own_server(data=tmp_path / "back", **place)
    assert report(back, media_buy_id) == reported
    assert health(back) == healthy
    replay = back.call("log_event", **next(iter(buyers.acknowledged.values()))[0]).json()
    assert replay["replayed"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--to", "clickhouse://u@h/d"], "with --control"),
        (["--to", "clickhouse://h/d", "--control", "postgresql://h/d"], "names no user"),
        (["--to", "folder"], "are in a data folder already"),
        ([], "Say where to with --to"),
    ],
)
def test_a_place_that_is_none_is_refused(tmp_path: Path, options: list[str], why: str) -> None:
    refused = CliRunner().invoke(main, ["move", *options, "--data", str(tmp_path / "data")])

    assert refused.exit_code == 2
    assert why in refused.output


def test_every_table_moves_or_is_known_not_to(tmp_path: Path) -> None:
    client = EventEngine(f"chdb://{tmp_path}").client()
    upgrade(client)
    tables = client.query(
        "SELECT name, extract(create_table_query, 'TTL (.*) SETTINGS') FROM system.tables "
        "WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
    ).result_rows
    client.close()
    found = {str(row[0]): bool(row[1]) for row in tables}

    assert {table.name for table in EVENT_TABLES} | NOT_MOVED == found.keys()
    assert {table.name for table in EVENT_TABLES if table.days} == {name for name, ttl in found.items() if ttl}
    assert {*CONTROL_TABLES, *LEFT_BEHIND} == set(METADATA.tables.values())
