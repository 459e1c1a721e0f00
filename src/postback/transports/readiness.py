"""Readiness: whether a server accepts events, and what is wrong with what they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sqlalchemy import select

from postback.attribution.by_shard import unattributed_shards
from postback.errors import StoreUnavailable
from postback.services import Services
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore
from postback.store.nodes import silent_nodes

__all__ = ["warnings_if_ready"]


async def warnings_if_ready(services: Services) -> Sequence[str]:
    """What an operator should know although the server accepts events.

    Raises:
        StoreUnavailable: It accepts none.
        Overloaded: The same, since too many wait to be stored.
    """
    services.room.check()
    try:
        unattributed = await services.threads.ingestion.run(_ask_control, services.control, services.shards.numbers)
    except StoreUnavailable:
        if services.node is None:
            raise
        services.log.require_room()
        waiting = f"events of callers that are known wait in the ingest log ({_waiting(services)})"
        return [f"PostgreSQL does not answer: {waiting}, and everything else answers 503."]
    if services.shards.embedded:
        await services.threads.background.run(_ask_event_store, services.folder, services.shards.embedded)
        return unattributed
    # While ClickHouse is away, a load balancer that sent events elsewhere would send them nowhere.
    services.log.require_room()
    checks = [_shard_problem(services, number) for number in services.shards.numbers]
    problems = [problem for problem in await asyncio.gather(*checks) if problem]
    return [*problems, *unattributed]


async def _shard_problem(services: Services, number: int) -> str | None:
    """What is wrong with a shard; None if it takes what arrives."""
    several = len(services.shards.numbers) > 1
    try:
        answers = await services.threads.background.run(services.shards.get(number).ping)
    except StoreUnavailable:
        answers = False
    held_up = number in services.log.behind if several else services.log.held_up
    if answers and not held_up:
        return None
    name = f"Shard {number} of ClickHouse" if several else "ClickHouse"
    trouble = f"{name} takes no inserts" if answers else f"{name} does not answer"
    accounts = " of its accounts" if several else ""
    return (
        f"{trouble}: events{accounts} wait in the ingest log ({_waiting(services)}), and reports{accounts} answer 503."
    )


def _waiting(services: Services) -> str:
    return f"{services.log.waiting[0]:,} of at most {services.settings.queue_events:,} rows"


def _ask_control(control: ControlStore, shards: Sequence[int]) -> Sequence[str]:
    """What is wrong, if the control store answers; raises StoreUnavailable if not."""
    with control.connect() as connection:
        connection.execute(select(1))
        if not control.shared:
            return ()
        unled = unattributed_shards(connection, shards)
        silent = (
            f"Node {node.number} ({node.place}) has been silent for {node.silent_seconds} s, and attribution waits for "
            "what it received: start it again, or adopt its log."
            for node in silent_nodes(connection)
        )
        return (*([_nobody_works(unled, shards)] if unled else ()), *silent)


def _nobody_works(unled: Sequence[int], shards: Sequence[int]) -> str:
    where = "" if len(shards) == 1 else f" on {'shard' if len(unled) == 1 else 'shards'} {', '.join(map(str, unled))}"
    return (
        f"No server attributes{where}, so reports lack what came last: start one whose POSTBACK_ROLE is all or work, "
        "or wait 15 seconds if one was killed."
    )


def _ask_event_store(folder: DataDir, events: EventStore) -> None:
    """Check that the event store answers and that its disk has room; raises StoreUnavailable if not."""
    folder.check_room()
    if not events.ping():
        raise StoreUnavailable("The event store is not available.", retry_after=1)
