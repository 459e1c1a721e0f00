"""Strangers may ask for what needs no key as often as they like: it is made once a second."""

from __future__ import annotations

from types import SimpleNamespace

import anyio
import pytest

from postback.errors import StoreUnavailable
from postback.transports import shared_answer
from postback.transports.shared_answer import SharedAnswer

pytestmark = pytest.mark.anyio


class Work:
    """Counts how often it is done; fails while it is broken."""

    def __init__(self) -> None:
        self.done = 0
        self.broken = False

    async def __call__(self) -> int:
        self.done += 1
        await anyio.sleep(0.01)
        if self.broken:
            raise StoreUnavailable("The store is away.")
        return self.done


async def test_many_at_once_share_one_answer() -> None:
    work, got = Work(), []
    answer = SharedAnswer(work, seconds=60)

    async def ask() -> None:
        got.append(await answer.get())

    async with anyio.create_task_group() as callers:
        for _ in range(20):
            callers.start_soon(ask)

    assert (got, work.done) == ([1] * 20, 1)


async def test_an_old_answer_is_made_anew() -> None:
    work = Work()
    answer = SharedAnswer(work, seconds=0)
    assert [await answer.get() for _ in range(3)] == [1, 2, 3]


async def test_a_failure_is_shared_and_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(shared_answer, "time", SimpleNamespace(monotonic=lambda: clock.seconds))
    work = Work()
    answer = SharedAnswer(work, seconds=1)
    work.broken = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="The store is away"):
            await answer.get()
    assert work.done == 1

    work.broken = False
    clock.seconds = 1.0

    assert await answer.get() == 2
