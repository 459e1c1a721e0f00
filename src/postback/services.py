"""The services of one server: what the tasks work with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from postback.accounts.store import AccountStore
from postback.attribution.by_shard import ShardAttributions
from postback.auth.api_keys import KeyStore
from postback.auth.console_keys import ConsoleKeys
from postback.auth.console_sessions import ConsoleSessions
from postback.auth.failed_keys import FailedKeys
from postback.auth.in_flight import InFlight
from postback.auth.rate_limits import RateLimits
from postback.auth.signatures.shared_nonces import SharedNonces
from postback.auth.signatures.verifier import Signatures
from postback.clock import Clock
from postback.config import Settings
from postback.event_sources.setup_snippets import TagScript
from postback.event_sources.signals import SignalStore
from postback.event_sources.store import SourceRegistry
from postback.event_sources.watch import SourceWatch
from postback.events.identifiers import IdentifierHasher
from postback.events.validation_pool import ValidationPool
from postback.exposures.click_tokens import ClickLinks
from postback.exposures.click_traffic import VisitorClicks
from postback.exposures.invalid_clicks import InvalidClicks
from postback.forwarding.forwarding import Forwarding
from postback.media_buys.store import MediaBuyStore
from postback.metrics import Metrics
from postback.products.product import Catalogue
from postback.sandbox.simulations import Simulations
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.disk_room import DiskRoom
from postback.store.idempotency import IdempotencyStore
from postback.store.ingest_log import IngestLog
from postback.store.merge_guard import MergeGuard
from postback.store.nodes import Node
from postback.store.receipt_feeds import ReceiptFeeds
from postback.store.recent_identities import RecentIdentities
from postback.store.running_time import RunningTime
from postback.store.shards import Shards
from postback.telemetry import Telemetry
from postback.threads import Threads
from postback.watchdog import Watchdog

__all__ = ["Services"]

_WAITED_FOR = 10_000
"""For so many rows that are on their way, one full batch, a page waits; for more than these it doesn't."""

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Services:
    """What the tasks work with."""

    settings: Settings
    clock: Clock
    running_time: RunningTime
    threads: Threads
    signatures: Signatures
    shared_nonces: SharedNonces | None
    folder: DataDir
    metrics: Metrics
    telemetry: Telemetry | None
    limits: RateLimits
    in_flight: InFlight
    failed_keys: FailedKeys
    control: ControlStore
    node: Node | None
    accounts: AccountStore
    keys: KeyStore
    console_keys: ConsoleKeys
    console_sessions: ConsoleSessions
    sources: SourceRegistry
    signals: SignalStore
    source_watch: SourceWatch
    catalogue: Catalogue
    media_buys: MediaBuyStore
    simulations: Simulations
    idempotency: IdempotencyStore
    identifiers: IdentifierHasher
    click_links: ClickLinks
    tag_script: TagScript
    visitor_clicks: VisitorClicks
    invalid_clicks: InvalidClicks
    validation: ValidationPool
    shards: Shards
    receipt_feeds: ReceiptFeeds
    recent_events: RecentIdentities
    recent_exposures: RecentIdentities
    log: IngestLog
    room: DiskRoom
    merges: MergeGuard | None
    watchdog: Watchdog
    attribution: ShardAttributions
    forwarding: Forwarding

    async def read_events(
        self,
        account_ids: Iterable[str],
        read: Callable[_Arguments, _Result],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Result:
        """What ``read`` returns or raises; all that was acknowledged for these accounts before this call is stored.

        Raises:
            StoreUnavailable: What was acknowledged is not stored in time.
        """
        await self.flushed(account_ids)
        return await self.threads.reports.run(read, *args, **kwargs)

    @property
    def on_its_way(self) -> int:
        """The events and exposures that are acknowledged and not stored, where they are many; else 0."""
        rows, _ = self.log.waiting
        return rows if rows > _WAITED_FOR else 0

    async def read_stored(
        self,
        account_ids: Iterable[str],
        read: Callable[_Arguments, _Result],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Result:
        """The same for pages, which show what is stored where much is ``on_its_way``, instead of waiting for it.

        Raises:
            StoreUnavailable: What was acknowledged is not stored in time.
        """
        if self.on_its_way:
            return await self.threads.reports.run(read, *args, **kwargs)
        return await self.read_events(account_ids, read, *args, **kwargs)

    async def flushed(self, account_ids: Iterable[str]) -> None:
        """Wait until everything that was acknowledged for these accounts before this call can be read.

        Raises:
            StoreUnavailable: That takes too long, or the control store doesn't answer.
        """
        shards: set[int] = set()
        for account_id in account_ids:
            number = self.shards.known(account_id)
            if number is None:
                number = await self.threads.ingestion.run(self.shards.number, account_id)
            shards.add(number)
        await self.log.flushed(shards)
