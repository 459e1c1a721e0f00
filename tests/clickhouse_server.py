"""A real ClickHouse server for tests, which is killed and started again as they like."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from uuid import uuid4

import pytest

__all__ = ["PASSWORD", "ClickHouseServer"]

PASSWORD = "p@ss:w/rd#1"
"""Has what must be escaped in a URL."""
_IN_URL = "p%40ss%3Aw%2Frd%231"

_ROOT = Path(__file__).parents[1]
_PYTHON = _ROOT / "build" / "clickhouse" / "bin" / "python"
_PROCESS = Path(__file__).with_name("clickhouse_process.py")
_PATIENCE = 120

_CONFIG = """<clickhouse>
  <listen_host>127.0.0.1</listen_host>
  <http_port>{port}</http_port>
  <users_config>users.xml</users_config>
  <mark_cache_size>100000000</mark_cache_size>
  {more}
</clickhouse>
"""

_PAGE = _ROOT / "docs" / "how-to" / "use-clickhouse.md"
_GRANT = re.compile(r"^GRANT (?P<what>.+) TO postback;$", re.MULTILINE)

_USERS = """<clickhouse>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <no_password/><networks><ip>127.0.0.1</ip></networks><access_management>1</access_management>
    </default>
    <postback>
      <password>{password}</password>
      <networks><ip>127.0.0.1</ip></networks>
      <grants>{grants}</grants>
    </postback>
    <stranger><password>{password}</password><networks><ip>127.0.0.1</ip></networks><grants/></stranger>
  </users>
</clickhouse>
"""


class ClickHouseServer:
    """A server with a folder of its own; started by whoever makes it, and stopped by ``stop``.

    Its user ``default`` may do everything; Postback's is ``postback``, with the password ``PASSWORD``, and has what
    the documentation says that it needs, in databases whose names begin with ``postback_``.

    Args:
        port: Where it listens.
        more: XML of further settings.
    """

    def __init__(self, port: int, more: str = "") -> None:
        if not _PYTHON.exists():
            pytest.skip("There is no ClickHouse server; 'make build/clickhouse/installed' installs one")
        self.port = port
        self._folder = Path(tempfile.mkdtemp(prefix="postback-clickhouse-"))
        (self._folder / "config.xml").write_text(_CONFIG.format(port=port, more=more))
        grants = "".join(f"<query>{grant}</query>" for grant in _documented_grants())
        (self._folder / "users.xml").write_text(_USERS.format(password=PASSWORD, grants=grants))
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, also after it was killed; it answers when this returns."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([_PYTHON, _PROCESS], cwd=self._folder, stdout=log, stderr=log)
        until = time.monotonic() + _PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"ClickHouse did not start:\n{(self._folder / 'log').read_text()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it as the power does."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Kill it and delete what it stored."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def process_id(self) -> int:
        """The id of its process."""
        assert self._process
        return self._process.pid

    def new_database(self, user: str = "postback", port: int | None = None) -> str:
        """The URL of a new database, as POSTBACK_EVENTS takes it; through another port if it is reached by one."""
        name = f"postback_{uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}")
        return f"clickhouse://{user}:{_IN_URL}@127.0.0.1:{port or self.port}/{name}"

    def execute(self, statement: str, database: str = "default") -> str:
        """Run a statement as the user who may do everything; returns the rows as text, values separated by tabs."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/?database={database}", statement.encode())
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(error.read().decode()) from error

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=_PATIENCE) as response:
                return bool(response.status == 200)
        except OSError:
            return False


def _documented_grants() -> list[str]:
    """What the documentation says that Postback's user needs, for the databases of tests."""
    found = [match["what"] for match in _GRANT.finditer(_PAGE.read_text())]
    return [f"GRANT {re.sub(r'postback(_comparison)?[.]', 'postback_*.', what)}" for what in found]
