"""Large batches are judged by processes of the server's own: with the same verdicts, whatever happens to a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from postback.ingest.checks import Rules
from postback.ingest.identifiers import IdentifierHasher
from postback.ingest.judge import Verdicts, judge
from postback.ingest.judges import Judges
from postback.sources.model import EventSource
from postback.store.rows import arrow_stream

pytestmark = pytest.mark.anyio

SECRET = b"s" * 32
IDENTIFIERS = IdentifierHasher(SECRET)
SOURCE = EventSource(account_id="default", event_source_id="shop", seller_id="src_1", allowed_domains=("shop.example",))
RULES = Rules.of(SOURCE, now=datetime.now(UTC), sandbox=True, max_age_days=90, require_user_match=False)


def batch(events: int) -> list[msgspec.Raw]:
    """A batch in which every kind of verdict occurs."""
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


def judged(judging: Judges, events: list[msgspec.Raw]) -> Coroutine[Any, Any, Verdicts]:
    return judging.judge(events, msgspec.Raw(b"[" + b", ".join(events) + b"]"), RULES)


def told(verdicts: Verdicts) -> tuple[object, ...]:
    """Everything that verdicts say, in a form that can be compared."""
    rows = [arrow_stream(r.table, [r])[1].to_pybytes() for r in verdicts.accepted.rows(SOURCE, "", 1_000_000)]
    failed = [(f.index, f.event_id, f.event_type, *_reason(f.rejection)) for f in verdicts.failed]
    return rows, failed, verdicts.warnings, verdicts.fingerprint, verdicts.accepted.coverage()


def _reason(rejection: Any) -> tuple[str, str, str]:
    return rejection.reason, rejection.message, rejection.field


@asynccontextmanager
async def judges(processes: int) -> AsyncIterator[Judges]:
    judging = Judges(SECRET, IDENTIFIERS, processes)
    try:
        yield judging
    finally:
        await judging.stop()


def children() -> list[int]:
    """The judging processes of this one, which has other children too."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in pids if b"judge_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def test_a_process_gives_the_verdicts_that_the_server_would() -> None:
    events = batch(500)
    async with judges(1) as judging:
        assert told(await judged(judging, events)) == told(judge(events, RULES, IDENTIFIERS))
        assert len(children()) == 1
    assert children() == []


async def test_a_batch_of_failures_only_is_told_as_well() -> None:
    events = [msgspec.Raw(b"[]")] * 100
    async with judges(1) as judging:
        verdicts = await judged(judging, events)
    assert (len(verdicts.accepted), len(verdicts.failed)) == (0, 100)


async def test_small_batches_need_no_process() -> None:
    async with judges(2) as judging:
        await judged(judging, batch(50))
        assert children() == []


async def test_many_batches_share_few_processes() -> None:
    batches = [batch(60 + number) for number in range(8)]
    async with judges(2) as judging:
        verdicts = await asyncio.gather(*(judged(judging, events) for events in batches))
        assert len(children()) == 2
    assert [told(v) for v in verdicts] == [told(judge(events, RULES, IDENTIFIERS)) for events in batches]


async def test_a_process_that_is_killed_costs_no_batch() -> None:
    events = batch(3_000)
    async with judges(1) as judging:
        await judged(judging, events)
        [first] = children()
        waiting = asyncio.create_task(judged(judging, events))
        await asyncio.sleep(0.005)
        os.kill(first, signal.SIGKILL)
        expected = told(judge(events, RULES, IDENTIFIERS))
        assert told(await waiting) == expected
        assert told(await judged(judging, events)) == expected
        assert first not in children()


async def test_a_caller_that_goes_away_leaves_the_process_fit_for_the_next() -> None:
    async with judges(1) as judging:
        leaving = asyncio.create_task(judged(judging, batch(5_000)))
        await asyncio.sleep(0.01)
        leaving.cancel()
        events = batch(70)
        assert told(await judged(judging, events)) == told(judge(events, RULES, IDENTIFIERS))


async def test_without_processes_the_server_judges_itself() -> None:
    events = batch(200)
    async with judges(0) as judging:
        assert told(await judged(judging, events)) == told(judge(events, RULES, IDENTIFIERS))
        assert children() == []
