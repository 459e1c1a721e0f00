"""The attribution and the retention of every shard: they work on the accounts that are placed on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime

from sqlalchemy import Connection

from postback.attribution.retention import Retention
from postback.attribution.runner import ATTRIBUTION, Attribution
from postback.store.control_store import ControlStore
from postback.store.event_store import EventStore
from postback.store.leases import Lease, is_held
from postback.store.nodes import Node
from postback.store.placements import FIRST_SHARD
from postback.store.shards import Shards

__all__ = ["ShardAttributions", "lease_of", "unattributed_shards"]


class ShardAttributions:
    """Makes the attribution of a shard when its store is open. Synchronous and thread-safe.

    Args:
        shards: The shards.
        control: Where each shard has a lease, so that several servers divide the shards among them.
        make: Makes the attribution of a store.
        retain: Makes the retention of a store; None where everything is kept.
    """

    def __init__(
        self,
        shards: Shards,
        control: ControlStore,
        make: Callable[[EventStore, Lease], Attribution],
        retain: Callable[[EventStore, Attribution], Retention] | None = None,
    ) -> None:
        self._shards = shards
        self._control = control
        self._make = make
        self._retain = retain
        self._made: dict[int, tuple[Attribution, Lease, Retention | None]] = {}
        self._making = threading.Lock()
        self._stopped = False

    def of(self, account_id: str) -> Attribution:
        """The attribution of an account.

        Raises:
            StoreUnavailable: Its event store is away, or the control store doesn't answer.
        """
        return self._of(self._shards.of(account_id))[0]

    def opened(self) -> dict[int, tuple[Attribution, Retention | None]]:
        """The attribution and the retention of each shard that is open, by its number."""
        made = {events.number: self._of(events) for events in self._shards}
        return {number: (attribution, retention) for number, (attribution, _, retention) in made.items()}

    def complete_through(self, account_ids: Iterable[str] | None = None) -> datetime | None:
        """The time through which whatever was received is in the results; None while a first pass is at work.

        Args:
            account_ids: Only the results of these accounts; None for all that can be reached.

        Raises:
            StoreUnavailable: An event store is away, or the control store doesn't answer.
        """
        some = (
            [attribution for attribution, _ in self.opened().values()]
            if account_ids is None
            else [self.of(account_id) for account_id in account_ids]
        )
        times = {each.complete_through for each in some}
        return None if None in times else min((time for time in times if time), default=None)

    def renew(self) -> None:
        """Keep the leases of the shards whose runs take long.

        Raises:
            StoreUnavailable: The control store rejects the write.
        """
        for _, lease, _ in list(self._made.values()):
            lease.renew()

    def release(self) -> None:
        """Let other servers go on at once; no run is at work any more.

        Raises:
            StoreUnavailable: The control store rejects the write.
        """
        for _, lease, _ in self._made.values():
            lease.release()

    def follow_placements(self, follow: Callable[[int], int], node: Node) -> None:
        """Let this server go by where accounts are now, and tell the others when nothing goes by where they were.

        Args:
            follow: ``Flusher.follow_placements``.
            node: This server.

        Raises:
            StoreUnavailable: The control store doesn't answer.
        """
        version, move = follow(node.placements), self._shards.move
        if version <= node.placements:
            return
        for number in (move.shard, move.other) if move else ():
            if number in self._made:
                self._made[number][0].let_go()
        node.follow(version)

    def stop(self) -> None:
        """Let each run that is at work be the last of its call."""
        self._stopped = True
        for attribution, _, _ in list(self._made.values()):
            attribution.stop()

    def close(self) -> None:
        """Close what retention has open."""
        for _, _, retention in self._made.values():
            if retention:
                retention.close()

    def _of(self, events: EventStore) -> tuple[Attribution, Lease, Retention | None]:
        with self._making:
            if events.number not in self._made:
                lease = lease_of(self._control, events.number)
                attribution = self._make(events, lease)
                if self._stopped:
                    attribution.stop()
                retention = self._retain(events, attribution) if self._retain else None
                self._made[events.number] = attribution, lease, retention
            return self._made[events.number]


def lease_of(control: ControlStore, shard: int) -> Lease:
    """The lease of the server that attributes on a shard."""
    return Lease(control, _lease_name(shard))


def unattributed_shards(connection: Connection, numbers: Iterable[int]) -> list[int]:
    """Those of these shards on which no server attributes."""
    return [number for number in numbers if not is_held(connection, _lease_name(number))]


def _lease_name(shard: int) -> str:
    return ATTRIBUTION if shard == FIRST_SHARD else f"{ATTRIBUTION} on shard {shard}"
