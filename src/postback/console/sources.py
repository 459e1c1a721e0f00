"""Event sources: how each of an account does, and how sure that is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from urllib.parse import quote

import msgspec

from postback.console.csv_table import Cell, CsvTable
from postback.console.page import Page, Visit
from postback.event_sources.event_source import EventSource
from postback.event_sources.health import HealthIssue, SourceHealth, SourceVolume
from postback.tasks.source_health import Traffic

__all__ = ["PAGES", "SOURCES", "Health", "health_of"]

SOURCES = "/console/sources"
_MOST_ACCOUNTS = 20
_STATUS = {
    "insufficient": "Nothing arrives from it.",
    "minimum": "Too few events arrive, too many are rejected, or too few can be matched.",
    "good": "Few events are rejected, and many can be matched.",
    "excellent": "Hardly any event is rejected, and most can be matched.",
}


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The health of a source, as sync_event_sources returns it.

    Attributes:
        status: insufficient, minimum, good or excellent.
        meaning: The same in words.
        certainty: What it is assessed from, so how sure it is.
        volume: How much arrives beside what is usual, and how sure that is; None before the first event.
        match_quality: The mean of 24 hours, 0 to 1; None without events.
        match_rate: The share of the events of seven days that are attributed; None if no goal names any.
        matched, matchable: How many those are, of how many.
        median_delay_seconds: How late half of these events came at most.
        issues: What to improve, the most severe first.
    """

    status: str
    meaning: str
    certainty: str
    volume: SourceVolume | None
    events_24h: int
    rejected_24h: int
    match_quality: float | None
    match_rate: float | None
    matched: int
    matchable: int
    issues: tuple[HealthIssue, ...]
    last_event_at: datetime | None


class ListedSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source in the list."""

    account_id: str
    event_source_id: str
    name: str | None
    managed_by: str
    health: Health
    url: str


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What the list shows.

    Attributes:
        sources: By account and id.
        next_url: The page with those of further accounts, or None.
        csv_url: The list as a file.
    """

    sources: tuple[ListedSource, ...]
    next_url: str | None
    csv_url: str


async def _list(visit: Visit) -> Sources:
    after = visit.query.get("after", "")
    accounts = [account.account_id for account in visit.principal.accounts if account.account_id > after]
    shown, more = accounts[:_MOST_ACCOUNTS], accounts[_MOST_ACCOUNTS:]
    return Sources(
        sources=tuple([source for account_id in shown for source in await _listed(visit, account_id)]),
        next_url=visit.url(after=shown[-1]) if more else None,
        csv_url=visit.url(format="csv"),
    )


async def _listed(visit: Visit, account_id: str) -> list[ListedSource]:
    sources = await visit.services.threads.reports.run(visit.services.sources.list, account_id)
    if not sources:
        return []
    traffic = await visit.traffic(account_id)
    return [
        ListedSource(
            account_id=account_id,
            event_source_id=source.event_source_id,
            name=source.name,
            managed_by=source.managed_by,
            health=health_of(traffic, source, visit.now),
            url=visit.url(f"{SOURCES}/{quote(source.event_source_id, safe='')}", account=account_id),
        )
        for source in sources
    ]


def health_of(traffic: Traffic, source: EventSource, now: datetime) -> Health:
    """The health of one source, with what it is assessed from."""
    health = traffic.health(source, now)
    activity, matching = traffic.activity.get(source.event_source_id), traffic.matching.get(source.event_source_id)
    return Health(
        status=health.status,
        meaning=_STATUS[health.status],
        certainty=_certainty(health),
        volume=health.ext.postback.volume if health.ext else None,
        events_24h=health.events_received_24h,
        rejected_24h=activity.rejected_24h if activity else 0,
        match_quality=health.detail.score if health.detail else None,
        match_rate=matching.attributed / matching.events if matching else None,
        matched=matching.attributed if matching else 0,
        matchable=matching.events if matching else 0,
        issues=tuple(health.issues),
        last_event_at=activity.last_event_at if activity else None,
    )


def _certainty(health: SourceHealth) -> str:
    events = health.events_received_24h
    if not events:
        return "There is no event of the last 24 hours to assess it from."
    return f"Assessed from {events:,} {'event' if events == 1 else 'events'} of the last 24 hours."


_OF_HEALTH = ("status", "events_24h", "rejected_24h", "match_quality", "match_rate", "last_event_at")


async def _csv(visit: Visit) -> CsvTable:
    async def parts() -> AsyncIterator[list[list[Cell]]]:
        for account in visit.principal.accounts:
            yield [_cells(source) for source in await _listed(visit, account.account_id)]

    columns = ("account_id", "event_source_id", "name", "managed_by", *_OF_HEALTH, "issues")
    return CsvTable(f"event-sources-{visit.now:%Y-%m-%d}", columns, parts())


def _cells(source: ListedSource) -> list[Cell]:
    return [
        *(source.account_id, source.event_source_id, source.name, source.managed_by),
        *(getattr(source.health, name) for name in _OF_HEALTH),
        " ".join(issue.message for issue in source.health.issues),
    ]


PAGES = (Page(SOURCES, "Sources", "sources.html", _list, csv=_csv),)
