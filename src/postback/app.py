"""The server as one ASGI application: the transports over the opened services, and what works in the background."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NoReturn

from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp

from postback.attribution.runner import Attribution
from postback.auth.windows import WINDOW_SECONDS
from postback.background import Background, repeat
from postback.backups.snapshot_server import SnapshotServer
from postback.clock import Clock
from postback.config import Settings
from postback.console import routes as console
from postback.errors import StoreUnavailable
from postback.event_sources.watch import WATCH_SECONDS
from postback.resources import Resources
from postback.services import Services
from postback.startup import open_services
from postback.store.account_moves import go_on_if_abandoned
from postback.store.event_store import EventStore
from postback.store.installation import note_commits
from postback.store.merge_guard import MergeGuard
from postback.store.nodes import Node
from postback.store.placements import FIRST_SHARD
from postback.tag import routes as tag
from postback.tag.openapi import tag_paths
from postback.tag.script import SCRIPT
from postback.tasks.follow_click_link import store_invalid_clicks, store_last_invalid_clicks
from postback.tasks.registry import offered
from postback.telemetry import Telemetry
from postback.transports import rest
from postback.transports.a2a import A2aEndpoint
from postback.transports.mcp import McpEndpoint
from postback.transports.middleware import ExchangeMiddleware

__all__ = ["open_app"]

_PURGE_SECONDS = 3600.0
_ATTRIBUTION_SECONDS = 1.0
_SHARDS_SECONDS = 1.0
_MERGE_SECONDS = 1.0
_COMMIT_SECONDS = 1.0
_PUBLISH_SECONDS = 1.0
_CLOCK_SECONDS = 1.0
_RUNNING_TIME_SECONDS = 60.0
_RETENTION_SECONDS = 300.0
"""Soon after midnight on every shard, for no account moves between two that have settled different days."""
_INVALID_CLICKS_SECONDS = 1.0

_SWITCH_SECONDS = 0.001
"""How long a thread that works in Python keeps others from it: beside a flush each callback of the event loop waits for
that. Python's default is five times as long."""

_log = logging.getLogger(__name__)


@asynccontextmanager
async def open_app(settings: Settings, clock: Clock | None = None) -> AsyncIterator[tuple[ASGIApp, str | None]]:
    """Open the stores of ``settings.data``, and the server over them until the block is left.

    Without ``clock`` it goes by the machine's. Beside the application comes the API key that this start generated, or
    None.

    Raises:
        StartupError: A setting, the data folder or a store can't be used. What was opened until then is closed.
    """
    # Batches make many objects and no cycles, as does the log that is read at the start: the collector finds nothing,
    # so it looks less often and at less.
    gc.set_threshold(10_000, 50, 50)
    sys.setswitchinterval(_SWITCH_SECONDS)
    async with Resources() as resources:
        services, new_key = open_services(settings, offered(settings.sandbox), SCRIPT, resources, clock or Clock())
        mcp = McpEndpoint(services)
        routes = _call_routes(services, mcp) if settings.takes_calls else rest.monitoring_routes(services)
        router = Router(routes, redirect_slashes=False)  # a redirected POST loses its body or its key
        gc.freeze()
        services.watchdog.start()
        _start_background(services, resources)
        await resources.entering("MCP sessions", mcp.run())
        yield _traced(ExchangeMiddleware(router, services.metrics), services.telemetry), new_key


def _traced(app: ASGIApp, telemetry: Telemetry | None) -> ASGIApp:
    """The application, with a span for each exchange if they are wanted."""
    if telemetry is None:
        return app
    from postback.transports.tracing import TracingMiddleware

    return TracingMiddleware(app, telemetry)


def _call_routes(services: Services, mcp: McpEndpoint) -> list[BaseRoute]:
    a2a = A2aEndpoint(services)
    return [
        *rest.routes(services, tag_paths()),
        *mcp.routes(),
        *a2a.routes(),
        *console.routes(services),
        *tag.routes(services),
    ]


def _start_background(services: Services, resources: Resources) -> None:
    background = Background(services.metrics)
    resources.closing("invalid clicks", partial(store_last_invalid_clicks, services))
    resources.closing("background", background.stop)
    resources.closing("attribution", services.attribution.stop)
    services.forwarding.log_undeliverable()
    background.start("ingest log", services.log.run)
    background.start("idempotency keys", partial(_learn, services))
    background.start("purge", partial(repeat, partial(_purge, services), _PURGE_SECONDS))
    background.start("failed keys", partial(repeat, partial(_log_failed_keys, services), WINDOW_SECONDS))
    started: set[int] = set()
    _start_shards(services, background, started)
    if not services.shards.embedded:
        background.start("backlogs", services.log.work_off)
        shards = partial(_look_for_shards, services, background, started)
        background.start("shards", partial(repeat, shards, _SHARDS_SECONDS))
    background.start("clock", partial(repeat, partial(_look_at_clock, services), _CLOCK_SECONDS))
    background.start("running time", partial(repeat, partial(_save_running_time, services), _RUNNING_TIME_SECONDS))
    if services.node:
        published = partial(_publish, services, services.node)
        background.start("node", partial(repeat, published, _PUBLISH_SECONDS))
        background.start("lease", partial(repeat, partial(_renew, services), _PUBLISH_SECONDS))
    else:
        background.start("commit count", partial(repeat, partial(_note_commits, services), _COMMIT_SECONDS))
    background.start(
        "invalid clicks", partial(repeat, partial(store_invalid_clicks, services), _INVALID_CLICKS_SECONDS)
    )
    if services.telemetry and services.telemetry.export_seconds:
        exported = partial(_export_metrics, services, services.telemetry)
        background.start("telemetry", partial(repeat, exported, services.telemetry.export_seconds))
    background.start("event sources", partial(repeat, partial(_watch_sources, services), WATCH_SECONDS))
    background.start("disk room", partial(repeat, partial(_look_at_room, services), _MERGE_SECONDS))
    if services.merges:
        background.start(
            "merge guard", partial(repeat, partial(_check_merges, services, services.merges), _MERGE_SECONDS)
        )
    if services.merges and services.shards.embedded:
        background.start("backups", _snapshots(services, services.merges, services.shards.embedded).run)
    if services.settings.works:
        for destination, loop in services.forwarding.loops().items():
            background.start(f"forwarding to {destination}", loop)


def _start_shards(services: Services, background: Background, started: set[int]) -> None:
    """Start what works on the shards that are open, and of which it was not started yet."""
    for number, (attribution, retention) in services.attribution.opened().items():
        if number in started:
            continue
        started.add(number)
        of_shard = "" if number == FIRST_SHARD else f" of shard {number}"
        attribute = partial(_attribute, services, number, attribution)
        background.start(f"attribution{of_shard}", partial(repeat, attribute, _ATTRIBUTION_SECONDS))
        if retention:
            sweep = partial(retention.sweep, services.threads)
            background.start(f"retention{of_shard}", partial(repeat, sweep, _RETENTION_SECONDS))


async def _look_for_shards(services: Services, background: Background, started: set[int]) -> None:
    """See which shards were added, or are back, and which account moves."""
    await services.threads.background.run(services.shards.refresh)
    if services.node:
        await services.threads.background.run(_follow_placements, services, services.node)
    await services.threads.background.run(services.attribution.opened)
    _start_shards(services, background, started)


def _follow_placements(services: Services, node: Node) -> None:
    if services.shards.switching:
        go_on_if_abandoned(services.control)
    services.attribution.follow_placements(services.log.follow_placements, node)


def _snapshots(services: Services, merges: MergeGuard, embedded: EventStore) -> SnapshotServer:
    return SnapshotServer(
        services.folder,
        embedded,
        services.control,
        services.log,
        merges,
        services.threads.background,
    )


async def _learn(services: Services) -> NoReturn:
    """Learn which idempotency keys were used, once."""
    await services.threads.background.run(services.idempotency.learn)
    await asyncio.Event().wait()
    raise AssertionError


async def _purge(services: Services) -> None:
    """Delete what has expired, and give its space back."""
    await services.threads.background.run(services.idempotency.purge)
    await services.threads.background.run(services.forwarding.purge, services.running_time.cautious())
    if services.shared_nonces:
        await services.threads.background.run(services.shared_nonces.purge)
    await services.threads.background.run(services.control.give_space_back)


async def _look_at_clock(services: Services) -> None:
    """Notice a jump of the wall clock, also while nobody calls."""
    services.clock.now()


async def _save_running_time(services: Services) -> None:
    """Remember how long servers have run."""
    await services.threads.background.run(services.running_time.save)


async def _export_metrics(services: Services, telemetry: Telemetry) -> None:
    """Send the metrics."""
    await services.threads.background.run(telemetry.export, services.metrics.collect())


async def _renew(services: Services) -> None:
    """Keep the leases of attribution while a run takes long."""
    await services.threads.background.run(services.attribution.renew)


async def _publish(services: Services, node: Node) -> None:
    """Tell the other servers how far this one is, and stop it if another one uses a copy of its data folder."""
    receives = services.settings.takes_calls or services.log.waiting != (0, 0)
    through = services.shards.stored_through() if receives else None
    try:
        if await services.threads.background.run(node.publish, through):
            return
    except StoreUnavailable:  # which the control store logs, and is asked again in a second
        return
    _log.critical(
        "This server is no longer node %d: it was removed, or another server has started on a copy of its data folder. "
        "It stops. Give each server a data folder of its own.",
        node.number,
    )
    os.kill(os.getpid(), signal.SIGTERM)


async def _note_commits(services: Services) -> None:
    """Note how far the control store is."""
    await services.threads.background.run(note_commits, services.folder, services.control)


async def _log_failed_keys(services: Services) -> None:
    """Log the keys of the last minute that are not valid."""
    services.failed_keys.log()


async def _look_at_room(services: Services) -> None:
    """See that the disk has room for events."""
    services.room.look()


async def _check_merges(services: Services, merges: MergeGuard) -> None:
    """See that merges left nothing unreadable, and that the disk has room for them."""
    await services.threads.background.run(merges.check)


async def _watch_sources(services: Services) -> None:
    """See which event sources have fallen silent, or are back."""
    await services.threads.background.run(services.source_watch.look)


async def _attribute(services: Services, shard: int, attribution: Attribution) -> None:
    """Attribute what a shard has received, or follow the server that does."""
    flushes = services.telemetry.take_flushes() if services.telemetry else []
    work = attribution.work if services.settings.works else attribution.follow
    if services.telemetry and flushes:
        work = partial(services.telemetry.attribute, work, flushes, shard)
    await services.threads.attribution.of(shard).run(work)
    if len(services.shards.numbers) > 1 and (through := attribution.complete_through):
        services.metrics.shard_attributed(shard, through)
    if complete := services.attribution.complete_through():
        services.metrics.attributed(complete)
