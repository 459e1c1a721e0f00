"""How an event source does, judged by what arrived in the last 24 hours (core/event-source-health.json)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from postback.times import rfc3339

if TYPE_CHECKING:
    from postback.store.events import SourceActivity

__all__ = ["assess"]

# Shares of rejected events, and mean match qualities, from which a source is excellent or good.
_EXCELLENT = (0.01, 0.7)
_GOOD = (0.05, 0.4)
_MOSTLY_REJECTED = 0.5


def assess(activity: SourceActivity | None, now: datetime) -> dict[str, Any]:
    """The ``health`` member of a source in the answer of sync_event_sources.

    Args:
        activity: What arrived from it; None when nothing ever did.
        now: The time of the assessment, UTC.
    """
    received = activity.events_received_24h if activity else 0
    health: dict[str, Any] = {
        "status": _status(activity),
        "events_received_24h": received,
        "evaluated_at": rfc3339(now),
        "issues": [{"severity": severity, "message": message} for severity, message in _issues(activity)],
    }
    if activity and activity.last_event_at:
        health["last_event_at"] = rfc3339(activity.last_event_at)
    if activity and activity.mean_quality_24h is not None:
        score = round(activity.mean_quality_24h, 3)
        health["detail"] = {"score": score, "max_score": 1, "label": "Match quality (mq1)"}
    return health


def _status(activity: SourceActivity | None) -> Literal["insufficient", "minimum", "good", "excellent"]:
    if activity is None or not activity.events_received_24h:
        return "insufficient"
    rejected, quality = _rejected_share(activity), activity.mean_quality_24h or 0.0
    if rejected <= _EXCELLENT[0] and quality >= _EXCELLENT[1]:
        return "excellent"
    if rejected <= _GOOD[0] and quality >= _GOOD[1]:
        return "good"
    return "minimum"


def _issues(activity: SourceActivity | None) -> Iterator[tuple[Literal["error", "warning", "info"], str]]:
    """What to do about it, most useful first."""
    if activity is None:
        yield "error", "No event has arrived yet. Send one with the command in setup.snippet."
        return
    if not activity.events_received_24h:
        yield "error", "No event has arrived in the last 24 hours. Check that the integration still sends."
    rejected = _rejected_share(activity)
    if rejected > _EXCELLENT[0]:
        yield (
            "error" if rejected > _MOSTLY_REJECTED else "warning",
            f"{activity.rejected_24h:,} of {activity.events_received_24h:,} events ({rejected:.0%}) were rejected in "
            "the last 24 hours. The partial_failures in the answers of log_event say which, and why.",
        )
    quality = activity.mean_quality_24h
    if quality is not None and quality < _EXCELLENT[1]:
        yield (
            "warning" if quality < _GOOD[1] else "info",
            f"The mean match quality is {quality:.2f} of 1. Send hashed_email or hashed_phone with every event.",
        )


def _rejected_share(activity: SourceActivity) -> float:
    return activity.rejected_24h / max(activity.events_received_24h, 1)
