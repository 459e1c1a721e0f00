"""The opened resources of one server."""

from __future__ import annotations

from dataclasses import dataclass

from postback.accounts.store import AccountStore
from postback.attribution.runner import Attribution
from postback.auth import KeyStore
from postback.config import Settings
from postback.exposures.links import ClickLinks
from postback.forwarding.forwarding import Forwarding
from postback.idempotency import IdempotencyStore
from postback.ingest.identifiers import IdentifierHasher
from postback.ingest.judges import Judges
from postback.media_buys.buys import MediaBuyStore
from postback.media_buys.products import Catalogue
from postback.metrics import Metrics
from postback.ratelimit import RateLimits
from postback.sandbox.simulations import Simulations
from postback.signatures.verifier import Signatures
from postback.sources.registry import SourceRegistry
from postback.store.control import ControlStore
from postback.store.datadir import DataDir
from postback.store.events import EventStore
from postback.store.stamps import Stamps
from postback.store.writer import GroupWriter

__all__ = ["Services"]


@dataclass(frozen=True, slots=True)
class Services:
    """What the tasks work with. Opened by ``app.build_app``."""

    settings: Settings
    signatures: Signatures
    folder: DataDir
    metrics: Metrics
    limits: RateLimits
    control: ControlStore
    accounts: AccountStore
    keys: KeyStore
    sources: SourceRegistry
    catalogue: Catalogue
    media_buys: MediaBuyStore
    simulations: Simulations
    idempotency: IdempotencyStore
    identifiers: IdentifierHasher
    click_links: ClickLinks
    judges: Judges
    stamps: Stamps
    events: EventStore
    writer: GroupWriter
    attribution: Attribution
    forwarding: Forwarding
