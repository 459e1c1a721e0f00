"""A key with one batch isn't held up by a key with many."""

from __future__ import annotations

import asyncio

import pytest

from postback.events.turns import Turns

pytestmark = pytest.mark.anyio


async def _settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_keys_take_turns_while_they_wait() -> None:
    turns, served = Turns(["worker"]), list[str]()
    worker = await turns.take("many")

    async def work(key_id: str) -> None:
        taken = await turns.take(key_id)
        served.append(key_id)
        await asyncio.sleep(0)
        turns.give(taken)

    waiting = [asyncio.create_task(work(key_id)) for key_id in ("many", "many", "many", "one", "other")]
    await _settled()
    turns.give(worker)
    await asyncio.gather(*waiting)

    assert served == ["many", "one", "other", "many", "many"]


async def test_a_key_that_is_alone_uses_every_worker() -> None:
    turns = Turns([1, 2])

    assert {await turns.take("key"), await turns.take("key")} == {1, 2}
    assert turns.take_idle() == []


async def test_whoever_leaves_while_it_waits_takes_no_worker() -> None:
    turns = Turns(["worker"])
    worker = await turns.take("key")
    leaving, too_late = asyncio.create_task(turns.take("key")), asyncio.create_task(turns.take("key"))
    await _settled()

    leaving.cancel()
    await _settled()
    turns.give(worker)
    too_late.cancel()  # it was just given the worker
    await asyncio.wait([leaving, too_late])

    assert leaving.cancelled()
    assert too_late.cancelled()
    assert turns.take_idle() == ["worker"]
