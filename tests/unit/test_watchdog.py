"""A server that hangs says so, and ends, so that it can be started again."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator

import anyio
import pytest

from postback import watchdog as watchdog_module
from postback.watchdog import HUNG_EXIT_STATUS, Patience, Watchdog

pytestmark = pytest.mark.anyio

_SCRIPT = """
import asyncio, logging, sys, threading, time
from postback.watchdog import Patience, Watchdog

async def main():
    logging.basicConfig()
    engine = threading.Event() if sys.argv[1] == "event store" else None
    patience = Patience(pause=0.02) if sys.argv[1] == "nothing" else Patience(pause=0.02, ill=0.1, hung=0.5)
    watchdog = Watchdog(lambda: engine and engine.wait(), patience)
    watchdog.start()
    if sys.argv[1] == "event loop":
        time.sleep(60)
    await asyncio.sleep(0.5 if sys.argv[1] == "nothing" else 60)
    watchdog.stop()

asyncio.run(main())
"""


@pytest.mark.parametrize("part", ["event loop", "event store"])
def test_a_part_that_hangs_for_good_ends_the_process(part: str) -> None:
    ended = subprocess.run([sys.executable, "-c", _SCRIPT, part], capture_output=True, text=True, check=False)

    assert ended.returncode == HUNG_EXIT_STATUS
    assert re.search(rf"The {part} has not answered for \d+ s: the server ends", ended.stderr)


_LOCKED = """
import asyncio, ctypes
from postback.watchdog import Patience, Watchdog

async def main():
    Watchdog(lambda: None, Patience(pause=0.02, locked=0.5)).start()
    await asyncio.sleep(0.2)
    ctypes.PyDLL(None).sleep(60)  # keeps Python's lock

asyncio.run(main())
"""


def test_a_library_that_keeps_pythons_lock_ends_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", _LOCKED], capture_output=True, text=True, check=False, timeout=50)

    assert ended.returncode == 1
    assert ended.stderr.startswith("Timeout (0:00:00.500000)!")
    assert 'File "<string>", line 8 in main' in ended.stderr


def test_a_server_that_works_is_left_alone() -> None:
    ended = subprocess.run([sys.executable, "-c", _SCRIPT, "nothing"], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


class Clock:
    """A clock that stands still until it is moved."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What the watchdog reads."""
    clock = Clock()
    monkeypatch.setattr(watchdog_module, "time", clock)
    return clock


@pytest.fixture
def engine() -> Iterator[threading.Event]:
    """An engine that answers once the event is set."""
    engine = threading.Event()
    yield engine
    engine.set()


async def test_what_keeps_still_is_told_until_it_answers_again(engine: threading.Event, clock: Clock) -> None:
    watchdog = Watchdog(engine.wait, Patience(pause=0.01))
    watchdog.start()
    assert watchdog.problem is None

    clock.seconds = 20
    await _told(watchdog, "The event store has not answered for 20 seconds.")

    engine.set()
    await _told(watchdog, None)
    watchdog.stop()


async def test_an_engine_that_answers_with_an_error_answers(clock: Clock) -> None:
    def fail() -> None:
        raise ValueError

    watchdog = Watchdog(fail, Patience(pause=0.01))
    clock.seconds = 20
    assert watchdog.problem

    watchdog.start()

    await _told(watchdog, None)
    watchdog.stop()


async def _told(watchdog: Watchdog, problem: str | None) -> None:
    with anyio.fail_after(60):
        while watchdog.problem != problem:  # noqa: ASYNC110 - it tells nobody when it changes
            await anyio.sleep(0.02)
