"""What came from the sources of accounts, read seldom: it takes a look at a week of outcomes."""

from __future__ import annotations

import asyncio

from cachetools import TTLCache

from postback.services import Services
from postback.tasks.source_health import Traffic, account_traffic

__all__ = ["RecentTraffic"]

_GOOD_SECONDS = 15
_MOST_ACCOUNTS = 1_000


class RecentTraffic:
    """The traffic of each account as it was a quarter of a minute ago at most. For one event loop."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reads: TTLCache[str, asyncio.Task[Traffic]] = TTLCache(_MOST_ACCOUNTS, _GOOD_SECONDS)

    async def of(self, account_id: str) -> Traffic:
        """The traffic of one account; visitors who ask meanwhile wait for the same read.

        Raises:
            StoreUnavailable: A store is unavailable.
        """
        read = self._reads.get(account_id)
        if read is None or (read.done() and (read.cancelled() or read.exception())):
            read = asyncio.create_task(
                self._services.read_stored([account_id], account_traffic, self._services, account_id)
            )
            self._reads[account_id] = read
        return await asyncio.shield(read)
