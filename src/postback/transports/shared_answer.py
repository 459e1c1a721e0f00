"""An answer that many callers share, for what needs no key: strangers ask as often as they like."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from postback.errors import PostbackError

__all__ = ["SHARED_SECONDS", "SharedAnswer"]

SHARED_SECONDS = 1.0
"""How long an answer is good for."""

_Answer = TypeVar("_Answer")


class SharedAnswer(Generic[_Answer]):
    """Makes an answer at most once a second, and gives it to everybody who asks within the next; failures, too.

    Args:
        make: Makes the answer.
        seconds: How long it is good for.
    """

    def __init__(self, make: Callable[[], Awaitable[_Answer]], seconds: float = SHARED_SECONDS) -> None:
        self._make = make
        self._seconds = seconds
        self._made: tuple[_Answer] | PostbackError | None = None
        self._good_until = 0.0
        self._making = asyncio.Lock()

    async def get(self) -> _Answer:
        """The answer.

        Raises:
            PostbackError: What making it raised.
        """
        async with self._making:
            if self._made is None or time.monotonic() >= self._good_until:
                await self._renew()
        if isinstance(self._made, PostbackError):
            raise self._made
        assert self._made is not None  # noqa: S101 - narrows the type: it was just made
        return self._made[0]

    async def _renew(self) -> None:
        try:
            self._made = (await self._make(),)
        except PostbackError as error:
            self._made = error
        self._good_until = time.monotonic() + self._seconds
