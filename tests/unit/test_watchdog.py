"""A server that hangs says so, and ends, so that it can be started again."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import anyio
import pytest

from postback.watchdog import HUNG_EXIT_STATUS, Patience, Watchdog

pytestmark = pytest.mark.anyio

_SCRIPT = """
import asyncio, logging, sys, threading, time
from postback.watchdog import Patience, Watchdog

async def main():
    logging.basicConfig()
    engine = threading.Event() if sys.argv[1] == "event store" else None
    watchdog = Watchdog(lambda: engine and engine.wait(), Patience(pause=0.02, ill=0.1, hung=0.5))
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
    assert f"The {part} has not answered for 1 s: the server ends" in ended.stderr


def test_a_server_that_works_is_left_alone() -> None:
    ended = subprocess.run([sys.executable, "-c", _SCRIPT, "nothing"], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.fixture
def engine() -> Iterator[threading.Event]:
    """An engine that answers once the event is set."""
    engine = threading.Event()
    yield engine
    engine.set()


async def test_what_keeps_still_is_told_until_it_answers_again(engine: threading.Event) -> None:
    watchdog = Watchdog(engine.wait, Patience(pause=0.01, ill=0.05))
    watchdog.start()
    assert watchdog.problem is None

    while not (problem := watchdog.problem):
        await _moment()
    assert problem == "The event store has not answered for 0 seconds."

    engine.set()
    while watchdog.problem:
        await _moment()
    watchdog.stop()


async def test_an_engine_that_answers_with_an_error_answers() -> None:
    def fail() -> None:
        raise ValueError

    watchdog = Watchdog(fail, Patience(pause=0.01, ill=0.2))
    watchdog.start()
    for _ in range(30):
        await _moment()
        assert watchdog.problem is None
    watchdog.stop()


async def _moment() -> None:
    await anyio.sleep(0.02)
