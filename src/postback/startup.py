"""The start of a server: its stores are opened in order, and its services made of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial

from postback.accounts.store import AccountStore
from postback.attribution.by_shard import unattributed_shards
from postback.attribution.retention import Retention
from postback.attribution.runner import Attribution
from postback.auth.api_keys import KeyStore
from postback.auth.console_keys import ConsoleKeys
from postback.auth.console_sessions import ConsoleSessions
from postback.auth.failed_keys import FailedKeys
from postback.auth.in_flight import InFlight
from postback.auth.rate_limits import RateLimits
from postback.auth.signatures.keys import read_signing_keys
from postback.auth.signatures.shared_nonces import SharedNonces
from postback.auth.signatures.verifier import Signatures
from postback.clock import Clock
from postback.config import Settings
from postback.event_sources.seller_config import apply_seller_config
from postback.event_sources.setup_snippets import TagScript
from postback.event_sources.signals import SignalStore
from postback.event_sources.store import SourceRegistry
from postback.event_sources.watch import SourceWatch
from postback.events.identifiers import IdentifierHasher
from postback.events.validation_pool import ValidationPool
from postback.exposures.click_tokens import ClickLinks
from postback.exposures.click_traffic import VisitorClicks
from postback.exposures.invalid_clicks import InvalidClicks
from postback.forwarding.destination import read_destinations
from postback.forwarding.forwarding import Forwarding
from postback.media_buys.store import MediaBuyStore
from postback.metrics import Metrics
from postback.opening import open_attribution, open_log, open_stores
from postback.products.catalog_file import load_catalogue
from postback.products.product import Catalogue
from postback.protocol.struct_types import prepare_structs
from postback.resources import Resources
from postback.sandbox.catalogue import SandboxCatalogue
from postback.sandbox.simulations import Simulations
from postback.sandbox.test_kits import admit_test_kits
from postback.services import Services
from postback.store.control_store import ControlStore, one_start_at_a_time
from postback.store.disk_room import DiskRoom
from postback.store.event_store import READERS, EventStore
from postback.store.idempotency import IdempotencyStore
from postback.store.installation import FIRST_ACCOUNT
from postback.store.merge_guard import MergeGuard
from postback.store.nodes import silent_nodes
from postback.store.receipt_feeds import ReceiptFeeds
from postback.store.recent_identities import RecentIdentities
from postback.store.running_time import RunningTime
from postback.store.shards import Shards
from postback.telemetry import Telemetry
from postback.threads import Threads
from postback.watchdog import Watchdog

__all__ = ["open_services"]

_FAILED_KEYS = 60
"""Keys that are not valid that one address may send in a minute."""


def open_services(
    settings: Settings, tasks: Sequence[str], tag_script: TagScript, resources: Resources, clock: Clock
) -> tuple[Services, str | None]:
    """Open the stores of ``settings.data`` and what works on them; ``resources`` closes it all.

    Args:
        settings: The server's settings.
        tasks: The names of the tasks that it offers.
        tag_script: The browser tag that it serves.
        resources: What is opened is closed with it, also when a later step fails.
        clock: The time.

    Returns:
        The services, and the API key that this start generated, to be shown once, or None.

    Raises:
        StartupError: A setting, the data folder or a store can't be used.
    """
    prepare_structs()
    clock.require_set()
    with one_start_at_a_time(settings.control):
        return _open_services(settings, tasks, tag_script, resources, clock)


def _open_services(
    settings: Settings, tasks: Sequence[str], tag_script: TagScript, resources: Resources, clock: Clock
) -> tuple[Services, str | None]:
    stores = open_stores(settings, resources, clock)
    folder, control, running_time, shards, node = stores
    metrics = Metrics()
    watchdog = _watchdog(shards.embedded, resources)
    outage = settings.control_outage_seconds if control.shared else 0
    accounts, keys = AccountStore(control, outage, clock.now), KeyStore(control, outage)
    sources = SourceRegistry(control, outage, clock.now)
    media_buys = MediaBuyStore(control)
    retain = _retention(settings, sources, metrics, running_time)
    attribution = open_attribution(stores, media_buys, metrics, retain, resources)
    threads = Threads(READERS)
    resources.closing("threads", threads.close)
    if not accounts.list():
        accounts.create(FIRST_ACCOUNT, sandbox=settings.sandbox)
    declared = apply_seller_config(settings.seller_config, accounts, sources)
    destinations = read_destinations(declared.forwards, str(settings.seller_config), alerts=declared.alerts)
    simulations = Simulations(control)
    shared_nonces = SharedNonces(control, threads.ingestion) if control.shared else None
    signing_keys = read_signing_keys(settings.signing_keys, {key.key_id for key in keys.list()})
    identifiers = IdentifierHasher(folder.secret)
    metrics.clock_jump(lambda: clock.jump)
    room = DiskRoom(settings.data, metrics)
    merges = MergeGuard(shards.embedded, settings.data, metrics) if shards.embedded else None
    if merges:
        resources.closing("merge guard", merges.close)
    validation = ValidationPool(folder.secret, identifiers, _validation_workers(settings), threads.compute)
    resources.closing("validation workers", validation.stop)
    forwarding = Forwarding(destinations, control, folder.secret, metrics, threads, clock, record=settings.sandbox)
    idempotency = IdempotencyStore(
        control,
        threads.ingestion,
        running_time.now,
        alone=settings.control is None,
        quota_bytes=settings.response_quota_bytes,
    )
    telemetry = _telemetry(resources)
    log, nothing_received = open_log(
        stores, settings, attribution, idempotency, forwarding, room, threads, metrics, telemetry, resources
    )
    metrics.cluster(partial(_cluster, control, shards))
    signals = SignalStore(control)

    attribution.opened()  # refuses a retention that is too short
    services = Services(
        settings=settings,
        clock=clock,
        running_time=running_time,
        threads=threads,
        signatures=Signatures(signing_keys, settings.public_url, tasks, threads.compute, clock, shared=shared_nonces),
        shared_nonces=shared_nonces,
        folder=folder,
        metrics=metrics,
        telemetry=telemetry,
        limits=RateLimits(
            settings.rate_limit, settings.rate_limit_events, settings.tag_rate_limit, metrics.refused, clock.passed
        ),
        in_flight=_in_flight(settings, metrics),
        failed_keys=FailedKeys(_FAILED_KEYS if settings.rate_limit else 0, metrics.refused, clock.passed),
        control=control,
        node=node,
        accounts=accounts,
        keys=keys,
        console_keys=ConsoleKeys(control),
        console_sessions=ConsoleSessions(control, running_time.now),
        sources=sources,
        signals=signals,
        source_watch=SourceWatch(
            shards,
            sources,
            signals,
            clock,
            metrics,
            forwarding.alert,
            lambda: not room.low,
            lambda key: key.event_source_id in attribution.of(key.account_id).rules(key.account_id).near,
        ),
        catalogue=_catalogue(settings, simulations),
        media_buys=media_buys,
        simulations=simulations,
        idempotency=idempotency,
        identifiers=identifiers,
        click_links=ClickLinks(folder.secret, folder.previous_secrets()),
        tag_script=tag_script,
        visitor_clicks=VisitorClicks(settings.clicks_per_hour, clock.passed),
        invalid_clicks=InvalidClicks(),
        validation=validation,
        shards=shards,
        receipt_feeds=ReceiptFeeds(shards, threads.reports),
        recent_events=RecentIdentities(complete=nothing_received),
        recent_exposures=RecentIdentities(complete=False),
        log=log,
        room=room,
        merges=merges,
        watchdog=watchdog,
        attribution=attribution,
        forwarding=forwarding,
    )
    # Last of what can fail: a key that is made but never shown would lock the operator out.
    new_key = _first_key(settings, keys)
    if settings.sandbox:
        admit_test_kits(accounts, keys, folder.secret, FIRST_ACCOUNT)
    return services, new_key


def _watchdog(embedded: EventStore | None, resources: Resources) -> Watchdog:
    watchdog = Watchdog(embedded.ping if embedded else None)
    resources.closing("watchdog", watchdog.stop)
    return watchdog


def _telemetry(resources: Resources) -> Telemetry | None:
    telemetry = Telemetry.of(os.environ)
    if telemetry:
        resources.closing("telemetry", telemetry.close)
    return telemetry


def _cluster(control: ControlStore, shards: Shards) -> tuple[int, bool]:
    """How many servers are silent, and whether each shard has one that attributes."""
    if not control.shared:
        return 0, True
    with control.connect() as connection:
        return len(silent_nodes(connection)), not unattributed_shards(connection, shards.numbers)


def _catalogue(settings: Settings, simulations: Simulations) -> Catalogue:
    catalogue = load_catalogue(settings.products, sandbox=settings.sandbox)
    return SandboxCatalogue(catalogue.list(), simulations) if settings.sandbox else catalogue


def _retention(
    settings: Settings, sources: SourceRegistry, metrics: Metrics, running_time: RunningTime
) -> Callable[[EventStore, Attribution], Retention] | None:
    if settings.retention_days is None or not settings.works:
        return None
    limit, days = settings.max_event_age_days, settings.retention_days
    return lambda events, attribution: Retention(
        events, attribution, sources, limit, days, metrics, running_time.cautious
    )


def _in_flight(settings: Settings, metrics: Metrics) -> InFlight:
    in_flight = InFlight(settings.key_concurrency, settings.body_memory_bytes, metrics.refused)
    metrics.bodies(lambda: in_flight.bytes)
    return in_flight


def _validation_workers(settings: Settings) -> int:
    return min(4, os.cpu_count() or 1) if settings.validation_workers is None else settings.validation_workers


def _first_key(settings: Settings, keys: KeyStore) -> str | None:
    """Make sure that there is a key; returns one that was generated, to be shown once."""
    if settings.bootstrap_key:
        keys.adopt(settings.bootstrap_key, [FIRST_ACCOUNT])
        return None
    if keys.list():
        return None
    return keys.create([FIRST_ACCOUNT], "first start", "both")[1]
