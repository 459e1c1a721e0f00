"""Each kind of work has its own threads, and what waits for one of them waits without one."""

from __future__ import annotations

import ast
import asyncio
import gc
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path

import pytest

import postback
from postback.logs import RequestContext, current_request
from postback.threads import SharedThreadPool, ThreadPool, Threads

SOURCES = Path(postback.__path__[0])
SHARED = {"to_thread", "run_in_executor", "run_sync", "run_in_threadpool"}
"""How work comes into the pools of asyncio and anyio, which everything shares."""


@pytest.fixture(params=[ThreadPool, SharedThreadPool])
def pool(request: pytest.FixtureRequest) -> Iterator[ThreadPool]:
    pool: ThreadPool = request.param("few", 2)
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

    assert used == set()


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
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priorities of their own")
async def test_reports_and_attribution_give_way_to_calls() -> None:
    threads = Threads(readers=2)

    async def niceness(pool: ThreadPool) -> int:
        return await pool.run(os.getpriority, os.PRIO_PROCESS, 0)

    try:
        own = os.getpriority(os.PRIO_PROCESS, 0)
        calls = [await niceness(pool) for pool in (threads.log, threads.ingestion, threads.control, threads.inserts)]
        others = [await niceness(pool) for pool in (threads.reports, threads.attribution.of(1), threads.background)]
    finally:
        threads.close()

    assert calls == [own] * 4
    assert others == [min(own + 5, 19)] * 3
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


@pytest.mark.anyio
async def test_work_sees_the_context_of_its_caller_and_raises_to_it(pool: ThreadPool) -> None:
    request: ContextVar[str] = ContextVar("request")
    request.set("request-7")

    assert await pool.run(request.get) == "request-7"
    with pytest.raises(ZeroDivisionError):
        await pool.run(divmod, 1, 0)


@pytest.mark.anyio
async def test_a_key_with_little_work_does_not_wait_for_all_of_a_key_with_much() -> None:
    pool, finish, order = SharedThreadPool("one", 1), threading.Event(), list[str]()

    async def work(key_id: str) -> None:
        current_request.set(RequestContext("r", key_id))
        await pool.run(order.append, key_id)

    busy = asyncio.create_task(pool.run(finish.wait))
    try:
        waiting = [asyncio.create_task(work(key_id)) for key_id in ("much", "much", "much", "little", "other")]
        await asyncio.sleep(0)
        finish.set()
        await asyncio.gather(busy, *waiting)
    finally:
        pool.close()

    assert order == ["much", "little", "other", "much", "much"]


@pytest.mark.anyio
async def test_work_whose_caller_has_gone_is_not_done(pool: ThreadPool) -> None:
    finish, done = threading.Event(), list[str]()
    busy = [asyncio.create_task(pool.run(finish.wait)) for _ in range(2)]
    gone, stays = (asyncio.create_task(pool.run(done.append, name)) for name in ("gone", "stays"))
    await asyncio.sleep(0)

    gone.cancel()
    await asyncio.sleep(0)
    finish.set()
    await asyncio.gather(*busy, stays)

    assert gone.cancelled()
    assert done == ["stays"]


@pytest.mark.anyio
async def test_work_that_failed_keeps_nothing_in_memory(pool: ThreadPool) -> None:
    class Body(bytearray):
        """What can be large, and can be watched."""

    def fail(_: Body) -> None:
        raise ValueError

    body = Body()
    left = weakref.ref(body)
    gc.disable()
    try:
        with suppress(ValueError):
            await pool.run(fail, body)
        del body
        pool.close()  # its thread has come to an end,
        await asyncio.sleep(0)  # and so has the turn of the event loop
        assert left() is None
    finally:
        gc.enable()


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [ThreadPool, SharedThreadPool])
async def test_closing_waits_for_what_has_begun_and_drops_the_rest(kind: type[ThreadPool]) -> None:
    pool, started, finish, done = kind("one", 1), asyncio.Event(), threading.Event(), []
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
