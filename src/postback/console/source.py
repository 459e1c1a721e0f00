"""One event source: what came from it and what became of that, what to mend, and how it is set up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import quote

import msgspec

from postback.console.chart import Chart, Series, Tone
from postback.console.csv_table import Cell, CsvTable, whole
from postback.console.page import Page, Visit
from postback.console.sources import SOURCES, Health, health_of
from postback.errors import InvalidRequest
from postback.event_sources.event_source import EventSource
from postback.event_sources.rhythms import start_of_hour
from postback.event_sources.setup_snippets import SourceSetup, setup
from postback.events.identifiers import KINDS
from postback.events.warnings import WARNINGS
from postback.protocol.enums import MediaBuyStatus
from postback.protocol.timestamps import rfc3339
from postback.store.receipts import OUTCOMES, rejections, warned
from postback.store.source_facts import (
    IdentifierCoverage,
    first_and_last_events,
    identifier_coverage,
    receipts_by_time,
)

__all__ = ["PAGES"]

_DAYS = (1, 7, 30)
_HOUR, _DAY, _LEAST = timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)
_TONES: dict[str, Tone] = {"rejected": "bad", "accepted_with_warnings": "warn"}
_NAMES = {
    "accepted": "Accepted",
    "accepted_with_warnings": "Accepted with warnings",
    "duplicate": "Duplicates",
    "rejected": "Rejected",
    "test": "Tests",
}


class Outcome(msgspec.Struct, frozen=True):
    """How many events came to one outcome, and the list of them."""

    outcome: str
    name: str
    events: int
    events_url: str


class Coverage(msgspec.Struct, frozen=True):
    """How many of the events have a usable identifier of one kind; of ``none`` without any."""

    identifier: str
    events: int
    share: float


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with some events, and what to do.

    Attributes:
        code: The reason of a rejection, or the code of a warning.
        field: The field that is wrong; empty for the event itself, and for warnings.
        rejected: Whether the events were rejected.
        message: What is wrong and what to send instead.
        events_url: The list of them.
    """

    code: str
    field: str
    rejected: bool
    message: str
    events: int
    last_at: datetime
    events_url: str


class Dependent(msgspec.Struct, frozen=True):
    """A package whose goals name the source."""

    media_buy_id: str
    package_id: str
    status: MediaBuyStatus
    event_types: tuple[str, ...]
    url: str


class OneSource(msgspec.Struct, frozen=True, kw_only=True):
    """What the page of one source shows.

    Attributes:
        event_types, value_currencies, allowed_domains: What it accepts; None for all.
        days: How many days ``outcomes``, ``chart`` and ``issues`` cover.
        spans: The addresses of other numbers of days.
        times: Begin of each hour or day → events by outcome.
        coverage: Of the events of 24 hours; ``coverage_events`` is how many there are.
        median_delay_seconds, long_delay_seconds: How long after they happened half of them came, and 95 of 100.
        first_event_at: The minute of the first event, also of one that was rejected.
        failures_url: The page of everything that is wrong.
    """

    account_id: str
    event_source_id: str
    name: str | None
    seller_id: str
    managed_by: str
    event_types: tuple[str, ...] | None
    value_currencies: tuple[str, ...] | None
    allowed_domains: tuple[str, ...] | None
    action_source: str | None
    health: Health
    first_event_at: datetime | None
    last_event_at: datetime | None
    days: int
    spans: dict[str, str]
    outcomes: tuple[Outcome, ...]
    times: dict[str, dict[str, int]]
    chart: Chart
    coverage_events: int
    coverage: tuple[Coverage, ...]
    median_delay_seconds: float | None
    long_delay_seconds: float | None
    issues: tuple[Issue, ...]
    failures_url: str
    dependents: tuple[Dependent, ...]
    setup: SourceSetup
    csv_urls: dict[str, str]


async def _one(visit: Visit) -> OneSource:
    days = _days(visit)
    resolve = visit.services.sources.resolve
    source = await visit.services.threads.reports.run(resolve, visit.principal, visit.path["event_source_id"], None)
    health = health_of(await visit.traffic(source.account_id), source, visit.now)
    return await visit.services.read_stored([source.account_id], _read, visit, source, health, days)


def _days(visit: Visit) -> int:
    chosen = visit.query.get("days") or "1"
    if chosen not in map(str, _DAYS):
        raise InvalidRequest(f"days must be one of {', '.join(map(str, _DAYS))}.", field="days")
    return int(chosen)


def _read(visit: Visit, source: EventSource, health: Health, days: int) -> OneSource:
    services = visit.services
    key = services.shards.of(source.account_id), source.account_id, source.event_source_id
    step = _HOUR if days < max(_DAYS) else _DAY
    until = hour_ends = start_of_hour(visit.now) + _HOUR
    if step == _DAY:
        until = visit.now.replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
    since = until - _DAY * days
    found = receipts_by_time(*key, since, until, daily=step == _DAY)
    moments = {since + step * number: found.get(since + step * number, {}) for number in range((until - since) // step)}
    first, last = first_and_last_events(*key)
    covered = identifier_coverage(*key, hour_ends - _DAY)
    issues = sorted(_issues(visit, source, since, until), key=lambda issue: (not issue.rejected, -issue.events))
    return OneSource(
        account_id=source.account_id,
        event_source_id=source.event_source_id,
        name=source.name,
        seller_id=source.seller_id,
        managed_by=source.managed_by,
        event_types=source.event_types,
        value_currencies=source.value_currencies,
        allowed_domains=source.allowed_domains,
        action_source=source.action_source,
        health=health,
        first_event_at=first,
        last_event_at=last,
        days=days,
        spans={f"{span * 24} hours" if span == 1 else f"{span} days": visit.url(days=span) for span in _DAYS},
        outcomes=tuple(_outcomes(visit, source, moments, since, until)),
        times={rfc3339(moment): counts for moment, counts in moments.items()},
        chart=_chart(moments, step),
        coverage_events=covered.events,
        coverage=tuple(_coverage(covered)),
        median_delay_seconds=_seconds(covered.median_delay),
        long_delay_seconds=_seconds(covered.long_delay),
        issues=tuple(issues),
        failures_url=visit.url("/console/failures", account=source.account_id, source=source.event_source_id),
        dependents=tuple(_dependents(visit, source)),
        setup=setup(source, services.settings.public_url, services.tag_script),
        csv_urls={name: visit.url(format="csv", table=name) for name in _TABLES},
    )


def _outcomes(
    visit: Visit, source: EventSource, moments: dict[datetime, dict[str, int]], since: datetime, until: datetime
) -> Iterator[Outcome]:
    for outcome in OUTCOMES:
        events = sum(counts.get(outcome, 0) for counts in moments.values())
        yield Outcome(outcome, _NAMES[outcome], events, _events(visit, source, since, until, outcome=outcome))


def _events(visit: Visit, source: EventSource, since: datetime, until: datetime, **filters: str) -> str:
    """The list of what was received from the source in a span of time."""
    span = {"after": (since - _LEAST).isoformat(), "before": rfc3339(until)}
    found = {"account": source.account_id, "source": source.event_source_id, **filters}
    return visit.url("/console/live", **found, **span)


def _chart(moments: dict[datetime, dict[str, int]], step: timedelta) -> Chart:
    each = "hour" if step == _HOUR else "day"
    sums = {outcome: sum(counts.get(outcome, 0) for counts in moments.values()) for outcome in OUTCOMES}
    said = ", ".join(f"{count:,} {_NAMES[outcome].lower()}" for outcome, count in sums.items() if count)
    return Chart(
        title=f"Events by {each}",
        summary=f"{said}." if said else "Nothing was received.",
        labels=tuple(moments),
        series=tuple(
            Series(
                _NAMES[outcome],
                tuple(counts.get(outcome, 0) for counts in moments.values()),
                _TONES.get(outcome, ""),
            )
            for outcome in OUTCOMES
        ),
    )


def _coverage(covered: IdentifierCoverage) -> Iterator[Coverage]:
    """The kinds of identifiers, the most frequent first, and what has none."""
    if not covered.events:
        return
    for kind, events in sorted(covered.kinds.items(), key=lambda item: (-item[1], item[0])):
        yield Coverage(KINDS[kind], events, events / covered.events)
    yield Coverage("none", covered.without, covered.without / covered.events)


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else round(span.total_seconds(), 1)


def _issues(visit: Visit, source: EventSource, since: datetime, until: datetime) -> Iterator[Issue]:
    key = visit.services.shards.of(source.account_id), source.account_id, source.event_source_id
    for rejected in rejections(*key, since=since, until=until):
        filters = {"outcome": "rejected", "code": rejected.reason, "field": rejected.field}
        yield Issue(
            code=rejected.reason,
            field=rejected.field,
            rejected=True,
            message=rejected.message,
            events=rejected.events,
            last_at=rejected.last_at,
            events_url=_events(visit, source, since, until, **filters),
        )
    for warning in warned(*key, since=since, until=until):
        problem, fix = WARNINGS[warning.code]
        yield Issue(
            code=warning.code,
            field="",
            rejected=False,
            message=f"They {problem}. Fix: {fix}.",
            events=warning.events,
            last_at=warning.last_at,
            events_url=_events(visit, source, since, until, code=warning.code),
        )


def _dependents(visit: Visit, source: EventSource) -> Iterator[Dependent]:
    """The packages that count its events; their conversions stop when it falls silent."""
    for buy, package in visit.services.media_buys.goals(source.account_id):
        named = [entry for goal in package.event_goals for entry in goal.event_sources or ()]
        types = {entry.event_type for entry in named if entry.event_source_id == source.event_source_id}
        if types:
            url = visit.url(f"/console/delivery/{quote(buy.media_buy_id, safe='')}", account=source.account_id)
            yield Dependent(buy.media_buy_id, package.package_id, buy.status, tuple(sorted(types)), url)


_TABLES = ("outcomes", "identifiers", "issues", "media_buys")


async def _csv(visit: Visit) -> CsvTable:
    model = await _one(visit)
    rows: list[list[Cell]]
    columns: tuple[str, ...]
    match table := visit.query.get("table", "outcomes"):
        case "outcomes":
            columns = ("begins_at", *OUTCOMES)
            rows = [[at, *(counts.get(name, 0) for name in OUTCOMES)] for at, counts in model.times.items()]
        case "identifiers":
            columns = Coverage.__struct_fields__
            rows = [[*msgspec.structs.astuple(found)] for found in model.coverage]
        case "issues":
            columns = ("code", "field", "rejected", "events", "last_at", "message")
            rows = [[i.code, i.field, str(i.rejected).lower(), i.events, i.last_at, i.message] for i in model.issues]
        case "media_buys":
            columns = ("media_buy_id", "package_id", "status", "event_types")
            rows = [[d.media_buy_id, d.package_id, d.status, " ".join(d.event_types)] for d in model.dependents]
        case _:
            raise InvalidRequest(f"table must be one of {', '.join(_TABLES)}.", field="table")
    day = f"{visit.now:%Y-%m-%d}"
    return CsvTable(f"{model.event_source_id}-{table}-{day}-last-{model.days}-days", columns, whole(rows))


PAGES = (Page(f"{SOURCES}/{{event_source_id}}", "Event source", "source.html", _one, below=SOURCES, csv=_csv),)
