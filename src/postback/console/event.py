"""One event: what became of it, step by step, and everything that is stored of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from postback.auth.principal import Principal
from postback.console.page import Page, Visit
from postback.console.rendering import minute
from postback.errors import NotFound
from postback.events.identifiers import KINDS
from postback.events.warnings import WARNINGS
from postback.protocol.timestamps import rfc3339_micros
from postback.services import Services
from postback.tasks.look_up_event import EventStatus, EventStatusEntry, look_up_event

__all__ = ["PAGES", "EventPage", "Step", "event_page"]

StepState = Literal["done", "stopped", "waiting", "not_done"]


class Step(msgspec.Struct, frozen=True):
    """A step of an event's way, in order.

    Attributes:
        name: Received, validated, stored, matched, attributed or forwarded.
        state: ``done``; ``stopped``: it ended here; ``waiting``: it comes yet; ``not_done``: it isn't done for such
            events.
        at: When; None where no time is stored.
        message: What happened.
    """

    name: str
    state: StepState
    at: datetime | None
    message: str


class Explained(msgspec.Struct, frozen=True):
    """A warning, in words."""

    code: str
    problem: str
    fix: str


class StoredRow(msgspec.Struct, frozen=True):
    """An event, a copy of it or a test as it is stored; of identifiers their kinds only.

    Attributes:
        test_event_code: Empty for a live event.
        differs: The fields in which a copy differs from the first.
        custom_data: Its fields; None if there are none.
        extra: Fields that AdCP doesn't have.
        identifiers: The kinds of its usable identifiers.
    """

    test_event_code: str
    received_at: datetime
    differs: tuple[str, ...]
    event_time: datetime
    action_source: str
    event_source_url: str
    custom_event_name: str
    custom_data: dict[str, Any] | None
    extra: dict[str, Any] | None
    match_quality: float
    warnings: tuple[str, ...]
    identifiers: tuple[str, ...]
    payload_dropped: bool

    @property
    def order(self) -> dict[str, Any]:
        """What copies may not change of custom_data."""
        names = ("value", "currency", "order_id")
        return {name: value for name in names if (value := (self.custom_data or {}).get(name)) is not None}

    @property
    def json(self) -> str:
        """The same as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode()


class ForwardedTo(msgspec.Struct, frozen=True):
    """A destination of the event's source, and how many of the source's events have not arrived there."""

    destination: str
    waiting: int
    dead_lettered: int


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows.

    Attributes:
        event: Its status, as ``GET /v1/events/…`` returns it.
        steps: Its way, as a live event or, if it is none, as a test or a rejected one.
        identifiers: Every kind of identifier, and whether the event has a usable one; None if they were dropped.
        warnings: Its warnings, in words.
        stored: The event, its copies and its tests as they are stored, newest first.
        copies: How many of them are the live event and its copies.
        destinations: Where its source is forwarded to.
    """

    event: EventStatus
    steps: tuple[Step, ...]
    identifiers: dict[str, bool] | None
    warnings: tuple[Explained, ...]
    stored: tuple[StoredRow, ...]
    copies: int
    destinations: tuple[ForwardedTo, ...]

    @property
    def latest(self) -> EventStatusEntry:
        """The status that stands for the event: live, else of a test, else of a rejection."""
        return _latest(self.event)


def event_page(
    services: Services, principal: Principal, account_id: str | None, source: str, event_type: str, event_id: str
) -> EventPage:
    """Everything about one event. Reads both stores, so call it in a thread.

    Raises:
        EventSourceNotFound, AccountAmbiguous, NotFound, StoreUnavailable: As ``look_up_event`` does.
    """
    event = look_up_event(
        services, principal, account_id, event_source_id=source, event_type=event_type, event_id=event_id
    )
    key = {
        "account_id": event.account_id,
        "event_source_id": event.event_source_id,
        "event_type": event_type,
        "event_id": event_id,
    }
    differs = (
        {copy.received_at: copy.differs for copy in event.differing_copies.earliest} if event.differing_copies else {}
    )
    stored = tuple(_stored(row, differs) for row in services.shards.of(event.account_id).query("stored_rows", **key))
    backlog = services.forwarding.backlog_of(event.account_id, event.event_source_id)
    destinations = tuple(ForwardedTo(name, waiting.waiting, waiting.dead) for name, waiting in backlog.items())
    latest = _latest(event)
    codes = list(latest.warnings or ())
    if event.differing_copies:
        codes.append("DUPLICATE_DIFFERS")
    return EventPage(
        event=event,
        steps=tuple(_steps(event, destinations)),
        identifiers=_identifiers(latest),
        warnings=tuple(Explained(code, *WARNINGS[code]) for code in codes),
        stored=stored,
        copies=sum(not row.test_event_code for row in stored),
        destinations=destinations,
    )


async def _event(visit: Visit) -> EventPage:
    services, names = visit.services, ("event_source_id", "event_type", "event_id")
    read = partial(event_page, services, visit.principal, visit.account_id, *(visit.path[name] for name in names))
    try:
        return await services.read_stored(visit.principal.account_ids, read)
    except NotFound:  # it may be on its way
        return await services.read_events(visit.principal.account_ids, read)


def _latest(event: EventStatus) -> EventStatusEntry:
    def rank(entry: EventStatusEntry) -> int:
        return 2 if entry.status == "rejected" else 1 if entry.test_event_code else 0

    return min(event.statuses, key=rank)  # of equals the first, which is the newest


def _identifiers(entry: EventStatusEntry) -> dict[str, bool] | None:
    if entry.identifiers is UNSET:
        return None
    return {kind: kind in entry.identifiers for kind in dict.fromkeys([*KINDS.values()])}


def _stored(row: Sequence[Any], differs: dict[str, list[str]]) -> StoredRow:
    code, received_at, event_time, action_source, url, name, data, extra, quality, warnings, dropped, kinds = row
    return StoredRow(
        test_event_code=code,
        received_at=received_at,
        differs=() if code else tuple(differs.get(rfc3339_micros(received_at), ())),
        event_time=event_time,
        action_source=action_source,
        event_source_url=url,
        custom_event_name=name,
        custom_data=msgspec.json.decode(data) if data else None,
        extra=msgspec.json.decode(extra) if extra else None,
        match_quality=round(quality, 3),
        warnings=tuple(warnings),
        identifiers=tuple(dict.fromkeys(KINDS[kind] for kind in kinds)),
        payload_dropped=dropped,
    )


def _steps(event: EventStatus, destinations: Sequence[ForwardedTo]) -> Iterator[Step]:
    latest = _latest(event)
    at = datetime.fromisoformat(latest.received_at)
    test = bool(latest.test_event_code)
    yield Step("received", "done", at, f"From {event.event_source_id}{', as a test' if test else ''}.")
    if latest.status == "rejected":
        yield Step("validated", "stopped", at, f"Rejected: {latest.message}")
        return
    codes = latest.warnings or []
    found = f"Accepted, with {len(codes)} {'warning' if len(codes) == 1 else 'warnings'}." if codes else "Accepted."
    yield Step("validated", "done", at, found)
    yield Step(
        "stored", "done", at, "For 7 days, apart from live events." if test else "Durable, and the first of its copies."
    )
    yield from _attribution_steps(event, latest)
    if test:
        yield Step("forwarded", "not_done", None, "Tests are not forwarded.")
    elif not destinations:
        yield Step("forwarded", "not_done", None, "No destination is configured for this source.")
    else:
        yield _forwarded(destinations)


def _attribution_steps(event: EventStatus, latest: EventStatusEntry) -> Iterator[Step]:
    attribution = event.attribution or latest.attribution_if_live
    if not attribution:
        return
    if attribution.exposure_id:
        exposure = f"{attribution.exposure_kind} {attribution.exposure_id}"
        if attribution.exposure_at:
            exposure += f" of {minute(datetime.fromisoformat(attribution.exposure_at))}"
        yield Step("matched", "done", None, f"By {attribution.identifier} to the {exposure}.")
    elif attribution.status == "pending":
        yield Step("matched", "waiting", None, attribution.message)
        return
    else:
        yield Step("matched", "stopped", None, attribution.message)
        return
    counts = attribution.status == "attributed"
    where = f"{attribution.package_id} of {attribution.media_buy_id}"
    if latest.test_event_code:
        yield Step("attributed", "not_done", None, f"It would count for the package {where} if it were live.")
    elif counts:
        yield Step("attributed", "done", None, f"Counts for the package {where}.")
    else:
        yield Step("attributed", "stopped", None, attribution.message)


def _forwarded(destinations: Sequence[ForwardedTo]) -> Step:
    behind = [each for each in destinations if each.waiting or each.dead_lettered]
    names = ", ".join(each.destination for each in destinations)
    if not behind:
        return Step("forwarded", "done", None, f"To {names}: nothing of this source waits or failed.")
    said = "; ".join(
        f"{each.destination} has not received {each.waiting:,} events of this source yet, and {each.dead_lettered:,} "
        "were dead-lettered"
        for each in behind
    )
    return Step("forwarded", "waiting", None, f"{said}. This event may be one of them.")


PAGES = (
    Page(
        "/console/events/{event_source_id}/{event_type}/{event_id}",
        "Event",
        "event.html",
        _event,
        below="/console/live",
    ),
)
