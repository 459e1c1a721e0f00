"""What the server writes to a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from socket import socketpair

import pytest
import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from postback.transports.connections import (
    BODY_GRACE_SECONDS,
    MOST_WAITING,
    UNREAD_SECONDS,
    BoundedProtocol,
    GatheredWrites,
    close_overdue,
)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[GatheredWrites, asyncio.StreamReader]]:
    """The server's end of a connection, and what its caller reads."""
    loop = asyncio.get_running_loop()
    ours, callers = socketpair()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    reader, writer = await asyncio.open_connection(sock=callers)
    yield GatheredWrites(transport, loop), reader
    writer.close()
    transport.close()


@pytest.mark.anyio
async def test_a_head_and_its_body_arrive_in_one_piece() -> None:
    async with connected() as (writes, caller):
        writes.write(b"head ")
        writes.write(b"body")
        writes.flush()

        assert await caller.read(100) == b"head body"


@pytest.mark.anyio
async def test_a_part_whose_rest_takes_long_does_not_wait_for_it() -> None:
    async with connected() as (writes, caller):
        writes.write(b"100 Continue")

        assert await caller.read(100) == b"100 Continue"


@pytest.mark.anyio
async def test_what_was_written_is_sent_before_a_connection_is_closed() -> None:
    async with connected() as (writes, caller):
        writes.write(b"goodbye")
        writes.close()

        assert await caller.read() == b"goodbye"


@pytest.mark.anyio
async def test_a_response_to_a_caller_that_has_gone_is_dropped() -> None:
    async with connected() as (writes, caller):
        writes.close()
        writes.write(b"too late")
        writes.flush()

        assert writes.is_closing()
        assert await caller.read() == b""


_LARGE = 16_000_000


_ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def served(
    app: ASGIApp, state: ServerState | None = None, *, places: int = 10
) -> AsyncIterator[tuple[BoundedProtocol, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to an application, and its caller."""
    state, loop = state or ServerState(), asyncio.get_running_loop()
    config = uvicorn.Config(app, log_config=None)
    config.load()
    ours, callers = socketpair()
    _, protocol = await loop.create_connection(lambda: BoundedProtocol(places, config, state, {}), sock=ours)
    reader, writer = await asyncio.open_connection(sock=callers, limit=1_000)
    try:
        yield protocol, reader, writer
    finally:
        writer.transport.abort()
        protocol.transport.close()


@asynccontextmanager
async def asked_for_much() -> AsyncIterator[tuple[BoundedProtocol, asyncio.StreamReader]]:
    """A connection whose caller has asked for a large response, and its caller."""
    async with served(Response(bytes(_LARGE))) as (protocol, reader, writer):
        writer.write(_ASK)
        await reader.readuntil(b"\r\n\r\n")
        yield protocol, reader


@pytest.mark.anyio
async def test_a_connection_is_closed_whose_caller_does_not_read() -> None:
    async with asked_for_much() as (protocol, caller):
        now = asyncio.get_running_loop().time()
        close_overdue({protocol}, now)
        close_overdue({protocol}, now + UNREAD_SECONDS + 1)

        with suppress(ConnectionResetError):
            assert len(await caller.read()) < _LARGE


@pytest.mark.anyio
async def test_a_caller_that_reads_slowly_has_all_the_time_that_it_needs() -> None:
    async with asked_for_much() as (protocol, caller):
        now, read = asyncio.get_running_loop().time(), 0
        while read < _LARGE:
            close_overdue({protocol}, now)
            read += len(await caller.readexactly(_LARGE // 16))
            await asyncio.sleep(0)
            now += UNREAD_SECONDS - 1

        assert not protocol.transport.is_closing()


class Held:
    """An application that answers a request with its number when it is let go, and keeps reading until then."""

    def __init__(self) -> None:
        self._go = asyncio.Semaphore(0)
        self.asked = 0

    def let_go(self, count: int) -> None:
        for _ in range(count):
            self._go.release()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        number = self.asked
        reading = asyncio.create_task(self._read(receive))
        await self._go.acquire()
        reading.cancel()
        await Response(f"answer {number};")(scope, receive, send)

    async def _read(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


async def _turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.anyio
async def test_a_pipeline_is_answered_in_its_order() -> None:
    held = Held()
    async with served(held) as (_, caller, writer):
        writer.write(5 * _ASK)
        await _turns()
        assert held.asked == 1
        held.let_go(5)

        for number in range(1, 6):
            assert b"close" not in await caller.readuntil(b"\r\n\r\n")
            assert await caller.readuntil(b";") == b"answer %d;" % number


@pytest.mark.anyio
async def test_a_pipeline_without_end_does_not_fill_memory() -> None:
    held = Held()
    async with served(held) as (protocol, _, _):
        for _ in range(4):
            protocol.data_received(2_000 * _ASK)
            held.let_go(1)
            await _turns()
            assert len(protocol.pipeline) <= MOST_WAITING
            assert protocol.flow.read_paused


@pytest.mark.anyio
async def test_what_waits_beyond_the_bound_is_dropped_and_the_caller_is_told_so() -> None:
    held = Held()
    async with served(held) as (_, caller, writer):
        writer.write(100 * _ASK)
        await _turns()
        held.let_go(100)
        answers = (await caller.read()).split(b";")[:-1]

    assert len(answers) == 1 + MOST_WAITING
    assert [b"connection: close" in answer.lower() for answer in answers] == [*[False] * MOST_WAITING, True]
    assert answers[-1].endswith(b"answer %d" % len(answers))


@pytest.mark.anyio
@pytest.mark.parametrize("ahead", [b"POST / HTTP/1.1\r\nContent-Length: 60000000\r\n\r\n", b"GET / HTTP/1.1\r\nX: "])
@pytest.mark.parametrize("answered", [0, 1])
async def test_what_is_sent_behind_a_request_waits_with_its_sender(answered: int, ahead: bytes) -> None:
    held = Held()
    async with served(held) as (protocol, _, writer):
        writer.write(_ASK)
        await _turns()
        writer.write(answered * _ASK + ahead)
        await _turns()
        held.let_go(answered)
        for _ in range(60):
            writer.write(b"x" * 1_000_000)
            await _turns(5)

        assert protocol.flow.read_paused
        assert writer.transport.get_write_buffer_size() > 50_000_000


@pytest.mark.anyio
async def test_a_body_that_waited_behind_a_request_is_read_to_its_end() -> None:
    async def count(scope: Scope, receive: Receive, send: Send) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        await Response(f"{size};")(scope, receive, send)

    async with served(count) as (_, caller, writer):
        writer.write(3 * (b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000))
        for _ in range(3):
            await caller.readuntil(b"\r\n\r\n")
            assert await caller.readuntil(b";") == b"1000000;"


@pytest.mark.anyio
async def test_a_request_behind_a_refused_body_may_come_in_pieces() -> None:
    async with served(Response("refused;")) as (_, caller, writer):
        for piece in (b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n", b"body", _ASK[:9], _ASK[9:]):
            writer.write(piece)
            await _turns()

        for _ in range(2):
            await caller.readuntil(b";")


@pytest.mark.anyio
async def test_the_rest_of_a_refused_body_has_a_deadline_however_fast_it_comes() -> None:
    async with served(Response("refused;")) as (protocol, caller, writer):
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 64000000\r\n\r\n")
        await caller.readuntil(b";")
        now = asyncio.get_running_loop().time()
        writer.write(b"x" * 10_000_000)
        await _turns(500)

        close_overdue({protocol}, now + BODY_GRACE_SECONDS - 1)
        assert not protocol.transport.is_closing()
        close_overdue({protocol}, now + BODY_GRACE_SECONDS + 1)
        assert protocol.transport.is_closing()


@pytest.mark.anyio
async def test_a_body_that_was_refused_makes_way_before_a_connection_that_waits_for_its_next_call() -> None:
    app, state = Response("answer;"), ServerState()
    async with (
        served(app, state, places=2) as (idle, *_, caller),
        served(app, state, places=2) as (refused, *_, stranger),
    ):
        caller.write(_ASK)
        await _turns()
        stranger.write(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
        await _turns()
        async with served(app, state, places=2) as (newest, *_):
            await _turns()
            assert [each.transport.is_closing() for each in (idle, refused, newest)] == [False, True, False]


@pytest.mark.anyio
async def test_a_connection_with_a_request_at_work_does_not_make_way_for_another() -> None:
    async with served(Held()) as (busy, _, caller):
        caller.write(_ASK + b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
        await _turns()

        assert (busy.awaits, busy.makes_way) == ("body", False)
