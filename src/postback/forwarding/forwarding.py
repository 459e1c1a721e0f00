"""Forwarding: puts accepted events into the outbox, and runs the senders that deliver them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import msgspec
from sqlalchemy import Connection

from postback.clock import Clock
from postback.collectors import Backlog
from postback.errors import Overloaded, StoreUnavailable
from postback.event_sources.signals import SignalChange
from postback.forwarding.alerts import alerts_of
from postback.forwarding.destination import Destination, Destinations
from postback.forwarding.encryption import Encryptor
from postback.forwarding.outbox import RETENTION_SECONDS, Outbox
from postback.forwarding.requests import pack_declaration, pack_events
from postback.forwarding.sender import Sender
from postback.forwarding.sent_requests import SentCall, SentCalls
from postback.metrics import Metrics
from postback.store.control_store import ControlStore
from postback.threads import Threads

__all__ = ["MAX_OUTBOX_BYTES", "Forwarding"]

MAX_OUTBOX_BYTES = 2_000_000_000
"""Bytes in the outbox per destination, waiting or dead-lettered, so that the disk doesn't fill up."""

_RECORDED_BYTES = 32_000_000
_SETTLED_SECONDS = 5.0
_MEASURE_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Forwarding:
    """Forwards a server's events and the declarations of their sources.

    Args:
        destinations: Where to.
        control: Where the outbox is kept.
        secret: The installation's.
        metrics: Counts.
        threads: Where it reads, writes and encrypts.
        clock: The time.
        record: Whether to remember the requests that were answered, as a sandbox does.
    """

    def __init__(
        self,
        destinations: Destinations,
        control: ControlStore,
        secret: bytes,
        metrics: Metrics,
        threads: Threads,
        clock: Clock,
        *,
        record: bool,
    ) -> None:
        self._threads = threads
        self._destinations = destinations
        self._outbox = Outbox(control, clock.now)
        self._encryptor = Encryptor(secret)
        self._sent = SentCalls(_RECORDED_BYTES if record else 0)
        shared = self._outbox, self._encryptor, metrics, self._sent, threads.background
        every = [*destinations.all(), *destinations.alerts]
        self._senders = {destination.name: Sender(destination, *shared) for destination in every}
        self._sizes: dict[str, int] = {}
        self._measure_at = 0.0
        metrics.backlog(self._outbox.backlog)

    @property
    def destinations(self) -> list[Destination]:
        """Where events are forwarded to."""
        return self._destinations.all()

    @property
    def declares(self) -> bool:
        """Whether a destination has no template, and so receives the declarations of sources."""
        return any(destination.template is None for destination in self._destinations.all())

    def backlog_of(self, account_id: str, event_source_id: str) -> dict[str, Backlog]:
        """By destination of a source, what waits to be forwarded from it; reads the control store."""
        waiting = self._outbox.backlog(account_id, event_source_id)
        destinations = self._destinations.of(account_id, event_source_id)
        return {each.name: waiting.get(each.name, Backlog(0, 0, None)) for each in destinations}

    def forwards(self, account_id: str, event_source_id: str) -> bool:
        """Whether the events of a source are forwarded to anybody."""
        return bool(self._destinations.of(account_id, event_source_id))

    async def require_room(self, account_id: str, event_source_id: str) -> None:
        """Check that the destinations of a source have room in the outbox. It is measured every 30 seconds.

        While a shared control store doesn't answer, the last sizes count.

        Raises:
            Overloaded: One has reached MAX_OUTBOX_BYTES, and only stored events may be acknowledged.
            StoreUnavailable: The outbox is unavailable.
        """
        destinations = self._destinations.of(account_id, event_source_id)
        if time.monotonic() >= self._measure_at:
            self._measure_at = time.monotonic() + _MEASURE_SECONDS  # first, so that only one caller measures
            try:
                self._sizes = await self._threads.ingestion.run(self._outbox.sizes)
            except StoreUnavailable:
                if not self._outbox.shared:
                    raise
        if any(self._sizes.get(destination.name, 0) >= MAX_OUTBOX_BYTES for destination in destinations):
            raise Overloaded("Too many events of this source wait to be forwarded.", retry_after=60)

    async def deliveries(
        self, key_id: str, account_id: str, event_source_id: str, events: Iterable[msgspec.Raw]
    ) -> Sequence[Mapping[str, Any]]:
        """A call's accepted events for the destinations of their source, encrypted: rows of the outbox to be stored.

        Args:
            key_id: The API key of the call.
            account_id: Their account.
            event_source_id: Their source.
            events: The events.
        """
        destinations = self._destinations.of(account_id, event_source_id)
        accepted = list(events)
        if not accepted:
            return ()
        return await self._threads.compute.run(self._pack, destinations, key_id, accepted)

    def wake(self, destinations: Iterable[str]) -> None:
        """Send what has come into the outbox for these destinations."""
        for name in destinations:
            if name in self._senders:
                self._senders[name].wake()

    def declare(
        self, connection: Connection, key_id: str, account_id: str, declared: Mapping[str, msgspec.Raw]
    ) -> frozenset[str]:
        """Store declarations of sources, by event_source_id, for destinations without a template, in a transaction.

        Returns:
            The destinations to ``wake`` when it is committed.
        """
        deliveries = [
            pack_declaration(self._encryptor, destination, key_id, raw)
            for event_source_id, raw in declared.items()
            for destination in self._destinations.of(account_id, event_source_id)
            if destination.template is None
        ]
        self._outbox.put_in(connection, deliveries)
        return frozenset(delivery.destination for delivery in deliveries)

    def alert(self, connection: Connection, changes: Sequence[SignalChange]) -> None:
        """Put alerts about these changes into the outbox, in their transaction. They are sent within seconds."""
        self._outbox.put_in(connection, [*alerts_of(self._encryptor, self._destinations.alerts, changes)])

    async def settle(self, key_id: str) -> None:
        """Wait up to five seconds until every due request that an API key has caused is answered."""
        deadline = time.monotonic() + _SETTLED_SECONDS
        while await self._threads.control.run(self._outbox.owes, key_id, self._senders):
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(0.02)

    def sent(self, key_id: str, since: datetime) -> list[SentCall]:
        """The answered requests that an API key has caused since then, in the order of sending."""
        return self._sent.of(key_id, since)

    def purge(self, now: float) -> None:
        """Delete what has been undeliverable for 30 days at ``now``, in seconds since the epoch."""
        if count := self._outbox.purge(self._senders, now):
            _log.warning(
                "deleted %d deliveries that were undeliverable for %d days", count, RETENTION_SECONDS // 86_400
            )

    def loops(self) -> dict[str, Callable[[], Coroutine[Any, Any, NoReturn]]]:
        """By destination, the loop that delivers to it until cancelled. Requests in flight are sent again later."""
        return {name: sender.run for name, sender in self._senders.items()}

    def log_undeliverable(self) -> None:
        """Log what waits in the outbox and won't be delivered."""
        for name, backlog in self._outbox.backlog().items():
            if name not in self._senders:
                _log.warning("%d events are waiting for %s, which [[forwards]] no longer names", sum(backlog[:2]), name)
            elif backlog.dead:
                _log.warning("%d events for %s are dead-lettered; see 'postback forwards list'", backlog.dead, name)

    def _pack(
        self, destinations: Sequence[Destination], key_id: str, events: Sequence[msgspec.Raw]
    ) -> list[dict[str, Any]]:
        packed = (pack_events(self._encryptor, destination, key_id, events) for destination in destinations)
        return self._outbox.rows([delivery for deliveries in packed for delivery in deliveries])
