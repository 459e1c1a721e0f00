"""The page of the events that are forwarded to the operator's own systems: what waits, and what is dead-lettered."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from starlette.datastructures import ImmutableMultiDict

from postback.collectors import Backlog
from postback.console.page import Action, Page, Visit
from postback.console.server import SERVER
from postback.forwarding.outbox import Delivery, Outbox

__all__ = ["PAGES"]

_PATH = f"{SERVER}/forwarding"
_MOST = 200


class ShownDestination(msgspec.Struct, frozen=True):
    """A system that events are forwarded to.

    Attributes:
        name: Its name.
        account_id: The account of its source, or None if the server's configuration no longer names the destination.
        event_source_id: The source, or None.
        waiting: Events that wait for an attempt.
        oldest_at: When the oldest of them came, or None.
        dead: Events that are dead-lettered: no further attempts are made.
    """

    name: str
    account_id: str | None
    event_source_id: str | None
    waiting: int
    oldest_at: datetime | None
    dead: int


class ShownDelivery(msgspec.Struct, frozen=True):
    """A request with events that has not been delivered."""

    delivery_id: str
    destination: str
    account_id: str
    event_source_id: str
    events: int
    attempts: int
    error: str | None


class ShownForwarding(msgspec.Struct, frozen=True):
    """What the page shows.

    Attributes:
        destinations: Where events are forwarded to.
        dead: The deliveries that are dead-lettered, the oldest 200.
        waiting: The deliveries that wait, the oldest 200.
    """

    destinations: tuple[ShownDestination, ...]
    dead: tuple[ShownDelivery, ...]
    waiting: tuple[ShownDelivery, ...]


async def _forwarding(visit: Visit) -> ShownForwarding:
    visit.require_seller()
    return await visit.services.threads.control.run(_read, visit)


def _read(visit: Visit) -> ShownForwarding:
    outbox = Outbox(visit.services.control)
    backlog = outbox.backlog()
    configured = {destination.name: destination for destination in visit.services.forwarding.destinations}
    destinations = []
    for name in sorted(configured.keys() | backlog.keys()):
        known, waits = configured.get(name), backlog.get(name, Backlog(0, 0, None))
        oldest = datetime.fromtimestamp(waits.oldest, UTC) if waits.waiting and waits.oldest is not None else None
        destinations.append(
            ShownDestination(
                name=name,
                account_id=known.account_id if known else None,
                event_source_id=known.event_source_id if known else None,
                waiting=waits.waiting,
                oldest_at=oldest,
                dead=waits.dead,
            )
        )
    return ShownForwarding(
        destinations=tuple(destinations),
        dead=tuple(map(_shown, outbox.listed(dead=True, limit=_MOST))),
        waiting=tuple(map(_shown, outbox.listed(dead=False, limit=_MOST))),
    )


def _shown(delivery: Delivery) -> ShownDelivery:
    return ShownDelivery(*(getattr(delivery, name) for name in ShownDelivery.__struct_fields__))


async def _replay(visit: Visit, form: ImmutableMultiDict[str, str]) -> str:
    """Send one delivery again or, without ``delivery_id``, every dead one."""
    services = visit.services
    outbox = Outbox(services.control, services.clock.now)
    await services.threads.control.run(outbox.replay, form.get("delivery_id"))
    services.forwarding.wake(destination.name for destination in services.forwarding.destinations)
    return _PATH


PAGES = (
    Page(_PATH, "Forwarding", "forwarding.html", _forwarding, below=SERVER),
    Action(f"{_PATH}/replay", _replay),
)
