"""The way of accepted events from a call into the outbox, and the senders that empty it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from hashlib import sha256

import msgspec

from postback.forwarding.destination import Destination, Destinations
from postback.forwarding.outbox import Outbox, Parcel
from postback.forwarding.sealing import Seal
from postback.forwarding.sender import Sender, SentCall
from postback.metrics import Metrics
from postback.store.control import ControlStore

__all__ = ["Forwarding"]


class Forwarding:
    """Forwards the events of a server.

    Args:
        destinations: Where to.
        control: Where the outbox is kept.
        secret: The install's.
        metrics: Counts.
        record: Whether to remember the requests that are sent, as a sandbox does.
    """

    def __init__(
        self, destinations: Destinations, control: ControlStore, secret: bytes, metrics: Metrics, *, record: bool
    ) -> None:
        self._destinations = destinations
        self._outbox = Outbox(control)
        self._seal = Seal(secret)
        self._senders = {
            destination.name: Sender(destination, self._outbox, self._seal, metrics, record=record)
            for destination in destinations.all()
        }
        self._running: list[asyncio.Task[None]] = []
        metrics.backlog(self._outbox.backlog)

    @property
    def configured(self) -> bool:
        """Whether there is any destination."""
        return bool(self._senders)

    async def take(
        self,
        account_id: str,
        event_source_id: str,
        events: Sequence[msgspec.Raw],
        failed: Sequence[int],
        fingerprint: bytes,
    ) -> None:
        """Keep the accepted events of a call for their destinations; durable on return.

        Args:
            account_id: The account of the events.
            event_source_id: Their source.
            events: All events of the call.
            failed: The places of those that were not accepted.
            fingerprint: A digest of the events, the same when the call is repeated.

        Raises:
            StoreUnavailable: The outbox doesn't take them; the call may be repeated.
        """
        destinations = self._destinations.of(account_id, event_source_id)
        if not destinations or len(failed) == len(events):
            return
        refused = set(failed)
        accepted = [event for place, event in enumerate(events) if place not in refused]
        said = (account_id, event_source_id, fingerprint, len(accepted))
        await asyncio.to_thread(self._put, destinations, said, accepted)
        for destination in destinations:
            self._senders[destination.name].wake()

    def _put(
        self, destinations: list[Destination], said: tuple[str, str, bytes, int], accepted: list[msgspec.Raw]
    ) -> None:
        plain = msgspec.json.encode(accepted)
        parcels = []
        for destination in destinations:
            parcel_id = sha256(repr((destination.name, *said)).encode()).hexdigest()[:32]
            sealed = self._seal.close(plain, parcel_id)
            parcels.append(Parcel(parcel_id, destination.name, said[0], said[1], len(accepted), sealed))
        self._outbox.put(parcels)

    def sent(self, account_ids: Sequence[str], since: datetime) -> list[SentCall]:
        """The requests that carried events of these accounts since then, in order; sandboxes remember a thousand."""
        calls = [call for sender in self._senders.values() for call in sender.sent]
        mine = [call for call in calls if call.account_id in account_ids and call.at >= since]
        return sorted(mine, key=lambda call: call.at)

    def start(self) -> None:
        """Begin to deliver."""
        self._running = [asyncio.create_task(sender.run()) for sender in self._senders.values()]

    async def stop(self) -> None:
        """Stop delivering; what is under way is tried again at the next start."""
        for task in self._running:
            task.cancel()
        for task in self._running:
            with suppress(asyncio.CancelledError):
                await task
