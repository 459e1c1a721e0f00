"""Catching a process in the act: it is suspended while something that a test names is under way, and killed there."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import eventually

_PATHS = str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")
CHILD_ENVIRON = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, _PATHS))}
"""For children that import helpers of the tests."""

_LOOK_SECONDS = 0.002
"""As long as what is looked for may take, so that it is caught at its beginning, in its middle or at its end."""


def kill_during(process: subprocess.Popen[Any], busy: Callable[[], object], what: str) -> None:
    """Kill a process while it is busy; the test fails if it is never caught."""
    with suspended_during(process, busy, what):
        process.kill()
    process.wait()


@contextmanager
def suspended_during(process: subprocess.Popen[Any], busy: Callable[[], object], what: str) -> Iterator[None]:
    """Suspend a process while it is busy, and let it go on when the block is left.

    What was seen while the process ran may be over when it stands still, so it is looked at again then: inside the
    block it is certain.
    """

    def caught() -> bool:
        if not busy():
            return False
        _suspend(process, what)
        if busy():
            return True
        process.send_signal(signal.SIGCONT)
        return False

    eventually(caught, what, pause=_LOOK_SECONDS)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def _suspend(process: subprocess.Popen[Any], what: str) -> None:
    """Return when every thread of the process stands still."""
    process.send_signal(signal.SIGSTOP)
    state = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    if state is None or state.si_code != os.CLD_STOPPED:
        pytest.fail(f"the process ended before {what}")
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)


def inserting(data: Path, table: str) -> Callable[[], bool]:
    """Whether the engine is writing a part of this table, which it renames when it is complete.

    Parts that were begun before this call don't count: an earlier kill left them behind.
    """
    folder = data / "events" / "data" / "default" / table
    left_behind = set(folder.glob("tmp_insert_*"))
    return lambda: bool(set(folder.glob("tmp_insert_*")) - left_behind)


def waiting_in_log(data: Path) -> bool:
    """Whether calls are in the ingest log, or in a shard's backlog, that are not stored yet."""
    return any(path.is_file() for path in (data / "log").rglob("*"))


def committing(control: sqlite3.Connection) -> bool:
    """Whether another process is writing to this SQLite database, which takes one writer at a time."""
    try:
        control.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return True
    control.execute("ROLLBACK")
    return False
