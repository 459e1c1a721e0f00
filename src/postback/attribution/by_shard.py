"""The attribution of every shard: one for each store, which works on the accounts that are placed on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime

from postback.attribution.runner import Attribution
from postback.store.event_store import EventStore
from postback.store.shards import Shards

__all__ = ["ShardAttributions"]


class ShardAttributions:
    """Makes the attribution of a shard when its store is open. Synchronous and thread-safe.

    Args:
        shards: The shards.
        make: Makes the attribution of a store.
    """

    def __init__(self, shards: Shards, make: Callable[[EventStore], Attribution]) -> None:
        self._shards = shards
        self._make = make
        self._made: dict[int, Attribution] = {}
        self._making = threading.Lock()
        self._stopped = False

    def of(self, account_id: str) -> Attribution:
        """The attribution of an account.

        Raises:
            StoreUnavailable: Its event store is away, or the control store doesn't answer.
        """
        return self._of(self._shards.of(account_id))

    def opened(self) -> dict[int, Attribution]:
        """The attribution of each shard that is open, by its number."""
        return {events.number: self._of(events) for events in self._shards}

    def complete_through(self, account_ids: Iterable[str] | None = None) -> datetime | None:
        """The time through which whatever was received is in the results; None while a first pass is at work.

        Args:
            account_ids: Only the results of these accounts; None for all that can be reached.

        Raises:
            StoreUnavailable: An event store is away, or the control store doesn't answer.
        """
        some = self.opened().values() if account_ids is None else [self.of(account_id) for account_id in account_ids]
        times = {each.complete_through for each in some}
        return None if None in times else min((time for time in times if time), default=None)

    def stop(self) -> None:
        """Let each run that is at work be the last of its call."""
        self._stopped = True
        for attribution in self._made.values():
            attribution.stop()

    def _of(self, events: EventStore) -> Attribution:
        with self._making:
            if events.number not in self._made:
                self._made[events.number] = self._make(events)
                if self._stopped:
                    self._made[events.number].stop()
            return self._made[events.number]
