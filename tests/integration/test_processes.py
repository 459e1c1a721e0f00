"""postback serve --processes: servers that share a port, and are kept running."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from tests.conftest import HTTP, eventually, free_port
from tests.faults.test_clickhouse_faults import Campaign

from postback.config import load_settings
from postback.errors import StartupError

if TYPE_CHECKING:
    from tests.clickhouse_server import ClickHouseServer
    from tests.conftest import Server, StartServer


@pytest.fixture(scope="module")
def shared(new_postgresql: Callable[[], str], clickhouse: ClickHouseServer) -> dict[str, object]:
    """The settings of servers that share their stores."""
    return {"control": new_postgresql(), "events": clickhouse.new_database(), "secret": secrets.token_hex(32)}


@pytest.fixture(scope="module")
def start(start_server: StartServer, shared: dict[str, object]) -> StartServer:
    return partial(start_server, **shared, processes=2, sandbox="true", validation_workers=0)


@pytest.fixture(scope="module")
def server(start: StartServer) -> Server:
    return start()


def process_of(server: Server, number: int) -> int:
    """The id of one of its processes, once it has started."""
    lock = server.data / f"process-{number}" / "lock"
    return int(eventually(lambda: lock.exists() and lock.read_text().strip(), "a process"))


def is_ready(server: Server, number: int) -> bool:
    """Whether a process answers on its own port."""
    port = int(server.url.rpartition(":")[2])
    with suppress(httpx2.TransportError):
        return HTTP.get(f"http://127.0.0.1:{port + number}/readyz").status_code == 200
    return False


def is_gone(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return False
    return True


def test_processes_share_a_port_and_one_that_is_killed_goes_on(server: Server) -> None:
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    for number in (1, 2):
        eventually(partial(is_ready, server, number), "both processes", pause=0.5)
    killed = process_of(server, 1)
    campaign = Campaign(server)
    campaign.sell(6)

    os.kill(killed, signal.SIGKILL)
    eventually(lambda: process_of(server, 1) != killed and is_ready(server, 1), "the new process", pause=0.5)
    campaign.sell(6)

    eventually(campaign.is_reported, "the report of all that was acknowledged", pause=0.5)
    assert "process 1 of 2 ended (status -9) and starts again in 1 s" in server.log.read_text()


@pytest.mark.usefixtures("server")
def test_a_process_that_can_not_start_ends_all_with_what_it_says(shared: dict[str, object], tmp_path: Path) -> None:
    environ = {f"POSTBACK_{name.upper()}": str(value) for name, value in shared.items()}
    environ |= {"POSTBACK_SECRET": "ab" * 32, "POSTBACK_SANDBOX": "true", "POSTBACK_DATA": str(tmp_path)}
    command = [sys.executable, "-m", "postback", "serve", "--processes", "2", "--port", str(free_port())]

    ended = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert "POSTBACK_SECRET is not the secret of this installation" in ended.stderr


def test_processes_end_when_they_are_told_to_and_when_nobody_supervises_them(
    server: Server, start: StartServer
) -> None:
    processes = [process_of(server, 1), process_of(server, 2)]
    server.stop()
    assert all(map(is_gone, processes))
    assert not [*server.data.glob("process-*/log/*")]

    again = start(data=server.data)
    processes = [process_of(again, 1), process_of(again, 2)]
    again.process.kill()

    eventually(lambda: all(map(is_gone, processes)), "their end", pause=0.5)


@pytest.mark.parametrize("missing", ["POSTBACK_CONTROL", "POSTBACK_EVENTS", "POSTBACK_SECRET"])
def test_stores_in_the_data_folder_have_one_process(missing: str) -> None:
    given = {
        "POSTBACK_CONTROL": "postgresql://u:p@host/db",
        "POSTBACK_EVENTS": "clickhouse://u:p@host:8123/db",
        "POSTBACK_SECRET": "ab" * 32,
        "POSTBACK_PROCESSES": "2",
    }

    with pytest.raises(StartupError, match="POSTBACK_PROCESSES is 2, but several processes need a PostgreSQL"):
        load_settings(given | {missing: ""})
