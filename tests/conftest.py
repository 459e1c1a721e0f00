"""What every test shares: a real server, ``postback serve`` in a process of its own, for those that talk to one."""

from __future__ import annotations

import atexit
import os
import random
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, settings
from tests.clickhouse_server import ClickHouseServer

_KEY = "pb_of_the_tests_servers_and_of_nobody"
_TRUST = ssl.create_default_context()
"""Made once: to read the certificates that nobody needs here takes longer than a call."""

_PATIENCE = 120
"""Seconds that a test waits for anything: it fails for what is wrong, and not for a machine that does much else."""

HTTP = httpx2.Client(timeout=_PATIENCE, verify=_TRUST)
"""For calls without a key of a server; httpx2's own functions give up after five seconds."""
atexit.register(HTTP.close)


@dataclass(frozen=True)
class Server:
    """A running server, and how its buyer reaches it."""

    url: str
    key: str
    data: Path
    log: Path
    process: subprocess.Popen[bytes]

    def client(self, **headers: str) -> httpx2.Client:
        """A client that sends the API key, and these headers."""
        keyed = {"Authorization": f"Bearer {self.key}", **headers}
        return httpx2.Client(base_url=self.url, headers=keyed, timeout=_PATIENCE, verify=_TRUST)

    def call(self, task: str, **arguments: Any) -> httpx2.Response:
        """Call a task over REST."""
        with self.client() as client:
            return client.post(f"/v1/{task}", json=arguments)

    def command(self, *arguments: str) -> str:
        """Run a command of the command line beside the server, as ``keys list``; returns what it printed."""
        command = [sys.executable, "-m", "postback", *arguments, "--data", str(self.data)]
        return subprocess.run(
            command, env=_environ(self.data), capture_output=True, text=True, check=True
        ).stdout.strip()

    def stop(self) -> None:
        """Stop it as an operator does; its data folder is free when this returns."""
        self.process.terminate()
        assert self.process.wait(timeout=_PATIENCE) == 0


StartServer = Callable[..., Server]


# The same examples in every run, so that a build fails for what changed; HYPOTHESIS_PROFILE=searching looks further.
# Neither fails for a machine that is slow.
_UNTIMED: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("repeatable", derandomize=True, **_UNTIMED)
settings.register_profile("searching", **_UNTIMED)
_PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "repeatable")
settings.load_profile(_PROFILE)


def examples(count: int) -> settings:
    """So many examples of a property, or twenty times as many where HYPOTHESIS_PROFILE=searching."""
    return settings(max_examples=20 * count if _PROFILE == "searching" else count)


@pytest.fixture(autouse=True)
def file_modes() -> Iterator[None]:
    """Every test creates files that others may read, unless it says so; commands that it runs itself change that."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Asynchronous tests run on the loop that the server runs on."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Start a server with these settings, as ``rate_limit=2``, and under ``prefix``; it stops with the last of a file.

    One that is idle takes a fiftieth of a core, and 400 MB.
    """
    with servers(partial(tmp_path_factory.mktemp, "server")) as start:
        yield start


@pytest.fixture(scope="session")
def start_shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """The same for a server that many files share; it stops when the tests end."""
    with servers(partial(tmp_path_factory.mktemp, "server")) as start:
        yield start


@pytest.fixture
def start_own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """The same for a server that only one test needs; it stops with the test."""
    with servers(partial(tmp_path_factory.mktemp, "server")) as start:
        yield start


@cache
def shared_clickhouse() -> ClickHouseServer:
    """The ClickHouse server that the tests of this process share; each uses a database of its own."""
    server = ClickHouseServer(free_port())
    atexit.register(server.stop)
    return server


@pytest.fixture(scope="session")
def clickhouse() -> ClickHouseServer:
    """``shared_clickhouse``, which no test may kill."""
    return shared_clickhouse()


def events_of(data: Path) -> str | None:
    """The URL of the event store that belongs to a data folder; None if it is in the folder.

    ``TEST_EVENTS=clickhouse`` moves the event stores of all servers that tests start to ClickHouse;
    ``TEST_EVENTS=two-shards`` divides the accounts of each among two databases there.
    """
    if os.environ.get("TEST_EVENTS") not in ("clickhouse", "two-shards"):
        return None
    if data not in _EVENTS:
        _EVENTS[data] = shared_clickhouse().new_database()
    return _EVENTS[data]


def events_of_default(data: Path) -> str | None:
    """The same of the shard that has the account ``default``."""
    return _FURTHER.get(data) or events_of(data)


_EVENTS: dict[Path, str] = {}
_FURTHER: dict[Path, str] = {}


@contextmanager
def servers(make_folder: Callable[[], Path]) -> Iterator[StartServer]:
    """Start servers as ``start_server`` does, each in a folder of its own; they stop when the block is left."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*prefix: str, **settings: object) -> Server:
        folder = make_folder()
        chosen = {"data": folder / "data", "port": free_port(), "bootstrap_key": _KEY, "rate_limit": 0} | settings
        environ = _environ(Path(str(chosen["data"]))) | {
            f"POSTBACK_{name.upper()}": str(value) for name, value in chosen.items()
        }
        log = folder / "log"

        def run() -> Server:
            with log.open("ab") as stream:
                process = subprocess.Popen(
                    [*prefix, sys.executable, "-m", "postback", "serve"], env=environ, stdout=stream, stderr=stream
                )
            started.append(process)
            server = Server(f"http://127.0.0.1:{chosen['port']}", _KEY, Path(str(chosen["data"])), log, process)
            _wait_until_ready(server)
            return server

        divided = os.environ.get("TEST_EVENTS") == "two-shards" and not {"control", "data", "events"} & set(settings)
        if divided:
            _divide(run())
        return run()

    try:
        yield start
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=_PATIENCE)


def _divide(server: Server) -> None:
    """Give a new server a second shard, which has the account that its first start made, and stop it."""
    url = shared_clickhouse().new_database()
    _FURTHER[server.data] = url
    server.command("shards", "add", f"clickhouse://{url.rpartition('@')[2]}")
    server.stop()
    with closing(sqlite3.connect(server.data / "control.db")) as control, control:
        control.execute("INSERT INTO placement (account_id, shard) VALUES ('default', 2)")


@pytest.fixture(scope="session")
def server(start_shared_server: StartServer) -> Server:
    """A server with default settings and without rate limits, which has the event source ``website``."""
    running = start_shared_server()
    running.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    return running


def _environ(data: Path) -> dict[str, str]:
    """The environment of a server or a command that works on a data folder."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("POSTBACK_")}
    events = events_of(data)
    return environ | {"POSTBACK_EVENTS": events} if events else environ


def _ports() -> Iterator[int]:
    """Ports below those that the system gives to clients, in turn; another worker of the run has others."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(10_000 + worker % 20 * 1_000, 11_000 + worker % 20 * 1_000)
    start = random.randrange(len(ports))  # another than a run beside this one
    return cycle([*ports[start:], *ports[:start]])


_PORTS = _ports()


def free_port() -> int:
    """A TCP port that nobody listens on, nor will before a server of this worker does."""
    while True:
        port = next(_PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def eventually(look: Callable[[], Any], what: str = "it", pause: float = 0.05) -> Any:
    """What ``look`` finds, once it finds something; it has two minutes, for a machine that does much else.

    Args:
        look: Looks once.
        what: What did not happen, for the message of the test that fails.
        pause: Seconds between two looks.
    """
    until = time.monotonic() + _PATIENCE
    while not (found := look()):
        if time.monotonic() > until:
            pytest.fail(f"{what} did not happen within {_PATIENCE} seconds")
        time.sleep(pause)
    return found


def _wait_until_ready(server: Server) -> None:
    def ready() -> bool:
        if server.process.poll() is not None:
            pytest.fail(f"the server did not start:\n{server.log.read_text()}")
        try:
            return client.get("/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    with server.client() as client:
        eventually(ready, "the server's start")
