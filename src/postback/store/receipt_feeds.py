"""What is stored, as it is stored: one read a second for each account that somebody watches, however many do."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from postback.errors import PostbackError, RateLimitExceeded
from postback.store.receipts import Receipt, new_receipts
from postback.store.shards import Shards
from postback.threads import ThreadPool

__all__ = ["MOST_VIEWERS", "ReceiptFeed", "ReceiptFeeds", "Stretch"]

MOST_VIEWERS = 10
"""How many feeds one key may watch at a time."""

_SECONDS = 1.0
_MOST = 5_000
"""Receipts that one read takes into memory; where there are more, a viewer reads those that it shows itself."""

_REMEMBERED = 10
"""Stretches that are remembered for those who are slow."""

_log = logging.getLogger(__name__)


class Stretch(NamedTuple):
    """What was stored of one account in a span of time.

    Attributes:
        after: It was received later than this.
        through: It was not received later than this.
        receipts: All of it, newest first; None if it is too much to be held in memory, or no longer there.
    """

    after: datetime
    through: datetime
    receipts: list[Receipt] | None


class ReceiptFeed:
    """What is stored of one account, while somebody watches."""

    def __init__(self) -> None:
        self.viewers = 0
        self._stretches: deque[Stretch] = deque(maxlen=_REMEMBERED)
        self._news = asyncio.Event()

    def publish(self, stretch: Stretch) -> None:
        """Show viewers what is new."""
        self._stretches.append(stretch)
        self._news.set()
        self._news = asyncio.Event()

    async def next(self, after: datetime) -> Stretch:
        """What is stored of what was received after a time, once there is anything new or a second has passed."""
        while True:
            news = self._news
            for stretch in self._stretches:
                if stretch.after <= after < stretch.through:
                    return stretch
            if self._stretches and self._stretches[-1].through > after:
                return Stretch(after, self._stretches[-1].through, None)
            await news.wait()


class ReceiptFeeds:
    """The feeds of every account, for one event loop.

    Args:
        shards: The event stores.
        reads: Where they are read.
    """

    def __init__(self, shards: Shards, reads: ThreadPool) -> None:
        self._shards = shards
        self._reads = reads
        self._feeds: dict[str, ReceiptFeed] = {}
        self._readers: set[asyncio.Task[None]] = set()
        self._viewers: Counter[str] = Counter()

    def has_room(self, key_id: str) -> bool:
        """Whether a key may watch one more feed."""
        return self._viewers[key_id] < MOST_VIEWERS

    @contextmanager
    def watch(self, account_id: str, key_id: str) -> Iterator[ReceiptFeed]:
        """The feed of an account, which is read until nobody watches it any more.

        Raises:
            RateLimitExceeded: The key watches as many as it may.
        """
        if not self.has_room(key_id):
            raise RateLimitExceeded(
                f"{MOST_VIEWERS} live views are open with this key, and no more may be.",
                suggestion="Close one, then reload this one.",
                retry_after=10,
            )
        feed = self._feeds.get(account_id)
        if feed is None:
            feed = self._feeds[account_id] = ReceiptFeed()
            reader = asyncio.create_task(self._read(account_id, feed), name="receipt feed")
            self._readers.add(reader)
            reader.add_done_callback(self._readers.discard)
        self._viewers[key_id] += 1
        feed.viewers += 1
        try:
            yield feed
        finally:
            feed.viewers -= 1
            self._viewers -= Counter([key_id])
            if not feed.viewers:
                del self._feeds[account_id]

    async def _read(self, account_id: str, feed: ReceiptFeed) -> None:
        """Read what is new every second, for as long as the feed has viewers."""
        after: datetime | None = None
        while feed.viewers:
            try:
                events = await self._reads.run(self._shards.of, account_id)
                if after is None:
                    after = await self._reads.run(events.stored_through)
                found, through = await self._reads.run(new_receipts, events, account_id, _MOST, after=after)
            except PostbackError as error:
                _log.warning("what is new could not be read for the live view: %s", error)
            else:
                feed.publish(Stretch(after, through, found))
                after = through
            await asyncio.sleep(_SECONDS)
