"""Why an event was attributed as it was, or not at all, in words for people and members for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from postback.delivery.figures import shown_number
from postback.ingest.identifiers import KINDS
from postback.media_buys.buys import PackageGoals
from postback.media_buys.goals import EventGoal
from postback.times import rfc3339

__all__ = ["Candidate", "NamedEvent", "StoredOutcome", "explanation", "shown_outcome"]

_NAMES = {"impression": "view", "click": "click"}
_SHOWN = 10


class StoredOutcome(NamedTuple):
    """A row of ``attribution``, as sql/outcome.sql selects it."""

    run_id: int
    media_buy_id: str
    package_id: str
    goal: int
    exposure_id: str
    exposure_kind: str
    exposure_at: datetime
    creative_id: str
    match_kind: int
    counted: bool
    conversions: int
    value: Decimal


class Candidate(NamedTuple):
    """An exposure that shares an identifier with the event, as sql/candidates.sql selects it."""

    media_buy_id: str
    package_id: str
    kind: str
    match_kind: int
    exposure_id: str
    occurred_at: datetime
    after: bool


class NamedEvent(NamedTuple):
    """The event that is explained; ``kinds`` are the first bytes of its match keys."""

    event_source_id: str
    event_type: str
    custom_event_name: str
    event_time: datetime
    received_at: datetime
    kinds: tuple[int, ...]


def explanation(
    event: NamedEvent,
    outcome: StoredOutcome | None,
    candidates: Sequence[Candidate],
    packages: Sequence[PackageGoals],
    complete_through: datetime | None,
) -> dict[str, Any]:
    """The member ``attribution`` of what GET /v1/events/… answers.

    Args:
        event: The event.
        outcome: Its newest outcome, or None.
        candidates: Exposures that share an identifier with it, the nearest in time first.
        packages: The packages of the account that count conversions.
        complete_through: The time through which what was received is in the results.
    """
    named = [pair for pair in packages if any(_names(goal, event) for goal in pair.package.goals)]
    others = [
        entry
        for candidate in candidates
        if outcome is None or candidate.exposure_id != outcome.exposure_id
        for entry in [_passed_over(candidate, event, outcome, packages)]
    ][:_SHOWN]
    if outcome and outcome.media_buy_id:
        return {**shown_outcome(outcome, event.event_time), **({"other_exposures": others} if others else {})}
    reason, message = _why_not(event, named, candidates, complete_through, known=outcome is not None)
    return {
        "status": "pending" if reason == "PENDING" else "not_attributed",
        "reason": reason,
        "message": message,
        **({"run_id": outcome.run_id} if outcome else {}),
        **({"other_exposures": others} if others else {}),
    }


def shown_outcome(outcome: StoredOutcome, event_time: datetime) -> dict[str, Any]:
    """An attributed event's package, exposure and rule."""
    kind, lag = _NAMES[outcome.exposure_kind], _span(event_time - outcome.exposure_at)
    identifier = KINDS[outcome.match_kind]
    message = (
        f"Attributed to a {kind} {lag} earlier that has the same {identifier}: the latest {kind} within the window"
    )
    message += ", and clicks count before views." if kind == "click" else "; there was no click within its window."
    if not outcome.counted:
        message += " It counts nothing: the same event of a source that the goal lists earlier counts."
    return {
        "status": "attributed" if outcome.counted else "superseded",
        "message": message,
        "media_buy_id": outcome.media_buy_id,
        "package_id": outcome.package_id,
        "goal": outcome.goal,
        "exposure_id": outcome.exposure_id,
        "exposure_kind": outcome.exposure_kind,
        "exposure_at": rfc3339(outcome.exposure_at),
        **({"creative_id": outcome.creative_id} if outcome.creative_id else {}),
        "identifier": identifier,
        "conversions": outcome.conversions,
        "value": shown_number(outcome.value),
        "run_id": outcome.run_id,
    }


def _why_not(
    event: NamedEvent,
    named: Sequence[PackageGoals],
    candidates: Sequence[Candidate],
    complete_through: datetime | None,
    *,
    known: bool,
) -> tuple[str, str]:
    if not named:
        return "NO_GOAL", (
            f"No goal of a package names {event.event_type} events of this source. "
            "Goals are set in optimization_goals of create_media_buy."
        )
    if not known and (complete_through is None or event.received_at > complete_through):
        return "PENDING", "It has yet to be attributed; that takes a few seconds."
    if not event.kinds:
        return "NO_IDENTIFIERS", "It came without user_match, so no exposure can be found for it."
    if not candidates:
        kinds = ", ".join(dict.fromkeys(KINDS[kind] for kind in event.kinds))
        return "NO_EXPOSURE", f"No exposure has one of its identifiers ({kinds})."
    nearest = _passed_over(candidates[0], event, None, named)
    return nearest["reason"], f"No exposure counts for it. {nearest['message']}"


def _passed_over(
    candidate: Candidate, event: NamedEvent, outcome: StoredOutcome | None, packages: Sequence[PackageGoals]
) -> dict[str, Any]:
    """An exposure that shares an identifier and wasn't chosen, with the reason."""
    reason, message = next(_objections(candidate, event, outcome, packages))
    return {
        "media_buy_id": candidate.media_buy_id,
        "package_id": candidate.package_id,
        "exposure_id": candidate.exposure_id,
        "exposure_kind": candidate.kind,
        "exposure_at": rfc3339(candidate.occurred_at),
        "identifier": KINDS[candidate.match_kind],
        "reason": reason,
        "message": message,
    }


def _objections(
    candidate: Candidate, event: NamedEvent, outcome: StoredOutcome | None, packages: Sequence[PackageGoals]
) -> Iterator[tuple[str, str]]:
    kind, lag = _NAMES[candidate.kind], event.event_time - candidate.occurred_at
    key = candidate.media_buy_id, candidate.package_id
    package = next((p for b, p in packages if (b.media_buy_id, p.package_id) == key), None)
    goals = [goal for goal in package.goals if _names(goal, event)] if package else []
    if candidate.after:
        yield "AFTER_EVENT", f"The {kind} came {_span(-lag)} after the event."
    if not goals:
        yield "OTHER_PACKAGE", f"The {kind} is of a package none of whose goals names this event."
    if package and package.finalized_at:
        yield "FINAL", f"The {kind} is of a package whose numbers are final."
    window = max((_window(goal, candidate.kind) for goal in goals), default=timedelta())
    if lag > window:
        yield "OUTSIDE_WINDOW", f"The {kind} is outside the window of {_span(window)} by {_span(lag - window)}."
    if outcome and outcome.exposure_kind == "click" and candidate.kind == "impression":
        yield "CLICK_FIRST", "A click counts before a view."
    whose = "another package" if outcome and (outcome.media_buy_id, outcome.package_id) != key else "the same package"
    if outcome and outcome.exposure_at > candidate.occurred_at:
        yield "LATER_EXPOSURE", f"A later {_NAMES[outcome.exposure_kind]} of {whose} counts."
    if outcome and outcome.media_buy_id:
        yield "TIE", "At the same moment, the stronger identifier counts, then the least exposure_id."
    yield "PENDING", "It has yet to be taken into account; that takes a few seconds."


def _names(goal: EventGoal, event: NamedEvent) -> bool:
    return any(
        (source.event_source_id, source.event_type) == (event.event_source_id, event.event_type)
        and source.custom_event_name in (None, event.custom_event_name)
        for source in goal.event_sources or ()
    )


def _window(goal: EventGoal, kind: str) -> timedelta:
    return timedelta(seconds=goal.post_click_seconds if kind == "click" else goal.post_view_seconds)


def _span(span: timedelta) -> str:
    """A span of time in its two largest units, as ``3 h 5 min``."""
    seconds = int(span.total_seconds())
    units = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    told = []
    for size, name in units:
        count, seconds = divmod(seconds, size)
        if count:
            told.append(f"{count} {name}")
    return " ".join(told[:2]) or "less than 1 s"
