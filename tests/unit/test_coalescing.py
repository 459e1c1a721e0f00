"""Work that callers share is logged for the one request that asked for it, and for none when there are several."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from postback.logs import RequestContext, current_request
from postback.store.coalescing import Coalescer
from postback.threads import ThreadPool

pytestmark = pytest.mark.anyio


def _request_ids(items: Sequence[str]) -> list[str | None]:
    """The request id that a line would carry that is logged here, in the thread, once for each item."""
    request = current_request.get()
    return [request.request_id if request else None] * len(items)


async def _submit(coalescer: Coalescer[str, str | None], request_id: str) -> str | None:
    current_request.set(RequestContext(request_id))
    return await coalescer.submit(request_id)


async def test_a_group_of_one_is_logged_for_its_request_and_a_shared_one_for_none() -> None:
    coalescer = Coalescer(_request_ids, ThreadPool("test", 1))

    assert await asyncio.create_task(_submit(coalescer, "alone")) == "alone"
    assert list(await asyncio.gather(_submit(coalescer, "first"), _submit(coalescer, "second"))) == [None] * 2
    assert await asyncio.create_task(_submit(coalescer, "last")) == "last"


async def test_a_group_that_follows_anothers_is_not_logged_for_it() -> None:
    coalescer = Coalescer(_request_ids, ThreadPool("test", 1))
    first = asyncio.create_task(_submit(coalescer, "first"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the first group is at work; whoever comes now is the second
    second = asyncio.create_task(_submit(coalescer, "second"))

    assert (await first, await second) == ("first", "second")
