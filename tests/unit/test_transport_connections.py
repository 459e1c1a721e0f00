"""What the server writes to a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from socket import socketpair

import pytest
import uvicorn
from starlette.responses import Response
from uvicorn.server import ServerState

from postback.transports.connections import UNREAD_SECONDS, BoundedProtocol, GatheredWrites, close_overdue


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


@asynccontextmanager
async def asked_for_much() -> AsyncIterator[tuple[BoundedProtocol, asyncio.StreamReader]]:
    """A connection whose caller has asked for a large response, and its caller."""
    state, loop = ServerState(), asyncio.get_running_loop()
    config = uvicorn.Config(Response(bytes(_LARGE)), log_config=None)
    config.load()
    ours, callers = socketpair()
    _, protocol = await loop.create_connection(lambda: BoundedProtocol(10, config, state, {}), sock=ours)
    reader, writer = await asyncio.open_connection(sock=callers, limit=1_000)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    yield protocol, reader
    writer.close()
    protocol.transport.close()


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
