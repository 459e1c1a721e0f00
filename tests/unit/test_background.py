"""Loops beside the calls: one that fails starts again, and all of them stop in order."""

from __future__ import annotations

import asyncio
import logging
from typing import NoReturn

import pytest

from postback.background import Background, repeat
from postback.errors import StoreUnavailable
from postback.logs import TextFormatter
from postback.metrics import Metrics

pytestmark = pytest.mark.anyio


def failures(metrics: Metrics, loop: str) -> float:
    lines = metrics.render().decode().splitlines()
    sample = f'postback_background_failures_total{{loop="{loop}"}} '
    return float(next(line.removeprefix(sample) for line in lines if line.startswith(sample)))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreUnavailable("The event store is not available."), "The event store is not available."),
        (ValueError("cannot parse 'jane@example.com'"), "ValueError"),
    ],
)
async def test_a_loop_that_fails_starts_again(error: Exception, told: str, caplog: pytest.LogCaptureFixture) -> None:
    metrics, again = Metrics(), asyncio.Event()
    turns: list[int] = []
    background = Background(metrics)

    async def work() -> None:
        turns.append(len(turns))
        if len(turns) == 2:
            raise error
        if len(turns) == 3:
            again.set()

    background.start("purge", lambda: repeat(work, 0.01))
    assert failures(metrics, "purge") == 0
    await asyncio.wait_for(again.wait(), 60)
    await background.stop()

    assert failures(metrics, "purge") == 1
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == f"purge failed ({told}) and starts again in 1 s"
    record.exc_text = None  # of the formatter that the tests use
    assert "jane@example.com" not in TextFormatter().format(record)


async def test_loops_stop_in_the_reverse_order_even_one_that_fails_while_it_stops() -> None:
    background, stopped = Background(Metrics()), []

    def loop(name: str) -> None:
        async def run() -> NoReturn:
            try:
                await repeat(lambda: asyncio.sleep(60), 60)
            finally:
                await asyncio.sleep(0.02)
                stopped.append(name)
                if name == "second":
                    raise ZeroDivisionError

        background.start(name, run)

    for name in ("first", "second", "third"):
        loop(name)
    await asyncio.sleep(0.02)
    await asyncio.wait_for(background.stop(), 60)

    assert stopped == ["third", "second", "first"]


async def test_a_loop_that_waits_to_start_again_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postback.background._FIRST_WAIT", 3600.0)
    background, failed = Background(Metrics()), asyncio.Event()

    async def run() -> NoReturn:
        failed.set()
        raise ZeroDivisionError

    background.start("attribution", run)
    await failed.wait()
    await asyncio.wait_for(background.stop(), 60)
