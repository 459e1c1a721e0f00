"""What a server opened, and how it is closed in order."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

__all__ = ["Resources"]

_log = logging.getLogger(__name__)


class Resources(AsyncExitStack):
    """What was opened, to be closed in the reverse order whatever fails.

    An error of closing is logged, and raised only if nothing had failed before: the first error is the one that
    explains the others.
    """

    def closing(self, what: str, close: Callable[[], Awaitable[object] | None]) -> None:
        """Have ``close`` called, and awaited if need be; ``what`` names for the log what it closes."""

        async def leave(_: object, first: BaseException | None, __: object) -> None:
            try:
                closed = close()
                if closed is not None:
                    await closed
            except Exception as error:
                _log.error("closing the %s failed", what, exc_info=error)
                if first is None:
                    raise

        self.push_async_exit(leave)

    async def entering(self, what: str, context: AbstractAsyncContextManager[object]) -> None:
        """Enter a context, which is left without being told of errors: a task group would wrap them."""
        await context.__aenter__()
        self.closing(what, lambda: context.__aexit__(None, None, None))
