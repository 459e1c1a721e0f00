"""Each kind of work has its own threads, and what waits for one of them waits without one."""

from __future__ import annotations

import ast
import asyncio
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import pytest

import postback
from postback.threads import ThreadPool, Threads

SOURCES = Path(postback.__path__[0])
SHARED = {"to_thread", "run_in_executor", "run_sync", "run_in_threadpool"}
"""How work comes into the pools of asyncio and anyio, which everything shares."""


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    pool = ThreadPool("few", 2)
    yield pool
    pool.close()


def test_nothing_uses_the_pools_that_everything_shares() -> None:
    used = {
        f"{path.relative_to(SOURCES)}:{node.lineno}"
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in SHARED)
        or (isinstance(node, ast.Name) and node.id in SHARED)
        or (isinstance(node, ast.alias) and node.name.rpartition(".")[2] in SHARED)
    }

    assert {place.partition(":")[0] for place in used} == {"threads.py"}


@pytest.mark.anyio
async def test_a_pool_that_is_busy_keeps_no_other_waiting() -> None:
    threads, finish = Threads(readers=2), threading.Event()
    stuck = [asyncio.create_task(threads.reports.run(finish.wait)) for _ in range(20)]
    try:
        for pool in (threads.ingestion, threads.compute, threads.inserts, threads.control, threads.background):
            assert await asyncio.wait_for(pool.run(lambda: "done"), 60) == "done"
        assert not any(task.done() for task in stuck)
    finally:
        finish.set()
        await asyncio.gather(*stuck)
        threads.close()


@pytest.mark.anyio
async def test_a_pool_has_no_more_threads_than_it_may(pool: ThreadPool) -> None:
    names = set(await asyncio.gather(*(pool.run(lambda: threading.current_thread().name) for _ in range(50))))

    assert names <= {"few_0", "few_1"}


@pytest.mark.anyio
async def test_work_sees_the_context_of_its_caller_and_raises_to_it(pool: ThreadPool) -> None:
    request: ContextVar[str] = ContextVar("request")
    request.set("request-7")

    assert await pool.run(request.get) == "request-7"
    with pytest.raises(ZeroDivisionError):
        await pool.run(divmod, 1, 0)


@pytest.mark.anyio
async def test_closing_waits_for_what_has_begun_and_drops_the_rest() -> None:
    pool, started, finish, done = ThreadPool("one", 1), asyncio.Event(), threading.Event(), []
    loop = asyncio.get_running_loop()

    def begin() -> None:
        loop.call_soon_threadsafe(started.set)
        finish.wait()
        done.append("begun")

    begun = asyncio.create_task(pool.run(begin))
    waiting = asyncio.create_task(pool.run(done.append, "waiting"))
    await asyncio.wait_for(started.wait(), 60)

    finish.set()
    pool.close()

    await begun
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert done == ["begun"]
