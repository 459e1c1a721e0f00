"""A buyer's agent reads how its event source does, and what to improve."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from postback.event_sources import health as source_health
from postback.store.event_store import SourceActivity, SourceMatching

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


def activity(
    received: int = 1000, rejected: int = 0, quality: float | None = 0.85, last: datetime | None = NOW
) -> SourceActivity:
    return SourceActivity(
        events_received_24h=received, rejected_24h=rejected, last_event_at=last, mean_quality_24h=quality
    )


def assess(activity: SourceActivity | None, matching: SourceMatching | None, now: datetime) -> dict[str, Any]:
    """The health as the response shows it."""
    shown: dict[str, Any] = msgspec.to_builtins(source_health.assess(activity, matching, now))
    return shown


def severities(health: dict[str, object]) -> list[str]:
    issues = health["issues"]
    assert isinstance(issues, list)
    return [issue["severity"] for issue in issues]


def test_a_source_that_never_sent_is_told_how_to_begin() -> None:
    health = assess(None, None, NOW)
    assert health == {
        "status": "insufficient",
        "events_received_24h": 0,
        "evaluated_at": "2026-01-15T12:00:00Z",
        "issues": [
            {"severity": "error", "message": "No event has arrived yet. Follow setup.instructions to send one."}
        ],
    }


def test_a_source_that_went_silent_says_since_when() -> None:
    health = assess(activity(received=0, quality=None, last=NOW - timedelta(days=3)), None, NOW)
    assert (health["status"], health["last_event_at"]) == ("insufficient", "2026-01-12T12:00:00Z")
    assert severities(health) == ["error"]


def test_a_source_whose_events_were_all_rejected_is_told_that() -> None:
    health = assess(activity(received=70, rejected=70, quality=None, last=None), None, NOW)
    assert "last_event_at" not in health
    assert [issue["message"][:26] for issue in health["issues"]] == ["70 of 70 events (100%) wer"]


def test_a_handful_of_events_says_nothing_of_a_source() -> None:
    health = assess(activity(received=9), None, NOW)
    assert (health["status"], severities(health)) == ("minimum", ["info"])


def test_the_share_of_events_that_met_an_exposure_is_told() -> None:
    assert assess(activity(), SourceMatching(3, 1, 60.0), NOW)["match_rate"] == 0.3333


def test_events_that_meet_no_exposure_or_come_late_are_an_issue() -> None:
    health = assess(activity(), SourceMatching(1000, 49, 100_000.0), NOW)
    assert severities(health) == ["warning", "info"]
    assert health["issues"][0]["message"].startswith("49 of 1,000 events of the last 7 days were matched")


def test_only_the_three_worst_issues_are_told() -> None:
    health = assess(activity(rejected=20, quality=0.5), SourceMatching(1000, 1, 100_000.0), NOW)
    assert severities(health) == ["warning", "warning", "info"]


def test_a_source_without_flaw_is_excellent() -> None:
    health = assess(activity(), None, NOW)
    assert (health["status"], health["issues"]) == ("excellent", [])
    assert health["detail"] == {"score": 0.85, "max_score": 1, "label": "Match quality (mq1)"}


@pytest.mark.parametrize(
    ("rejected", "quality", "status", "found"),
    [
        (10, 0.7, "excellent", []),
        (11, 0.7, "good", ["warning"]),
        (0, 0.69, "good", ["info"]),
        (50, 0.4, "good", ["warning", "info"]),
        (51, 0.9, "minimum", ["warning"]),
        (0, 0.39, "minimum", ["warning"]),
        (501, 0.2, "minimum", ["error", "warning"]),
        (1000, None, "minimum", ["error"]),
    ],
)
def test_rejections_and_weak_identifiers_lower_the_status(
    rejected: int, quality: float | None, status: str, found: list[str]
) -> None:
    health = assess(activity(rejected=rejected, quality=quality), None, NOW)
    assert (health["status"], severities(health)) == (status, found)
