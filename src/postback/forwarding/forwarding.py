"""The way of accepted events from a call into the outbox, and the senders that empty it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from postback.errors import Overloaded
from postback.forwarding.destination import Destinations
from postback.forwarding.outbox import KEPT_SECONDS, Outbox, Parcel
from postback.forwarding.packing import pack_declaration, pack_events
from postback.forwarding.sealing import Seal
from postback.forwarding.sender import Sender
from postback.forwarding.sent import SentCall, SentCalls
from postback.groups import Groups
from postback.metrics import Metrics
from postback.store.control import ControlStore

__all__ = ["MOST_BYTES", "Forwarding"]

MOST_BYTES = 2_000_000_000
"""How much may lie in the outbox for one destination, waiting or given up: disks are finite."""

_REMEMBERED_BYTES = 32_000_000
_SETTLED_SECONDS = 5.0
_MEASURE_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Forwarding:
    """Forwards the events of a server, and the declarations of their sources.

    Args:
        destinations: Where to.
        control: Where the outbox is kept.
        secret: The install's.
        metrics: Counts.
        record: Whether to remember the requests that were answered, as a sandbox does.
    """

    def __init__(
        self, destinations: Destinations, control: ControlStore, secret: bytes, metrics: Metrics, *, record: bool
    ) -> None:
        self._destinations = destinations
        self._outbox = Outbox(control)
        self._seal = Seal(secret)
        self._sent = SentCalls(_REMEMBERED_BYTES if record else 0)
        self._senders = {
            destination.name: Sender(destination, self._outbox, self._seal, metrics, self._sent)
            for destination in destinations.all()
        }
        self._sizes: dict[str, int] = {}
        self._measure_at = 0.0
        self._puts = Groups(self._put_all)
        self._running: list[asyncio.Task[None]] = []
        metrics.backlog(self._outbox.backlog)

    @property
    def declares(self) -> bool:
        """Whether there is a destination that takes AdCP's shape, and with it the declarations of sources."""
        return any(destination.template is None for destination in self._destinations.all())

    async def require_room(self, account_id: str, event_source_id: str) -> None:
        """See that the destinations of a source have room left in the outbox; it is measured every half minute.

        Raises:
            Overloaded: One has MOST_BYTES there; nothing may be acknowledged that couldn't be kept.
            StoreUnavailable: The outbox doesn't answer.
        """
        destinations = self._destinations.of(account_id, event_source_id)
        if destinations and time.monotonic() >= self._measure_at:
            self._measure_at = time.monotonic() + _MEASURE_SECONDS  # first, so that one caller measures and not all
            self._sizes = await asyncio.to_thread(self._outbox.sizes)
        if any(self._sizes.get(destination.name, 0) >= MOST_BYTES for destination in destinations):
            raise Overloaded("Too many events of this source wait to be forwarded.", retry_after=60)

    async def take(self, key_id: str, account_id: str, event_source_id: str, events: Iterable[msgspec.Raw]) -> None:
        """Keep accepted events of a call for the destinations of their source; durable on return.

        Args:
            key_id: The API key that they came with.
            account_id: Their account.
            event_source_id: Their source.
            events: The events; looked at only if there is a destination.

        Raises:
            StoreUnavailable: The outbox doesn't take them; the call may be repeated.
        """
        destinations = self._destinations.of(account_id, event_source_id)
        accepted = list(events) if destinations else []
        if accepted:
            await self._put(
                await asyncio.to_thread(
                    lambda: [parcel for to in destinations for parcel in pack_events(self._seal, to, key_id, accepted)]
                )
            )

    async def declare(self, key_id: str, account_id: str, declared: Mapping[str, msgspec.Raw]) -> None:
        """Keep declarations of sources, by event_source_id, for destinations without a template; durable on return.

        Raises:
            StoreUnavailable: The outbox doesn't take them; the call may be repeated.
        """
        parcels = [
            pack_declaration(self._seal, destination, key_id, raw)
            for event_source_id, raw in declared.items()
            for destination in self._destinations.of(account_id, event_source_id)
            if destination.template is None
        ]
        if parcels:
            await self._put(parcels)

    def sent(self, key_id: str, since: datetime) -> list[SentCall]:
        """The requests that an API key caused since then and that were answered, in the order of sending.

        What is due is waited for, at most for five seconds; call it in a thread.
        """
        deadline = time.monotonic() + _SETTLED_SECONDS
        while self._outbox.owes(key_id, self._senders) and time.monotonic() < deadline:
            time.sleep(0.02)
        return self._sent.of(key_id, since)

    def purge(self) -> None:
        """Forget what nothing was tried for in 30 days."""
        if count := self._outbox.purge(self._senders):
            _log.warning("forgot %d parcels that had not been deliverable for %d days", count, KEPT_SECONDS // 86_400)

    def start(self) -> None:
        """Begin to deliver, and tell what won't be."""
        for name, backlog in self._outbox.backlog().items():
            if name not in self._senders:
                _log.warning("%d events wait for %s, which no [[forwards]] names", sum(backlog[:2]), name)
            elif backlog.dead:
                _log.warning("%d events for %s were given up; see 'postback forwards list'", backlog.dead, name)
        self._running = [asyncio.create_task(sender.run()) for sender in self._senders.values()]

    async def stop(self) -> None:
        """Stop delivering; what is under way is tried again at the next start."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _put(self, parcels: Sequence[Parcel]) -> None:
        await self._puts.submit(parcels)
        for name in {parcel.destination for parcel in parcels}:
            self._senders[name].wake()

    def _put_all(self, groups: Sequence[Sequence[Parcel]]) -> list[None]:
        self._outbox.put([parcel for parcels in groups for parcel in parcels])
        return [None] * len(groups)
