"""What requests take while they are under way: how many a key may have, and memory for bodies and responses."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from postback.errors import Overloaded, RateLimitExceeded

__all__ = ["SMALL_BODY_BYTES", "InFlight", "RequestShare"]

SMALL_BODY_BYTES = 65_536
"""Bodies up to this size need no memory set apart: the number of requests bounds them."""

_WAIT_SECONDS = 10.0
"""How long a request waits for memory before it is refused."""


class _Waiter(NamedTuple):
    key_id: str
    size: int
    granted: asyncio.Future[None]


class InFlight:
    """The requests that are under way, for one event loop.

    Bodies, and then responses until they are sent, share ``memory``, of which one key never has more than half, so that
    no key keeps the others out. A request that finds no room waits, unread: its sender is slowed down by TCP.

    Args:
        requests: Requests that a key may have at once.
        memory: Bytes for the bodies of all requests.
        refused: Called with ``concurrency`` or ``memory`` for each request that is refused.
        wait_seconds: How long a request waits for memory.
    """

    def __init__(
        self,
        requests: int,
        memory: int,
        refused: Callable[[str], None] = lambda _: None,
        wait_seconds: float = _WAIT_SECONDS,
    ) -> None:
        self._most_requests = requests
        self._memory = memory
        self._key_memory = memory // 2
        self._refused = refused
        self._wait_seconds = wait_seconds
        self._requests: dict[str, int] = {}
        self._bytes: dict[str, int] = {}
        self._waiters: deque[_Waiter] = deque()

    @property
    def bytes(self) -> int:
        """Bytes that are set apart for bodies now."""
        return sum(self._bytes.values())

    def begin(self, key_id: str) -> RequestShare:
        """Let a request of this key in; ``end`` must be called on what is returned.

        Raises:
            RateLimitExceeded: The key has as many under way as it may have.
        """
        under_way = self._requests.get(key_id, 0)
        if under_way >= self._most_requests:
            self._refused("concurrency")
            raise RateLimitExceeded(
                f"This API key has {self._most_requests:,} requests under way, and may not have more at once.",
                retry_after=1,
                suggestion="Wait for the responses to other requests, then retry.",
            )
        self._requests[key_id] = under_way + 1
        return RequestShare(self, key_id)

    def end(self, key_id: str, size: int) -> None:
        """Forget a request that had ``size`` bytes."""
        _subtract(self._requests, key_id, 1)
        self.release(key_id, size)

    async def reserve(self, key_id: str, size: int) -> None:
        """Set memory apart for a body, or for more of it; waits until there is room.

        Raises:
            Overloaded: There is none in time.
        """
        if not self._waiters and self._fits(key_id, size):
            self._add(key_id, size)
            return
        waiter = _Waiter(key_id, size, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._grant()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await waiter.granted
        except BaseException as error:
            if waiter.granted.done() and not waiter.granted.cancelled():
                self.release(key_id, size)
            else:
                self._waiters.remove(waiter)
                self._grant()
            if not isinstance(error, TimeoutError):
                raise
            self._refused("memory")
            raise Overloaded("The server has no memory for this body at the moment.", retry_after=1) from None

    def take(self, key_id: str, size: int) -> bool:
        """Set memory apart at once, for a response that is made already; returns False if there is no room.

        A key that has nothing else under way may have a response of any size.
        """
        if key_id in self._bytes and not self._fits(key_id, size):
            self._refused("memory")
            return False
        self._add(key_id, size)
        return True

    def release(self, key_id: str, size: int) -> None:
        """Give memory back, to those who wait."""
        if size:
            _subtract(self._bytes, key_id, size)
            self._grant()

    def _fits(self, key_id: str, size: int) -> bool:
        return self._bytes.get(key_id, 0) + size <= self._key_memory and self.bytes + size <= self._memory

    def _add(self, key_id: str, size: int) -> None:
        self._bytes[key_id] = self._bytes.get(key_id, 0) + size

    def _grant(self) -> None:
        """Let those go on for whom there is room, in their order.

        Whoever waits for the rest of its own key holds up no other key; whoever waits for all keys is next.
        """
        held_up: set[str] = set()
        for waiter in list(self._waiters):
            if waiter.granted.done():  # cancelled; it is about to leave
                continue
            if waiter.key_id in held_up or self._bytes.get(waiter.key_id, 0) + waiter.size > self._key_memory:
                held_up.add(waiter.key_id)
            elif self._fits(waiter.key_id, waiter.size):
                self._waiters.remove(waiter)
                self._add(waiter.key_id, waiter.size)
                waiter.granted.set_result(None)
            else:
                return


class RequestShare:
    """What one request takes.

    Args:
        in_flight: Of which it is a share.
        key_id: The request's key.
    """

    __slots__ = ("_held", "_in_flight", "_key_id")

    def __init__(self, in_flight: InFlight, key_id: str) -> None:
        self._in_flight = in_flight
        self._key_id = key_id
        self._held = 0

    async def hold(self, size: int) -> None:
        """Have this many bytes set apart, more or fewer than before.

        Raises:
            Overloaded: There is no room in time.
        """
        wanted = 0 if size <= SMALL_BODY_BYTES else size
        if wanted > self._held:
            await self._in_flight.reserve(self._key_id, wanted - self._held)
        elif wanted < self._held:
            self._in_flight.release(self._key_id, self._held - wanted)
        self._held = wanted

    def take(self, size: int) -> bool:
        """Have this many bytes set apart for the response, if it is large, in the place of the body's.

        Returns:
            Whether there is room.
        """
        more = size - self._held
        if size <= SMALL_BODY_BYTES or more <= 0:
            return True
        if not self._in_flight.take(self._key_id, more):
            return False
        self._held += more
        return True

    def end(self) -> None:
        """Give back what the request takes."""
        self._in_flight.end(self._key_id, self._held)
        self._held = 0


def _subtract(counts: dict[str, int], key_id: str, number: int) -> None:
    """Subtract, and forget a key that has nothing left."""
    counts[key_id] -= number
    if not counts[key_id]:
        del counts[key_id]
