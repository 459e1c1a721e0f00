"""Lookup: what became of an event or an order, from an id alone; or what to check if it never arrived."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from postback.console.event import EventPage, event_page
from postback.console.page import Page, Visit
from postback.errors import NotFound
from postback.protocol.characters import normalized_id
from postback.store.receipts import ReceiptFilter, receipts

__all__ = ["PAGES", "LookedUp"]

_EXPLAINED = 5
_LISTED = 50
_SIMILAR = 5
_SIMILAR_LENGTH = 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Named(msgspec.Struct, frozen=True):
    """An event."""

    account_id: str
    event_source_id: str
    event_type: str
    event_id: str


class SourceHeard(msgspec.Struct, frozen=True):
    """When the last event of a source was accepted; None if none ever was."""

    account_id: str
    event_source_id: str
    last_event_at: datetime | None


class LookedUp(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows.

    Attributes:
        id: The id that was asked for; empty before one is.
        source: Only events of this source; empty for any.
        type: Only events of this type; empty for any.
        explained: The events that have the id as their event_id or order_id, those with the event_id first.
        others: Further ones.
        elsewhere: If nothing was found in the chosen account: the events of the visitor's other accounts.
        similar: If nothing was found: events received lately whose event_id contains it.
        sources: If nothing was found: when each source was last heard of.
        on_its_way: If nothing was found: how many events and exposures were acknowledged and not stored yet, if many.
    """

    id: str = ""
    source: str = ""
    type: str = ""
    explained: tuple[EventPage, ...] = ()
    others: tuple[Named, ...] = ()
    elsewhere: tuple[Named, ...] = ()
    similar: tuple[Named, ...] = ()
    sources: tuple[SourceHeard, ...] = ()
    on_its_way: int = 0


async def _lookup(visit: Visit) -> LookedUp:
    asked, source, kind = (visit.query.get(name, "").strip() for name in ("id", "source", "type"))
    if not asked:
        return LookedUp(source=source, type=kind)
    on_its_way = visit.services.on_its_way
    return await visit.services.read_stored(
        visit.principal.account_ids, _find, visit, normalized_id(asked), source, kind, on_its_way
    )


def _find(visit: Visit, asked: str, source: str, kind: str, on_its_way: int) -> LookedUp:
    chosen = visit.principal.account_ids
    found = _named(visit, chosen, asked, source, kind)
    if found:
        explained = [page for named in found[:_EXPLAINED] if (page := _explain(visit, named))]
        return LookedUp(
            id=asked, source=source, type=kind, explained=tuple(explained), others=tuple(found[_EXPLAINED:])
        )
    others = [account.account_id for account in visit.accounts if account.account_id not in chosen]
    return LookedUp(
        id=asked,
        source=source,
        type=kind,
        elsewhere=tuple(_named(visit, others, asked, source, kind)) if others else (),
        similar=tuple(_similar(visit, chosen, asked)),
        sources=tuple(_sources(visit, chosen)),
        on_its_way=on_its_way,
    )


def _named(visit: Visit, account_ids: list[str], asked: str, source: str, kind: str) -> list[Named]:
    named = [
        Named(*row)
        for events, some in visit.services.shards.grouped(account_ids, str)
        for row in events.query(
            "named_events", account_ids=some, id=asked, event_source_id=source, event_type=kind, most=_LISTED
        )
    ]
    return sorted(named, key=lambda each: (each.event_id != asked, msgspec.structs.astuple(each)))[:_LISTED]


def _explain(visit: Visit, named: Named) -> EventPage | None:
    try:
        return event_page(
            visit.services,
            visit.principal,
            named.account_id,
            named.event_source_id,
            named.event_type,
            named.event_id,
        )
    except NotFound:  # it has expired since
        return None


def _similar(visit: Visit, account_ids: list[str], asked: str) -> list[Named]:
    """Events whose event_id contains what was asked for, of one account: more would take too long."""
    if len(asked) < _SIMILAR_LENGTH or len(account_ids) > 1:
        return []
    events = visit.services.shards.of(account_ids[0])
    found, _ = receipts(
        events,
        account_ids[0],
        ReceiptFilter(text=asked),
        _SIMILAR,
        after=_EPOCH,
        before=events.stored_through(),
    )
    return [Named(account_ids[0], each.event_source_id, each.event_type, each.event_id) for each in found]


def _sources(visit: Visit, account_ids: list[str]) -> list[SourceHeard]:
    if len(account_ids) > 1:
        return []
    rows = visit.services.shards.of(account_ids[0]).query("last_events", account_id=account_ids[0])
    heard = {source: last_event_at for source, last_event_at in rows}  # noqa: C416 rows are no pairs to mypy
    known = (source.event_source_id for source in visit.services.sources.list(account_ids[0]))
    return [SourceHeard(account_ids[0], source, heard.get(source)) for source in sorted(known)]


PAGES = (Page("/console/lookup", "Lookup", "lookup.html", _lookup),)
