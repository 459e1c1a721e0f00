"""Large batches are validated by processes of their own, with the same results whatever happens to a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import get_ident
from typing import Any

import msgspec
import pytest
from tests.acceptance.conversions import order
from tests.conftest import Server, eventually

from postback.event_sources.event_source import EventSource
from postback.events.identifiers import IdentifierHasher
from postback.events.rules import EventRules
from postback.events.steps import STEPS
from postback.events.validate import ValidationResult, validate_events
from postback.events.validation_pool import ValidationPool
from postback.store.rows import arrow_stream
from postback.threads import ThreadPool

pytestmark = pytest.mark.anyio

SECRET = b"s" * 32
IDENTIFIERS = IdentifierHasher(SECRET)
SOURCE = EventSource(account_id="default", event_source_id="shop", seller_id="src_1", allowed_domains=("shop.example",))
RULES = EventRules.of(SOURCE, now=datetime.now(UTC), sandbox=True, max_age_days=90, require_user_match=False)


def batch(events: int) -> list[msgspec.Raw]:
    """A batch in which every kind of result occurs."""
    return [msgspec.Raw(json.dumps(_event(number)).encode()) for number in range(events)]


def _event(number: int) -> dict[str, Any]:
    event: dict[str, Any] = {
        "event_id": f"注文_{number}",
        "event_type": "purchase",
        "event_time": "2099-06-05T14:30:00Z",
        "event_source_url": f"https://shop.example/{number}?q=1",
        "user_match": {"hashed_email": f"{number:064x}", "click_id": f"Cj0KCQ{number:032x}"},
        "custom_data": {"value": number, "currency": "USD"},
    }
    odd: dict[int, dict[str, Any]] = {
        0: {"user_match": None},
        1: {"event_type": "buy"},
        2: {"custom_data": {"order_total": 3}, "loyalty": "gold"},
    }
    return {**event, **odd.get(number % 7, {})}


def validated(pool: ValidationPool, events: list[msgspec.Raw]) -> Coroutine[Any, Any, ValidationResult]:
    return pool.validate(events, msgspec.Raw(b"[" + b", ".join(events) + b"]"), RULES, "key")


async def test_a_few_events_that_are_large_together_are_not_validated_on_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_work: list[int] = []
    async with validation_pool(0) as pool:
        monkeypatch.setattr("postback.events.validation_pool.validate_events", lambda *_: at_work.append(get_ident()))
        for size in (10_000, 70_000):
            await validated(pool, [msgspec.Raw(b'{"x":"%b"}' % (b"y" * size))])

    assert at_work[0] == get_ident()
    assert at_work[1] != get_ident()


def comparable(results: ValidationResult) -> tuple[object, ...]:
    """Everything that results say, in a form that can be compared."""
    rows = [arrow_stream(r.table, [r.received(7)])[1].to_pybytes() for r in results.accepted.rows(SOURCE, "")]
    failed = [(f.index, f.event_id, f.event_type, *_reason(f.rejection), f.step) for f in results.failed]
    return rows, failed, results.warnings, results.fingerprint, results.accepted.coverage()


def _reason(rejection: Any) -> tuple[str, str, str]:
    return rejection.reason, rejection.message, rejection.field


@asynccontextmanager
async def validation_pool(processes: int) -> AsyncIterator[ValidationPool]:
    pool = ValidationPool(SECRET, IDENTIFIERS, processes, ThreadPool("compute", 2))
    try:
        yield pool
    finally:
        await pool.stop()


def children() -> list[int]:
    """The validating processes of this one, which has other children too."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in pids if b"validation_worker" in command_line(pid)]


def command_line(pid: str) -> bytes:
    """Empty for a process that has ended, whether or not its parent has taken notice."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


async def begin(pool: ValidationPool, events: list[msgspec.Raw], pid: int) -> asyncio.Task[ValidationResult]:
    """Give a batch to the pool's only process, which stands still, so that it is not done with it."""
    os.kill(pid, signal.SIGSTOP)
    task = asyncio.create_task(validated(pool, events))
    await asyncio.sleep(0.1)  # for the pool to write to the process
    return task


async def test_a_few_large_events_are_validated_by_a_process_too() -> None:
    large = msgspec.Raw(json.dumps({**_event(3), "notes": "x" * 300_000}).encode())
    async with validation_pool(1) as pool:
        await validated(pool, batch(50))
        assert children() == []
        await validated(pool, [large])
        assert len(children()) == 1


async def test_a_process_gives_the_results_that_the_server_would() -> None:
    events = batch(500)
    async with validation_pool(1) as pool:
        assert comparable(await validated(pool, events)) == comparable(validate_events(events, RULES, IDENTIFIERS))
        assert len(children()) == 1
    assert children() == []


async def test_a_process_tells_how_long_each_step_took() -> None:
    async with validation_pool(1) as pool:
        result = await validated(pool, batch(500))
    assert [*result.step_seconds] == [name for name, _ in STEPS]
    assert all(seconds > 0 for seconds in result.step_seconds.values())


async def test_a_batch_of_failures_only_is_told_as_well() -> None:
    events = [msgspec.Raw(b"[]")] * 100
    async with validation_pool(1) as pool:
        results = await validated(pool, events)
    assert (len(results.accepted), len(results.failed)) == (0, 100)


async def test_small_batches_need_no_process() -> None:
    async with validation_pool(2) as pool:
        await validated(pool, batch(50))
        assert children() == []


async def test_many_batches_share_few_processes() -> None:
    batches = [batch(60 + number) for number in range(8)]
    async with validation_pool(2) as pool:
        results = await asyncio.gather(*(validated(pool, events) for events in batches))
        assert len(children()) == 2
    assert [comparable(v) for v in results] == [
        comparable(validate_events(events, RULES, IDENTIFIERS)) for events in batches
    ]


async def test_a_process_that_is_killed_costs_no_batch(caplog: pytest.LogCaptureFixture) -> None:
    events = batch(3_000)
    async with validation_pool(1) as pool:
        await validated(pool, events)
        [first] = children()
        waiting = await begin(pool, events, first)
        os.kill(first, signal.SIGKILL)
        expected = comparable(validate_events(events, RULES, IDENTIFIERS))
        assert comparable(await waiting) == expected
        assert comparable(await validated(pool, events)) == expected
        assert first not in children()
    assert [record.name for record in caplog.records] == ["postback.events.validation_pool"], "no batch was lost"


async def test_a_process_that_ended_while_it_was_idle_costs_no_batch() -> None:
    events = batch(60)
    async with validation_pool(1) as pool:
        await validated(pool, events)
        [idle] = children()
        os.kill(idle, signal.SIGKILL)
        await asyncio.to_thread(eventually, lambda: idle not in children(), "the end of the process")
        await asyncio.sleep(0.1)  # for the loop to close the pipe, too
        assert comparable(await validated(pool, events)) == comparable(validate_events(events, RULES, IDENTIFIERS))
        await validated(pool, events)
        assert len(children()) == 1


async def test_a_caller_that_goes_away_leaves_the_process_fit_for_the_next() -> None:
    async with validation_pool(1) as pool:
        await validated(pool, batch(70))
        [process] = children()
        leaving = await begin(pool, batch(5_000), process)
        assert leaving.cancel()
        os.kill(process, signal.SIGCONT)
        events = batch(70)
        assert comparable(await validated(pool, events)) == comparable(validate_events(events, RULES, IDENTIFIERS))


async def test_without_processes_the_server_validates_itself() -> None:
    events = batch(200)
    async with validation_pool(0) as pool:
        assert comparable(await validated(pool, events)) == comparable(validate_events(events, RULES, IDENTIFIERS))
        assert children() == []


def test_neither_a_server_nor_its_workers_load_pandas_which_is_installed_here(server: Server) -> None:
    events = [order(f"lean_{number}") for number in range(60)]

    server.call("log_event", event_source_id="website", events=events).raise_for_status()

    [pid, *workers] = [str(server.process.pid), *_children(server.process.pid)]
    assert any(b"validation_worker" in command_line(worker) for worker in workers), "nothing was validated in a worker"
    for each in (pid, *workers):
        loaded = Path(f"/proc/{each}/maps").read_text()
        assert "pyarrow" in loaded
        assert "pandas" not in loaded


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
