"""A server is gone for good, and another takes over what lies in its log: all that it acknowledged is stored once."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from sqlalchemy import text
from tests.acceptance.conversions import call
from tests.acceptance.official import unique_key
from tests.conftest import eventually, free_port
from tests.fault_proxy import Fault, FaultProxy
from tests.faults.test_clickhouse_faults import Campaign
from tests.integration.test_idempotent_tasks import CALLS
from tests.integration.upstream import Upstream

from postback.cli import main
from postback.store.control_store import ControlStore
from postback.store.nodes import GONE_SECONDS

if TYPE_CHECKING:
    from tests.clickhouse_server import ClickHouseServer
    from tests.conftest import Server, StartServer

SOURCES = [{"event_source_id": "website"}, {"event_source_id": "shop"}]


class Installation:
    """Servers on two databases, and commands beside them; ClickHouse is reached by a proxy."""

    def __init__(self, control: str, clickhouse: ClickHouseServer, config: Path, start: StartServer) -> None:
        self.control = control
        self.proxy = FaultProxy(free_port(), clickhouse.port)
        self.events = clickhouse.new_database()
        self.proxied = self.events.replace(f":{clickhouse.port}/", f":{self.proxy.port}/")
        shared = {"control": control, "secret": secrets.token_hex(32), "sandbox": "true", "validation_workers": 0}
        self.start: StartServer = partial(start, **shared, seller_config=config)

    def adopting(self, data: Path, folder: Path) -> subprocess.Popen[bytes]:
        """The command at work, which reaches ClickHouse by the proxy."""
        environ = os.environ | {"POSTBACK_CONTROL": self.control, "POSTBACK_EVENTS": self.proxied}
        command = [sys.executable, "-m", "postback", "log", "adopt", str(folder), "--data", str(data)]
        return subprocess.Popen(command, env=environ)

    def adopt(self, data: Path, folder: Path) -> str:
        """What the command says."""
        environ = {"POSTBACK_CONTROL": self.control, "POSTBACK_EVENTS": self.events}
        return CliRunner().invoke(main, ["log", "adopt", str(folder), "--data", str(data)], env=environ).output

    def silence(self) -> None:
        """Let every node have been seen so long ago that one which is gone counts as gone."""
        with closing(ControlStore(self.control)) as control, control.begin() as connection:
            connection.execute(text(f"UPDATE node SET seen_at = seen_at - {GONE_SECONDS}"))


@pytest.fixture(scope="module")
def installation(
    new_postgresql: Callable[[], str],
    clickhouse: ClickHouseServer,
    crm: Upstream,
    start_server: StartServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    config = tmp_path_factory.mktemp("seller") / "seller.toml"
    config.write_text(crm.seller_config("website"))
    made = Installation(new_postgresql(), clickhouse, config, start_server)
    yield made
    made.proxy.close()


@pytest.fixture(scope="module")
def survivor(installation: Installation) -> Server:
    running = installation.start(events=installation.events)
    running.call("sync_event_sources", event_sources=SOURCES).raise_for_status()
    return running


def test_what_a_server_that_is_gone_had_acknowledged_is_stored_once(
    installation: Installation, survivor: Server, crm: Upstream, tmp_path: Path
) -> None:
    lost, proxy = installation.start(events=installation.proxied), installation.proxy
    campaign, repeated = Campaign(survivor), CALLS["log_event"](survivor) | {"idempotency_key": unique_key()}
    campaign.server = lost
    with proxy.failing(Fault("busy", only=b"INSERT")):
        campaign.sell(4)
        answer = call(lost, "rest", "log_event", repeated)
        eventually(lambda: proxy.hits, "the first flush")
        os.kill(lost.process.pid, signal.SIGKILL)
        lost.process.wait()
    volume = shutil.copytree(lost.data / "log", tmp_path / "volume")
    campaign.server = survivor

    assert "it runs, or another command adopts its log" in installation.adopt(survivor.data, volume)
    installation.silence()
    with proxy.failing(Fault("delay", only=b"INSERT", seconds=600)):
        cut_short = installation.adopting(survivor.data, volume)
        eventually(lambda: proxy.hits, "an insert of the adoption")
        cut_short.kill()
        cut_short.wait()
    assert not campaign.is_reported()
    installation.silence()
    said = installation.adopt(survivor.data, volume)

    assert said.endswith("rows are stored. Node 1 is removed.\n"), said
    eventually(campaign.is_reported, "the report of all that was acknowledged")
    replayed = call(survivor, "rest", "log_event", repeated)
    assert (replayed["replayed"], replayed["events_processed"]) == (True, answer["events_processed"])
    eventually(lambda: len(crm.event_ids()) == campaign.orders, "the deliveries")
    assert len(crm.requests) == campaign.orders // 3
    assert "No calls wait in this log." in installation.adopt(survivor.data, volume)

    # What was stored from a copy of its log is stored once all the same.
    again = installation.adopt(survivor.data, lost.data)
    campaign.sell(1)

    assert "rows are stored. The server had been removed before" in again
    eventually(campaign.is_reported, "the report of what came afterwards")
    eventually(lambda: len(crm.event_ids()) == campaign.orders, "the deliveries")
    assert len(crm.requests) == campaign.orders // 3


def test_a_log_that_is_in_use_or_another_installations_is_refused(
    installation: Installation, survivor: Server, tmp_path: Path
) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / f"{1:016}-01234567{0:016}").touch()

    used = installation.adopt(survivor.data, survivor.data / "log")
    foreign = installation.adopt(survivor.data, tmp_path)
    missing = installation.adopt(survivor.data, tmp_path / "nothing")

    assert f"is in use (process {survivor.process.pid})" in used
    assert "is the log of another installation" in foreign
    assert "There is no folder" in missing
