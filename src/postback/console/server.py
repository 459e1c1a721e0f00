"""The pages of the server itself: how it does, and which versions it is made of."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version

import msgspec

from postback.console.page import Page, Visit
from postback.forwarding.outbox import Outbox
from postback.protocol.releases import RELEASES
from postback.protocol.timestamps import from_micros
from postback.services import Services
from postback.store.nodes import list_nodes

__all__ = ["PAGES", "SERVER"]

SERVER = "/console/server"

_SILENT_SECONDS = 30

_LATE = timedelta(minutes=1)
"""Attribution is behind when it takes longer: it runs about once a second."""


class Concern(msgspec.Struct, frozen=True):
    """Something that the operator should look at.

    Attributes:
        what: What is wrong.
        fix: What to do about it.
        bad: Whether it keeps events from being accepted or reported.
    """

    what: str
    fix: str
    bad: bool


class ShownNode(msgspec.Struct, frozen=True):
    """One of the servers that share one PostgreSQL.

    Attributes:
        number: Its number.
        place: Its machine and data folder.
        role: What it does, by POSTBACK_ROLE.
        stored_through: The time through which it has stored what it received; None if that is all, and nothing comes.
        silent_seconds: How long ago it last said so.
        this: Whether it is the one that shows this page.
    """

    number: int
    place: str
    role: str
    stored_through: datetime | None
    silent_seconds: int
    this: bool


class Operation(msgspec.Struct, frozen=True):
    """What only the operator sees.

    Attributes:
        concerns: What to look at; empty when all is well.
        nodes: The servers that share one PostgreSQL; none where this one is alone.
        accounts: How many accounts there are.
        pending_accounts: How many of them await approval.
        forwards_waiting: Events that wait to be forwarded.
        forwards_dead: Events that are dead-lettered.
        disk_free_bytes: Free bytes of the data folder's disk.
        disk_least_bytes: Free bytes below which events are refused.
        control_store: The database of the control store.
        event_store: The version of the event store's engine.
        python: The version of Python.
    """

    concerns: tuple[Concern, ...]
    nodes: tuple[ShownNode, ...]
    accounts: int
    pending_accounts: int
    forwards_waiting: int
    forwards_dead: int
    disk_free_bytes: int
    disk_least_bytes: int
    control_store: str
    event_store: str
    python: str


class ShownServer(msgspec.Struct, frozen=True):
    """What the page shows.

    Attributes:
        version: The version of Postback.
        releases: The releases of AdCP that it speaks.
        sandbox: Whether the server is a sandbox.
        public_url: Where callers reach it.
        now: The time that the server goes by.
        attributed_through: Everything that was received until then is attributed; None while the first pass works.
        attribution_lag_seconds: How long ago that is.
        log_waiting_rows: Rows in the ingest log on their way into the event store.
        log_waiting_bytes: The bytes of those that are durable.
        operation: What only the operator sees.
    """

    version: str
    releases: tuple[str, ...]
    sandbox: bool
    public_url: str
    now: datetime
    attributed_through: datetime | None
    attribution_lag_seconds: float | None
    log_waiting_rows: int
    log_waiting_bytes: int
    operation: Operation | None


async def _server(visit: Visit) -> ShownServer:
    services = visit.services
    through = services.attribution.complete_through()
    rows, size = services.log.waiting
    return ShownServer(
        version=version("postback"),
        releases=tuple(RELEASES),
        sandbox=services.settings.sandbox,
        public_url=services.settings.public_url,
        now=visit.now,
        attributed_through=through,
        attribution_lag_seconds=round(max(0.0, (visit.now - through).total_seconds()), 1) if through else None,
        log_waiting_rows=rows,
        log_waiting_bytes=size,
        operation=await services.threads.control.run(_operation, visit) if visit.seller else None,
    )


def _operation(visit: Visit) -> Operation:
    services = visit.services
    backlog = Outbox(services.control).backlog().values()
    pending = sum(account.awaits_approval for account in visit.accounts)
    dead = sum(destination.dead for destination in backlog)
    nodes = tuple(_nodes(services))
    return Operation(
        concerns=tuple(_concerns(services, visit.now, pending, dead, nodes)),
        nodes=nodes,
        accounts=len(visit.accounts),
        pending_accounts=pending,
        forwards_waiting=sum(destination.waiting for destination in backlog),
        forwards_dead=dead,
        disk_free_bytes=services.room.free(),
        disk_least_bytes=services.room.least,
        control_store="PostgreSQL" if services.control.engine == "postgresql" else "SQLite",
        event_store=f"ClickHouse {', '.join(dict.fromkeys(events.version for events in services.shards))}",
        python=platform.python_version(),
    )


def _nodes(services: Services) -> Iterator[ShownNode]:
    if not services.node:
        return
    for status in list_nodes(services.control):
        stored = None if status.stored_through is None else from_micros(status.stored_through)
        own = status.number == services.node.number
        yield ShownNode(status.number, status.place, status.role, stored, status.silent_seconds, own)


def _concerns(
    services: Services, now: datetime, pending: int, dead: int, nodes: Sequence[ShownNode]
) -> Iterator[Concern]:
    """What is wrong, the worst first."""
    if hanging := services.watchdog.problem:
        yield Concern(hanging, "Look at the server's log, and restart the server.", bad=True)
    if services.room.free() < services.room.least:
        yield Concern("The disk of the data folder is almost full: events are refused.", "Make room.", bad=True)
    if jump := services.clock.problem:
        yield Concern(jump, "Set the clock, for example by NTP.", bad=True)
    through = services.attribution.complete_through()
    if through is None:
        yield Concern("Attribution is on its first pass.", "Reports are complete when it is done.", bad=False)
    elif now - through > _LATE:
        yield Concern("Attribution is behind: reports lack what came last.", "Look at the server's log.", bad=True)
    for node in nodes:
        if node.stored_through is not None and node.silent_seconds > _SILENT_SECONDS:
            yield Concern(
                f"Server {node.number} ({node.place}) is silent: reports wait for what it has not stored.",
                "Start it again; if its data folder is gone, remove it with 'postback nodes remove'.",
                bad=True,
            )
    if dead:
        yield Concern(
            f"{dead:,} events could not be forwarded.", "Replay them when their destination works.", bad=False
        )
    if pending:
        yield Concern(f"Accounts that await your approval: {pending:,}.", "Approve or reject them.", bad=False)


PAGES = (Page(SERVER, "Server", "server.html", _server),)
