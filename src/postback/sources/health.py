"""How an event source does, judged by what arrived and what was attributed (core/event-source-health.json)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from postback.times import rfc3339

if TYPE_CHECKING:
    from postback.store.events import SourceActivity, SourceMatching

__all__ = ["assess"]

# Shares of rejected events, and mean match qualities, from which a source is excellent or good.
_EXCELLENT = (0.01, 0.7)
_GOOD = (0.05, 0.4)
_MOSTLY_REJECTED = 0.5
_FEW = 10
"""Events a day below which nothing can be said of a source but that it works."""
_LOW_MATCH_RATE = 0.05
_LATE_SECONDS = 86_400
_SHOWN_ISSUES = 3


def assess(activity: SourceActivity | None, matching: SourceMatching | None, now: datetime) -> dict[str, Any]:
    """The ``health`` member of a source in the answer of sync_event_sources.

    Args:
        activity: What arrived from it in the last 24 hours; None when nothing ever did.
        matching: How its events were matched in the last seven days; None when no goal names any.
        now: The time of the assessment, UTC.
    """
    received = activity.events_received_24h if activity else 0
    issues = sorted(_issues(activity, matching), key=lambda issue: _SEVERITIES.index(issue[0]))
    health: dict[str, Any] = {
        "status": _status(activity),
        "events_received_24h": received,
        "evaluated_at": rfc3339(now),
        "issues": [{"severity": severity, "message": message} for severity, message in issues[:_SHOWN_ISSUES]],
    }
    if activity and activity.last_event_at:
        health["last_event_at"] = rfc3339(activity.last_event_at)
    if activity and activity.mean_quality_24h is not None:
        score = round(activity.mean_quality_24h, 3)
        health["detail"] = {"score": score, "max_score": 1, "label": "Match quality (mq1)"}
    if matching:
        health["match_rate"] = round(matching.attributed / matching.events, 4)
    return health


_Severity = Literal["error", "warning", "info"]
_SEVERITIES: tuple[_Severity, ...] = ("error", "warning", "info")


def _status(activity: SourceActivity | None) -> Literal["insufficient", "minimum", "good", "excellent"]:
    if activity is None or not activity.events_received_24h:
        return "insufficient"
    if activity.events_received_24h < _FEW:
        return "minimum"
    rejected, quality = _rejected_share(activity), activity.mean_quality_24h or 0.0
    if rejected <= _EXCELLENT[0] and quality >= _EXCELLENT[1]:
        return "excellent"
    if rejected <= _GOOD[0] and quality >= _GOOD[1]:
        return "good"
    return "minimum"


def _issues(activity: SourceActivity | None, matching: SourceMatching | None) -> Iterator[tuple[_Severity, str]]:
    """What to do about it; of equal severity the most useful first."""
    if activity is None:
        yield "error", "No event has arrived yet. Send one with the command in setup.snippet."
        return
    yield from _arrival_issues(activity)
    if matching and matching.events >= _FEW and matching.attributed / matching.events < _LOW_MATCH_RATE:
        yield (
            "warning",
            f"{matching.attributed:,} of {matching.events:,} events of the last 7 days were matched to an exposure. "
            "GET /v1/events says of each why not; check that both sides send the same identifiers.",
        )
    if matching and matching.median_delay_seconds > _LATE_SECONDS:
        yield (
            "info",
            f"Half of the events arrive more than {matching.median_delay_seconds / 3600:,.0f} hours after they "
            "happened. Send them sooner, so that delivery is complete sooner.",
        )


def _arrival_issues(activity: SourceActivity) -> Iterator[tuple[_Severity, str]]:
    received = activity.events_received_24h
    if not received:
        yield "error", "No event has arrived in the last 24 hours. Check that the integration still sends."
    rejected = _rejected_share(activity)
    if rejected > _EXCELLENT[0]:
        yield (
            "error" if rejected > _MOSTLY_REJECTED else "warning",
            f"{activity.rejected_24h:,} of {received:,} events ({rejected:.0%}) were rejected in "
            "the last 24 hours. The partial_failures in the answers of log_event say which, and why.",
        )
    quality = activity.mean_quality_24h
    if quality is not None and quality < _EXCELLENT[1]:
        yield (
            "warning" if quality < _GOOD[1] else "info",
            f"The mean match quality is {quality:.2f} of 1. Send hashed_email or hashed_phone with every event.",
        )
    if 0 < received < _FEW:
        yield "info", f"Only {received} events arrived in the last 24 hours; from {_FEW} on the source can be judged."


def _rejected_share(activity: SourceActivity) -> float:
    return activity.rejected_24h / max(activity.events_received_24h, 1)
