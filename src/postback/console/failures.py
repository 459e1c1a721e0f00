"""Failures: why events were rejected or could match better, how many, since when, and what to do about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta

import msgspec

from postback.console.one_account import shown_account
from postback.console.page import Page, Visit
from postback.errors import InvalidRequest
from postback.events.warnings import WARNINGS
from postback.store.receipts import RECEIPT_DAYS, Rejections, Warned, count_received, rejections, warned

__all__ = ["PAGES", "Failures"]

_DAYS = 7


class OfSource(msgspec.Struct, frozen=True):
    """How many events of a source failed so, and when the first and the last of them came."""

    event_source_id: str
    events: int
    first_at: datetime
    last_at: datetime


class Failure(msgspec.Struct, frozen=True):
    """What is wrong with some events.

    Attributes:
        code: The reason of a rejection, or the code of a warning.
        field: The field that events were rejected for; empty for the event itself, and for warnings.
        problem: What is wrong with them.
        fix: What to do; empty where ``problem`` says it.
        events: How many there are.
        first_at, last_at: When the first and the last of them came, in the span of time that is shown.
        sources: The same by source, the most first.
    """

    code: str
    field: str
    problem: str
    fix: str
    events: int
    first_at: datetime
    last_at: datetime
    sources: tuple[OfSource, ...]


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows; tests don't count.

    Attributes:
        account_id: The account: the one that was chosen or, of several, the one that something was received for last.
        source: Only this source; empty for all.
        sources: The account's.
        since, until: The first and the last day.
        after, before: The same as bounds of the time of receipt.
        received: How many events came.
        rejected: How many of them were rejected.
        rejections: Why, the most first.
        warnings: What was odd about the others, the most first.
    """

    account_id: str
    source: str
    sources: tuple[str, ...]
    since: date
    until: date
    after: datetime
    before: datetime
    received: int
    rejected: int
    rejections: tuple[Failure, ...]
    warnings: tuple[Failure, ...]


async def _failures(visit: Visit) -> Failures:
    account_id = await shown_account(visit)
    until = _day(visit, "until", visit.now.date())
    since = _day(visit, "since", max(until - timedelta(days=_DAYS - 1), date.min))
    if since > until:
        raise InvalidRequest("since must not be after until.", field="since")
    return await visit.services.read_stored([account_id], _read, visit, account_id, since, until)


def _read(visit: Visit, account_id: str, since: date, until: date) -> Failures:
    events, source = visit.services.shards.of(account_id), visit.query.get("source", "").strip()
    span = {
        "since": datetime.combine(since, time(), UTC),
        "until": datetime.combine(until, time(), UTC) + timedelta(days=1),
    }
    rejected = rejections(events, account_id, source, **span)
    return Failures(
        account_id=account_id,
        source=source,
        sources=tuple(sorted(each.event_source_id for each in visit.services.sources.list(account_id))),
        since=since,
        until=until,
        after=span["since"] - timedelta(microseconds=1),
        before=span["until"],
        received=count_received(events, account_id, source, **span),
        rejected=sum(found.events for found in rejected),
        rejections=tuple(_rejections(rejected)),
        warnings=tuple(_warnings(warned(events, account_id, source, **span))),
    )


def _rejections(found: Iterable[Rejections]) -> list[Failure]:
    groups: dict[tuple[str, str], list[Rejections]] = defaultdict(list)
    for each in found:
        groups[each.reason, each.field].append(each)
    return _in_order(
        _failure(reason, field, max(group, key=lambda each: each.last_at).message, "", group)
        for (reason, field), group in groups.items()
    )


def _warnings(found: Iterable[Warned]) -> list[Failure]:
    groups: dict[str, list[Warned]] = defaultdict(list)
    for each in found:
        groups[each.code].append(each)
    return _in_order(_failure(code, "", *WARNINGS[code], group) for code, group in groups.items())


def _failure(code: str, field: str, problem: str, fix: str, group: Sequence[Rejections] | Sequence[Warned]) -> Failure:
    return Failure(
        code,
        field,
        problem,
        fix,
        sum(each.events for each in group),
        min(each.first_at for each in group),
        max(each.last_at for each in group),
        tuple(OfSource(each.event_source_id, each.events, each.first_at, each.last_at) for each in group),
    )


def _in_order(failures: Iterable[Failure]) -> list[Failure]:
    return sorted(failures, key=lambda failure: (-failure.events, failure.code, failure.field))


def _day(visit: Visit, name: str, default: date) -> date:
    text = visit.query.get(name)
    if not text:
        return default
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"{name} must be a day, for example 2026-01-15.", field=name) from None
    if not date(1971, 1, 1) <= day <= date(2200, 1, 1):
        raise InvalidRequest(f"{name} must be a day of the last {RECEIPT_DAYS} days.", field=name)
    return day


PAGES = (Page("/console/failures", "Failures", "failures.html", _failures),)
