"""The health of an event source, from what arrived and what was attributed (core/event-source-health.json)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.event_sources.signals import SignalKind, SourceSignal
from postback.event_sources.volume import Basis, Certainty, Volume, VolumeState
from postback.protocol.envelope import TIME
from postback.protocol.json_schema import documented
from postback.protocol.timestamps import rfc3339
from postback.store.event_store import SourceActivity, SourceMatching

__all__ = ["HealthIssue", "Severity", "SourceHealth", "SourceVolume", "Status", "assess", "status_of"]

# The highest share of rejected events and the lowest mean match quality at which a source is excellent or good.
_EXCELLENT = (0.01, 0.7)
_GOOD = (0.05, 0.4)
_MOSTLY_REJECTED = 0.5
_FEW = 10
"""With fewer events a day, a source's health can't be assessed."""
_LOW_MATCH_RATE = 0.05
_LATE_SECONDS = 86_400
_SHOWN_ISSUES = 3


Status = Literal["insufficient", "minimum", "good", "excellent"]
Severity = Literal["error", "warning", "info"]
_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


class HealthIssue(msgspec.Struct):
    """Something to improve about a source."""

    severity: Annotated[Severity, Meta(description="How much it matters.")]
    message: Annotated[str, Meta(description="What is wrong and what to do.")]


class HealthDetail(msgspec.Struct):
    """The score behind a status."""

    score: Annotated[float, Meta(ge=0, description="Mean match quality of the last 24 hours.")]
    max_score: Annotated[int, Meta(description="The highest score.")]
    label: Annotated[str, Meta(description="What is scored.")]


class SourceVolume(msgspec.Struct, kw_only=True):
    """How much arrives beside what is usual, and how sure that is."""

    state: Annotated[
        VolumeState,
        Meta(description="quiet: unusually silent, but it may be chance; unknown: too little is known to tell."),
    ]
    message: Annotated[str, Meta(description="The same in a sentence with numbers.")]
    silent_minutes: Annotated[int, Meta(ge=0, description="Minutes without an event.")]
    usual_events_per_hour: Annotated[float, Meta(ge=0, description="Events that usually arrive in this hour.")]
    known_weeks: Annotated[int, Meta(ge=0, le=6, description="Whole weeks that this is learnt from.")]
    compared_with: Annotated[Basis, Meta(description="The hours that are alike.")]
    certainty: Annotated[Certainty, Meta(description="How sure it is.")]
    chance: Annotated[float, Meta(ge=0, le=1, description="How likely such a silence is while the source works.")]


class _OurHealth(msgspec.Struct):
    volume: Annotated[SourceVolume, Meta(description="How much arrives beside what is usual.")]


class _HealthExt(msgspec.Struct):
    postback: Annotated[_OurHealth, Meta(description="What AdCP has no field for.")]


class SourceHealth(msgspec.Struct, kw_only=True):
    """The health of a source (core/event-source-health.json)."""

    status: Annotated[Status, Meta(description="From how many events were rejected, and their match quality.")]
    events_received_24h: Annotated[int, Meta(ge=0, description="Events of the last 24 hours.")]
    evaluated_at: Annotated[str, documented(f"When this was assessed: {TIME}", format="date-time")]
    issues: Annotated[list[HealthIssue], Meta(description="What to improve, the most severe first.")]
    last_event_at: (
        Annotated[str, documented(f"When the last event arrived: {TIME}", format="date-time")] | UnsetType
    ) = UNSET
    detail: Annotated[HealthDetail | UnsetType, Meta(description="The score behind the status.")] = UNSET
    match_rate: (
        Annotated[
            float,
            Meta(ge=0, le=1, description="Share of the events of the last 7 days that are attributed to an exposure."),
        ]
        | UnsetType
    ) = UNSET
    ext: Annotated[_HealthExt | UnsetType, Meta(description="Further facts; absent before the first event.")] = UNSET


def assess(
    activity: SourceActivity | None,
    matching: SourceMatching | None,
    now: datetime,
    unnamed_refunds: int = 0,
    volume: Volume | None = None,
    signals: Iterable[SourceSignal] = (),
) -> SourceHealth:
    """The ``health`` field of a source in the response of sync_event_sources.

    Args:
        activity: What arrived from it in the last 24 hours; None if nothing ever arrived.
        matching: How its events were matched in the last seven days; None if no goal covers any of them.
        now: The time of the assessment, UTC.
        unnamed_refunds: Its refunds of the last seven days, if goals name it, but no refunds of it.
        volume: How much arrives beside what is usual; None if nothing arrived in six weeks.
        signals: What is wrong with it: its open signals.
    """
    by_kind = {signal.kind: signal for signal in signals}
    found = _issues(activity, matching, unnamed_refunds, volume, by_kind)
    issues = sorted(found, key=lambda issue: _SEVERITIES.index(issue[0]))
    last = activity.last_event_at if activity else None
    quality = activity.mean_quality_24h if activity else None
    return SourceHealth(
        status=_status(activity, volume, by_kind),
        events_received_24h=activity.events_received_24h if activity else 0,
        evaluated_at=rfc3339(now),
        issues=[HealthIssue(severity, message) for severity, message in issues[:_SHOWN_ISSUES]],
        last_event_at=rfc3339(last) if last else UNSET,
        detail=UNSET if quality is None else HealthDetail(round(quality, 3), 1, "Match quality (mq1)"),
        match_rate=round(matching.attributed / matching.events, 4) if matching else UNSET,
        ext=_HealthExt(_OurHealth(_volume(volume))) if volume else UNSET,
    )


def _status(
    activity: SourceActivity | None, volume: Volume | None, signals: Mapping[SignalKind, SourceSignal]
) -> Status:
    """Insufficient is AdCP's word for offline, so a source has it exactly while its media buys are impaired by it."""
    silent = activity is None or (volume is None and not activity.events_received_24h)
    if activity is None or silent or "offline" in signals:
        return "insufficient"
    return status_of(activity.events_received_24h, activity.rejected_24h, activity.mean_quality_24h)


def status_of(events: int, rejected: int, mean_quality: float | None) -> Status:
    """The health status of a source that isn't offline, from what arrived in 24 hours."""
    if events < _FEW:
        return "minimum"
    share, quality = rejected / events, mean_quality or 0.0
    if share <= _EXCELLENT[0] and quality >= _EXCELLENT[1]:
        return "excellent"
    if share <= _GOOD[0] and quality >= _GOOD[1]:
        return "good"
    return "minimum"


def _volume(volume: Volume) -> SourceVolume:
    return SourceVolume(
        state=volume.state,
        message=volume.sentence,
        silent_minutes=volume.silence // timedelta(minutes=1),
        usual_events_per_hour=round(volume.usual, 1),
        known_weeks=volume.weeks,
        compared_with=volume.basis,
        certainty=volume.certainty,
        chance=float(f"{volume.chance:.2g}"),
    )


def _issues(
    activity: SourceActivity | None,
    matching: SourceMatching | None,
    unnamed_refunds: int,
    volume: Volume | None,
    signals: Mapping[SignalKind, SourceSignal],
) -> Iterator[tuple[Severity, str]]:
    """The issues and how to fix them; among those of one severity, the most useful first."""
    if activity is None:
        yield "error", "No event has arrived yet. Follow setup.instructions to send one."
        return
    yield from _volume_issues(activity, volume, signals)
    yield from _arrival_issues(activity)
    yield from _duplicate_issues(activity)
    if unnamed_refunds:
        refunds = "1 refund" if unnamed_refunds == 1 else f"{unnamed_refunds:,} refunds"
        yield (
            "warning",
            f"REFUND_NOT_NAMED: {refunds} of the last 7 days subtract nothing, because goals name this source, but no "
            "refunds of it. Add its event_type refund to the event_sources of these goals.",
        )
    yield from _value_issues(matching)
    if matching and matching.events >= _FEW and matching.attributed / matching.events < _LOW_MATCH_RATE:
        yield (
            "warning",
            f"{matching.attributed:,} of {matching.events:,} events of the last 7 days were matched to an exposure. "
            "GET /v1/events shows for each event why it is not matched. Check that buyer and seller send the same "
            "identifiers.",
        )
    if matching and matching.median_delay_seconds > _LATE_SECONDS:
        yield (
            "info",
            f"Half of the events arrive more than {matching.median_delay_seconds / 3600:,.0f} hours after they "
            "happen. Send them sooner, so that delivery reports are complete sooner.",
        )
    yield from _browser_issues(activity)


def _volume_issues(
    activity: SourceActivity, volume: Volume | None, signals: Mapping[SignalKind, SourceSignal]
) -> Iterator[tuple[Severity, str]]:
    if "offline" in signals:
        seen = volume.sentence if volume and volume.state == "offline" else signals["offline"].reason
        yield "error", f"{seen} Check that the integration is still sending."
    elif volume and volume.state == "quiet":
        yield "warning", f"{volume.sentence} Check that the integration is still sending."
    elif not activity.events_received_24h:
        usual = volume.sentence if volume else "No event has arrived in the last 24 hours."
        yield "info" if volume else "error", f"{usual} Check that the integration is still sending."
    if "failure_rate" in signals:
        yield (
            "warning",
            f"{signals['failure_rate'].reason} partial_failures in the responses of log_event shows which ones, and "
            "why.",
        )
    if "match_rate" in signals:
        yield (
            "warning",
            f"{signals['match_rate'].reason} Check what changed in the identifiers of events or of exposures.",
        )


def _arrival_issues(activity: SourceActivity) -> Iterator[tuple[Severity, str]]:
    received = activity.events_received_24h
    rejected = _rejected_share(activity)
    if rejected > _EXCELLENT[0]:
        yield (
            "error" if rejected > _MOSTLY_REJECTED else "warning",
            f"{activity.rejected_24h:,} of {received:,} events ({rejected:.0%}) were rejected in "
            "the last 24 hours. partial_failures in the responses of log_event shows which ones, and why.",
        )
    quality = activity.mean_quality_24h
    if quality is not None and quality < _EXCELLENT[1]:
        yield (
            "warning" if quality < _GOOD[1] else "info",
            f"The mean match quality is {quality:.2f} of 1. Send hashed_email or hashed_phone with every event.",
        )
    if 0 < received < _FEW:
        yield (
            "info",
            f"Only {received} events arrived in the last 24 hours. With {_FEW} or more, this health is meaningful.",
        )


def _browser_issues(activity: SourceActivity) -> Iterator[tuple[Severity, str]]:
    if activity.from_browser_24h:
        yield (
            "info",
            f"FROM_BROWSER: {activity.from_browser_24h:,} of {activity.events_received_24h:,} events of the last 24 "
            "hours came from browsers, where anyone can change what is sent. Log them from your server too, with the "
            "same event_id, and let goals name that source first.",
        )


def _duplicate_issues(activity: SourceActivity) -> Iterator[tuple[Severity, str]]:
    if activity.different_24h:
        yield (
            "warning",
            f"DUPLICATE_DIFFERS: {activity.different_24h:,} events of the last 24 hours repeat the event_id of an "
            "earlier event with another time, value, currency, name or order_id. The first one counts. Send each order "
            "and each renewal with an event_id of its own, and a refund for what an order lost.",
        )
    if activity.repeated_orders_24h:
        yield (
            "warning",
            f"SAME_ORDER_ID: {activity.repeated_orders_24h:,} order_ids of the last 24 hours came with several "
            "event_ids of one type. Each of these events counts. Send an order with the same event_id every time, from "
            "every source.",
        )
    if activity.different_siblings_24h:
        yield (
            "warning",
            f"{activity.different_siblings_24h:,} events of the last 24 hours came from several sources with another "
            "currency or order_id. They count once, with the currency of the source that the goal lists first. Check "
            "that an event_id names the same order in every source.",
        )
    if activity.duplicates_24h > activity.different_24h:
        yield (
            "info",
            f"{activity.duplicates_24h:,} of {activity.events_received_24h:,} events of the last 24 hours had arrived "
            "before. Each event counts once, so nothing has to be done; retries are normal.",
        )


def _value_issues(matching: SourceMatching | None) -> Iterator[tuple[Severity, str]]:
    for reason, events in (matching.value_reasons if matching else {}).items():
        yield (
            "warning",
            f"{reason}: {events:,} events of the last 7 days count no value, or not all of it. GET /v1/events says for "
            "each what is wrong; the delivery report sums them up in ext.postback.left_out.",
        )


def _rejected_share(activity: SourceActivity) -> float:
    return activity.rejected_24h / max(activity.events_received_24h, 1)
