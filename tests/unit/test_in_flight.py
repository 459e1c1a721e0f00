"""Requests share a server: no key takes all of it, and whoever waits is let in as soon as there is room."""

from __future__ import annotations

import asyncio

import pytest

from postback.auth.in_flight import SMALL_BODY_BYTES, InFlight
from postback.errors import Overloaded, RateLimitExceeded

pytestmark = pytest.mark.anyio

_HALF = 1_000_000
_NEVER = 3_600.0


def _in_flight(wait_seconds: float = _NEVER) -> InFlight:
    return InFlight(10, 2 * _HALF, wait_seconds=wait_seconds)


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_key_has_only_so_many_requests_at_once_and_another_key_its_own() -> None:
    refused: list[str] = []
    in_flight = InFlight(2, _HALF, refused.append)
    first = in_flight.begin("a")
    in_flight.begin("a")

    with pytest.raises(RateLimitExceeded) as error:
        in_flight.begin("a")
    in_flight.begin("b")
    first.end()
    in_flight.begin("a")

    assert (error.value.retry_after, refused) == (1, ["concurrency"])


async def test_a_key_that_has_half_of_the_memory_waits_for_itself_and_keeps_out_nobody() -> None:
    in_flight = _in_flight()
    first, second, other = in_flight.begin("a"), in_flight.begin("a"), in_flight.begin("b")
    await first.hold(_HALF)
    waiting = asyncio.create_task(second.hold(100_000))
    await _settled()

    await other.hold(_HALF)
    assert not waiting.done()
    first.end()
    await waiting

    assert in_flight.bytes == _HALF + 100_000


async def test_a_small_request_needs_no_room() -> None:
    in_flight = _in_flight()
    await in_flight.begin("a").hold(_HALF)

    await in_flight.begin("a").hold(SMALL_BODY_BYTES)

    assert in_flight.bytes == _HALF


async def test_whoever_waits_for_all_keys_is_not_overtaken() -> None:
    in_flight = _in_flight()
    first, second, large, late = (in_flight.begin(key_id) for key_id in "abcd")
    await first.hold(_HALF)
    await second.hold(_HALF - 200_000)
    order: list[str] = []

    async def wait(name: str, size: int) -> None:
        await {"large": large, "late": late}[name].hold(size)
        order.append(name)

    waiting = asyncio.gather(wait("large", 300_000), wait("late", 150_000))
    await _settled()
    assert order == []
    first.end()
    await waiting

    assert order == ["large", "late"]


async def test_whoever_waits_too_long_is_refused_and_takes_nothing() -> None:
    refused: list[str] = []
    in_flight = InFlight(10, 2 * _HALF, refused.append, wait_seconds=0.01)
    first, second = in_flight.begin("a"), in_flight.begin("a")
    await first.hold(_HALF)

    with pytest.raises(Overloaded) as error:
        await second.hold(_HALF)
    second.end()
    first.end()

    assert (error.value.retry_after, refused, in_flight.bytes) == (1, ["memory"], 0)


async def test_a_caller_that_leaves_while_it_waits_makes_room_for_the_next() -> None:
    in_flight = _in_flight()
    first, leaving, next_one = (in_flight.begin("a") for _ in range(3))
    await first.hold(_HALF - 100_000)
    gone = asyncio.create_task(leaving.hold(_HALF))
    waiting = asyncio.create_task(next_one.hold(100_000))
    await _settled()

    gone.cancel()
    await waiting

    assert gone.cancelled()
    assert in_flight.bytes == _HALF


async def test_a_caller_that_leaves_as_it_is_let_in_takes_nothing() -> None:
    in_flight = _in_flight()
    first, leaving = in_flight.begin("a"), in_flight.begin("a")
    await first.hold(_HALF)
    gone = asyncio.create_task(leaving.hold(_HALF))
    await _settled()

    first.end()
    gone.cancel()
    await asyncio.wait([gone])

    assert gone.cancelled()
    assert in_flight.bytes == 0


async def test_a_body_that_turns_out_smaller_gives_the_rest_back() -> None:
    in_flight = _in_flight()
    share = in_flight.begin("a")
    await share.hold(900_000)
    await share.hold(100_000)
    assert in_flight.bytes == 100_000

    share.end()

    assert in_flight.bytes == 0


async def test_responses_that_are_not_read_take_half_of_the_memory_and_no_more() -> None:
    refused: list[str] = []
    in_flight = InFlight(10, 2 * _HALF, refused.append)
    first, second, other = in_flight.begin("a"), in_flight.begin("a"), in_flight.begin("b")

    assert first.take(3 * _HALF)  # of any size, if it is alone
    assert second.take(SMALL_BODY_BYTES)
    assert not second.take(SMALL_BODY_BYTES + 1)
    first.end()
    assert second.take(SMALL_BODY_BYTES + 1)
    assert other.take(_HALF)

    assert refused == ["memory"]


async def test_a_response_takes_the_place_of_its_body() -> None:
    in_flight = _in_flight()
    share = in_flight.begin("a")
    await share.hold(_HALF)

    assert share.take(_HALF)
    assert in_flight.bytes == _HALF
    share.end()
    assert in_flight.bytes == 0
