"""The server as one ASGI application: opens the stores, wires the transports, closes in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.middleware import Middleware

from postback.accounts.store import AccountStore
from postback.attribution.runner import Attribution
from postback.auth import KeyStore
from postback.config import Settings
from postback.errors import StoreUnavailable
from postback.exposures.links import ClickLinks
from postback.forwarding.destination import read_destinations
from postback.forwarding.forwarding import Forwarding
from postback.idempotency import IdempotencyStore
from postback.ingest.identifiers import IdentifierHasher
from postback.ingest.judges import Judges
from postback.media_buys.buys import MediaBuyStore
from postback.media_buys.catalog import load_catalogue
from postback.metrics import Metrics
from postback.ratelimit import RateLimits
from postback.sandbox.catalogue import SandboxCatalogue
from postback.sandbox.simulations import Simulations
from postback.sandbox.test_kits import admit_test_kits
from postback.services import Services
from postback.signatures.keys import read_signing_keys
from postback.signatures.verifier import Signatures
from postback.sources.registry import SourceRegistry
from postback.sources.seller import apply_seller_config
from postback.store.control import ControlStore
from postback.store.datadir import DataDir
from postback.store.events import EventStore
from postback.store.stamps import Stamps
from postback.store.writer import GroupWriter
from postback.tasks import offered
from postback.transports import rest
from postback.transports.a2a import A2aEndpoint
from postback.transports.exchange import EXCEPTION_HANDLERS, ExchangeMiddleware
from postback.transports.mcp import McpEndpoint

__all__ = ["build_app"]

FIRST_ACCOUNT = "default"

_PURGE_SECONDS = 3600
_ATTRIBUTION_SECONDS = 1.0

_log = logging.getLogger(__name__)


def build_app(settings: Settings) -> Starlette:
    """Open the stores of ``settings.data`` and build the server over them.

    The stores close when the application's lifespan ends. ``app.state.new_key`` is the API key that this start
    generated, or None.

    Raises:
        StartupError: A setting, the data folder or a store can't be used.
    """
    services, new_key = _open(settings)
    mcp = McpEndpoint(services)
    a2a = A2aEndpoint(services)
    app = Starlette(
        routes=[*rest.routes(services), *mcp.routes(), *a2a.routes()],
        middleware=[Middleware(ExchangeMiddleware, metrics=services.metrics)],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=lambda _: _lifespan(services, mcp),
    )
    app.router.redirect_slashes = False  # a redirected POST loses its body or its key
    app.state.new_key = new_key
    return app


def _open(settings: Settings) -> tuple[Services, str | None]:
    folder = DataDir.open(settings.data)
    control = ControlStore(settings.control or folder.control_url)
    control.migrate()
    accounts, keys, sources = AccountStore(control), KeyStore(control), SourceRegistry(control)
    events = EventStore.open(folder.events_dsn, folder.scratch)
    if not accounts.list():
        accounts.create(FIRST_ACCOUNT, sandbox=settings.sandbox)
    metrics = Metrics()
    forwards = apply_seller_config(settings.seller_config, accounts, sources)
    forwarding = Forwarding(
        read_destinations(forwards, str(settings.seller_config)),
        control,
        folder.secret,
        metrics,
        record=settings.sandbox,
    )
    catalogue = load_catalogue(settings.products, sandbox=settings.sandbox)
    simulations = Simulations(control)
    if settings.sandbox:
        catalogue = SandboxCatalogue(catalogue.list(), simulations)
    signing_keys = read_signing_keys(settings.signing_keys, {key.key_id for key in keys.list()})
    signatures = Signatures(signing_keys, settings.public_url, offered(settings.sandbox))
    # Last of what can fail: a key that is made but never shown would lock the operator out.
    new_key = _first_key(settings, keys)
    if settings.sandbox:
        admit_test_kits(accounts, keys, folder.secret, FIRST_ACCOUNT)
    identifiers = IdentifierHasher(folder.secret)
    media_buys = MediaBuyStore(control)
    services = Services(
        settings=settings,
        signatures=signatures,
        folder=folder,
        metrics=metrics,
        limits=RateLimits(settings.rate_limit, settings.rate_limit_events),
        control=control,
        accounts=accounts,
        keys=keys,
        sources=sources,
        catalogue=catalogue,
        media_buys=media_buys,
        simulations=simulations,
        idempotency=IdempotencyStore(control),
        identifiers=identifiers,
        click_links=ClickLinks(folder.secret),
        judges=Judges(folder.secret, identifiers, _judges(settings)),
        stamps=Stamps(events.last_stamp()),
        events=events,
        writer=GroupWriter(events, settings.queue_events, metrics),
        attribution=Attribution(events, control, media_buys),
        forwarding=forwarding,
    )
    return services, new_key


def _judges(settings: Settings) -> int:
    return min(4, os.cpu_count() or 1) if settings.judges is None else settings.judges


def _first_key(settings: Settings, keys: KeyStore) -> str | None:
    """See that there is a key; returns one that was generated, to be shown once."""
    if settings.bootstrap_key:
        keys.adopt(settings.bootstrap_key, [FIRST_ACCOUNT])
        return None
    if keys.list():
        return None
    return keys.create([FIRST_ACCOUNT], "first start", "both")[1]


@asynccontextmanager
async def _lifespan(services: Services, mcp: McpEndpoint) -> AsyncIterator[None]:
    # Batches make many objects and no cycles: the collector finds nothing, so it looks less often and at less.
    gc.freeze()
    gc.set_threshold(10_000, 50, 50)
    services.writer.start()
    services.forwarding.start()
    purging = asyncio.create_task(_purge_hourly(services))
    stopping = asyncio.Event()
    attributing = asyncio.create_task(_attribute(services, stopping))
    try:
        async with mcp.run():
            yield
    finally:
        purging.cancel()
        with suppress(asyncio.CancelledError):
            await purging
        services.attribution.stop()
        stopping.set()
        await attributing
        await services.judges.stop()
        await services.writer.stop()
        await services.forwarding.stop()
        services.events.close()
        services.control.close()
        services.folder.close()


async def _purge_hourly(services: Services) -> None:
    while True:
        try:
            await asyncio.to_thread(services.idempotency.purge)
            await asyncio.to_thread(services.forwarding.purge)
        except StoreUnavailable:
            _log.warning("what has expired could not be purged; trying again in an hour")
        await asyncio.sleep(_PURGE_SECONDS)


async def _attribute(services: Services, stopping: asyncio.Event) -> None:
    """Attribute what has arrived, about once a second."""
    while not stopping.is_set():
        try:
            await asyncio.to_thread(services.attribution.catch_up)
            if services.attribution.complete_through:
                services.metrics.attributed(services.attribution.complete_through)
        except StoreUnavailable:
            _log.warning("attribution could not go on; trying again")
        except Exception:
            _log.exception("attribution failed; trying again")
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _ATTRIBUTION_SECONDS)
