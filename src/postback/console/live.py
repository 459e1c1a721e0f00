"""Live events: what was received, as it is stored. The same page lists everything that was received."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from postback.console.one_account import shown_account
from postback.console.page import Page, Resource, Visit
from postback.errors import InvalidRequest, RateLimitExceeded
from postback.protocol.enums import EVENT_TYPES
from postback.protocol.timestamps import exact_moment
from postback.services import Services
from postback.store.receipt_feeds import MOST_VIEWERS, Stretch
from postback.store.receipts import OUTCOMES, Outcome, Receipt, ReceiptFilter, count_receipts, receipts

__all__ = ["PAGES", "FreshReceipts", "LiveEvents", "ShownReceipt"]

_ROWS = 100
_FRESH_ROWS = 50
"""Rows that one message of the stream brings; it counts the others."""

_CHECK_SECONDS = 3
"""How often a stream looks whether its visitor still is signed in."""

_SEND_SECONDS = 30
"""How long a browser may take to accept a message."""

_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EventFilter(msgspec.Struct, frozen=True):
    """What the visitor wants to see, as in the URL; empty for everything.

    Attributes:
        source: An event_source_id.
        outcome: One of ``outcomes``.
        type: An event_type.
        test: A test_event_code.
        code: The reason of a rejection, or the code of a warning.
        field: The field that events were rejected for.
        id: A part of the event_id.
    """

    source: str = ""
    outcome: str = ""
    type: str = ""
    test: str = ""
    code: str = ""
    field: str = ""
    id: str = ""

    @property
    def receipts(self) -> ReceiptFilter:
        """The same for the event store."""
        return ReceiptFilter(self.source, self.type, self.test, self.outcome, self.code, self.field, self.id)


class ShownReceipt(msgspec.Struct, frozen=True):
    """Something that was received.

    Attributes:
        received_at: When.
        event_source_id: The source.
        event_type, event_id: Its names; empty if it had none that may be stored.
        test_event_code: Empty for a live event.
        outcome: What became of it.
        quality: Its match quality, 0 to 1; None for a rejection.
        warnings: Codes of its warnings.
        reason: Why it was rejected; else empty, as the two that follow.
        field: The field that it was rejected for.
        message: What is wrong and what to send instead.
    """

    received_at: datetime
    event_source_id: str
    event_type: str
    event_id: str
    test_event_code: str
    outcome: Outcome
    quality: float | None
    warnings: tuple[str, ...]
    reason: str
    field: str
    message: str

    @property
    def until(self) -> datetime:
        """What was received before this time includes it."""
        return self.received_at + _MICROSECOND


class LiveEvents(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows.

    Attributes:
        account_id: The account: the one that was chosen or, of several, the one that something was received for last.
        filter: What the visitor wants to see.
        sources, types, outcomes: What it may be.
        after, before: Bounds of the time of receipt, both left out.
        receipts: What was received, newest first.
        older: Whether there is more, before the last of them.
        through: Everything until then is in the list, which the stream goes on from.
        streams: Whether more comes as it is stored; not in a list that ends at a time.
        full: Whether nothing comes since too many live views are open with the visitor's key.
        most_views: How many may be.
    """

    account_id: str
    filter: EventFilter
    sources: tuple[str, ...]
    types: tuple[str, ...] = EVENT_TYPES
    outcomes: tuple[str, ...] = OUTCOMES
    after: datetime | None
    before: datetime | None
    receipts: tuple[ShownReceipt, ...]
    older: bool
    through: datetime
    streams: bool
    full: bool
    most_views: int = MOST_VIEWERS


class FreshReceipts(msgspec.Struct, frozen=True):
    """One message of the stream.

    Attributes:
        account_id: The account.
        filter: What the visitor wants to see.
        receipts: What was stored, newest first.
        more: How many more there are than a message brings.
        after, before: They were received between these times.
        signed_out: Whether this is the last message, since the visitor is not signed in any more.
    """

    account_id: str
    filter: EventFilter
    receipts: tuple[ShownReceipt, ...] = ()
    more: int = 0
    after: datetime | None = None
    before: datetime | None = None
    signed_out: bool = False


async def _live(visit: Visit) -> LiveEvents:
    account_id = await shown_account(visit)
    wanted, after, before = _filter(visit), _time(visit, "after"), _time(visit, "before")
    return await visit.services.threads.reports.run(_read, visit, account_id, wanted, after, before)


def _read(
    visit: Visit, account_id: str, wanted: EventFilter, after: datetime | None, before: datetime | None
) -> LiveEvents:
    services = visit.services
    events = services.shards.of(account_id)
    through = events.stored_through()
    found, older = receipts(
        events,
        account_id,
        wanted.receipts,
        _ROWS,
        after=after or _EPOCH,
        before=min(before or through, through) + (timedelta() if before else _MICROSECOND),
    )
    room = services.receipt_feeds.has_room(visit.principal.key_id)
    return LiveEvents(
        account_id=account_id,
        filter=wanted,
        sources=tuple(sorted(source.event_source_id for source in services.sources.list(account_id))),
        after=after,
        before=before,
        receipts=tuple(map(_shown, found)),
        older=older,
        through=through,
        streams=before is None and room,
        full=before is None and not room,
    )


async def _stream(visit: Visit) -> Response:
    """What is stored from now on, or after the last message that a browser had, as rows of the page's table."""
    account_id = await shown_account(visit)
    wanted, services = _filter(visit), visit.services
    last = visit.last_event_id
    after = exact_moment(last, "Last-Event-ID") if last else _time(visit, "after")
    if after is None:
        after = await services.threads.reports.run(_through, services, account_id)
    if not services.receipt_feeds.has_room(visit.principal.key_id):
        raise RateLimitExceeded(f"{MOST_VIEWERS} live views are open with this key.", retry_after=10)
    begins = min(after, visit.now)  # of what is ahead, nothing would come, the end of the session included
    return EventSourceResponse(_messages(visit, account_id, wanted, begins), send_timeout=_SEND_SECONDS)


def _through(services: Services, account_id: str) -> datetime:
    """The time through which all that was received for an account is stored."""
    return services.shards.of(account_id).stored_through()


async def _messages(
    visit: Visit, account_id: str, wanted: EventFilter, after: datetime
) -> AsyncIterator[ServerSentEvent]:
    with visit.services.receipt_feeds.watch(account_id, visit.principal.key_id) as feed:
        checked = visit.now
        while True:
            stretch = await feed.next(after)
            after = stretch.through
            if after - checked > timedelta(seconds=_CHECK_SECONDS):
                checked = after
                if not await visit.is_signed_in():
                    yield _message(visit, FreshReceipts(account_id, wanted, signed_out=True), after)
                    yield ServerSentEvent("", event="ended")
                    return
            fresh = await _fresh(visit, account_id, wanted, stretch)
            if fresh.receipts:
                yield _message(visit, fresh, after)


def _message(visit: Visit, fresh: FreshReceipts, after: datetime) -> ServerSentEvent:
    return ServerSentEvent(visit.block(LIVE, "fresh", fresh), id=after.isoformat())


async def _fresh(visit: Visit, account_id: str, wanted: EventFilter, stretch: Stretch) -> FreshReceipts:
    """What a viewer shows of a stretch: the newest that it wants, and how many there are beside them."""
    after, before = stretch.after, stretch.through + _MICROSECOND
    if stretch.receipts is not None:
        found = [receipt for receipt in stretch.receipts if wanted.receipts.fits(receipt)]
        newest, count = found[:_FRESH_ROWS], len(found)
    else:
        run = visit.services.threads.reports.run
        events = await run(visit.services.shards.of, account_id)
        newest, more = await run(receipts, events, account_id, wanted.receipts, _FRESH_ROWS, after=after, before=before)
        count = len(newest)
        if more:
            count = await run(count_receipts, events, account_id, wanted.receipts, after=after, before=before)
    return FreshReceipts(account_id, wanted, tuple(map(_shown, newest)), count - len(newest), after, before)


def _filter(visit: Visit) -> EventFilter:
    wanted = EventFilter(**{name: visit.query.get(name, "").strip() for name in EventFilter.__struct_fields__})
    if wanted.outcome not in ("", *OUTCOMES):
        raise InvalidRequest(f"outcome must be one of {', '.join(OUTCOMES)}.", field="outcome")
    return wanted


def _time(visit: Visit, name: str) -> datetime | None:
    text = visit.query.get(name)
    return exact_moment(text, name) if text else None


def _shown(receipt: Receipt) -> ShownReceipt:
    rejected = receipt.outcome == "rejected"
    return ShownReceipt(
        receipt.received_at,
        receipt.event_source_id,
        receipt.event_type,
        receipt.event_id,
        receipt.test_event_code,
        receipt.outcome,
        None if rejected else round(receipt.quality, 2),
        tuple(receipt.warnings),
        receipt.reason,
        receipt.field,
        receipt.message,
    )


LIVE = Page("/console/live", "Live events", "live.html", _live)

PAGES = (LIVE, Resource("/console/live/stream", _stream))
