"""Servers that share one PostgreSQL start at once."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, make_url, text
from tests.conftest import eventually, free_port
from tests.fault_proxy import Fault, FaultProxy

from postback.cli import main
from postback.errors import StartupError
from postback.store import control_store
from postback.store.control_store import ControlStore, one_start_at_a_time

_START = """
import sys
from postback.accounts.store import AccountStore
from postback.clock import Clock
from postback.store.control_store import ControlStore, one_start_at_a_time
from postback.store.running_time import RunningTime

with one_start_at_a_time(sys.argv[1]):
    control = ControlStore(sys.argv[1])
    control.migrate()
    RunningTime(control, Clock())
    accounts = AccountStore(control)
    if not accounts.list():
        accounts.create("default")
    sys.stdin.read()
"""


@pytest.fixture
def url(new_postgresql: Callable[[], str]) -> str:
    return new_postgresql()


def begun(url: str) -> subprocess.Popen[bytes]:
    """A process that does what a start does, and goes on with it until its input ends."""
    return subprocess.Popen([sys.executable, "-c", _START, url], stdin=subprocess.PIPE)


def ended(*starts: subprocess.Popen[bytes]) -> list[int]:
    for start in starts:
        assert start.stdin
        start.stdin.close()
    return [start.wait() for start in starts]


def locks(url: str, granted: bool) -> Any:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted = :granted")
        count = connection.scalar(found, {"granted": granted})
    engine.dispose()
    return count


def test_five_first_starts_at_once_make_one_store(url: str) -> None:
    starts = [begun(url) for _ in range(5)]

    assert ended(*starts) == [0] * 5
    with closing(ControlStore(url)) as control, control.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM account")) == 1
        assert connection.scalar(text("SELECT count(*) FROM running_time")) == 1


def test_commands_that_upgrade_the_store_at_once_wait_for_each_other(url: str) -> None:
    script = f"from postback.store.control_store import ControlStore; ControlStore({url!r}).migrate()"
    commands = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]

    assert [command.wait() for command in commands] == [0] * 2


def test_a_start_that_is_killed_makes_way_for_the_next(url: str) -> None:
    first = begun(url)
    eventually(lambda: locks(url, granted=True))
    second = begun(url)
    eventually(lambda: locks(url, granted=False))

    first.kill()

    assert ended(first, second) == [-9, 0]


def test_a_start_says_that_another_does_not_end(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_store, "_STARTS_SECONDS", 1)

    with one_start_at_a_time(url), pytest.raises(StartupError) as refused, one_start_at_a_time(url):
        pass

    assert str(refused.value) == (
        "Another server on this database has been starting for 1 s. Look at its log, end it if it hangs, and start "
        "again."
    )


def test_a_start_says_that_postgresql_does_not_answer(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_store, "_CONNECT_SECONDS", 2)
    at = make_url(url)
    with closing(FaultProxy(free_port(), Path(str(at.query["host"])) / ".s.PGSQL.5432")) as proxy:
        frozen = f"postgresql+psycopg://postgres:@127.0.0.1:{proxy.port}/{at.database}"
        with proxy.failing(Fault("freeze")), pytest.raises(StartupError) as refused, one_start_at_a_time(frozen):
            pass

    assert "can't be opened: connection timeout expired" in str(refused.value)


def test_a_command_that_meets_a_locked_table_says_what_the_operator_can_do(url: str, tmp_path: Path) -> None:
    settings = {"POSTBACK_CONTROL": url, "POSTBACK_SECRET": secrets.token_hex(32), "POSTBACK_DATA": str(tmp_path)}
    with closing(ControlStore(url)) as control:
        control.migrate()
    engine = create_engine(url)
    with engine.begin() as other:
        other.execute(text("LOCK TABLE account"))
        said = CliRunner().invoke(main, ["accounts", "list"], env=settings)
    engine.dispose()

    assert said.exit_code == 2
    assert "The control store is unavailable" in said.output
    assert "no other session keeps a table locked, then run the command again" in said.output
    assert "idempotency_key" not in said.output
