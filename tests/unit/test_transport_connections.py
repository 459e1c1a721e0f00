"""What the server writes to a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import socketpair

import pytest

from postback.transports.connections import GatheredWrites


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
