"""Why an event is attributed the way it is, or not at all: messages for people, reasons for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.attribution.value_reasons import NOT_COUNTED, VALUE_REASONS
from postback.delivery.figures import shown_number
from postback.events.identifiers import KINDS
from postback.media_buys.goals import EventGoal
from postback.media_buys.media_buy import PackageGoals
from postback.protocol.envelope import TIME
from postback.protocol.timestamps import rfc3339

__all__ = ["Attribution", "Candidate", "NamedEvent", "StoredOutcome", "UndonePurchase", "explanation", "shown_outcome"]

_NAMES = {"impression": "view", "click": "click"}
_SHOWN = 10

_Kind = Literal["impression", "click"]


class OtherExposure(msgspec.Struct, kw_only=True):
    """An exposure that shares an identifier with the event, which is not attributed to it."""

    media_buy_id: Annotated[str, Meta(description="The media buy of the exposure.")]
    package_id: Annotated[str, Meta(description="The package of the exposure.")]
    exposure_id: Annotated[str, Meta(description="The exposure.")]
    exposure_kind: Annotated[_Kind, Meta(description="What the exposure was.")]
    exposure_at: Annotated[str, Meta(description=f"When it happened: {TIME}")]
    identifier: Annotated[str, Meta(description="The identifier that both have.")]
    reason: Annotated[str, Meta(description="For programs: why the event is not attributed to it.")]
    message: Annotated[str, Meta(description="The same in words.")]


class UndonePurchase(msgspec.Struct):
    """The purchase that a refund undoes."""

    event_source_id: Annotated[str, Meta(description="The source that logged it.")]
    event_type: Annotated[str, Meta(description="Its type.")]
    event_id: Annotated[str, Meta(description="Its id.")]


class LeftOut(msgspec.Struct):
    """An amount that is not counted."""

    value: Annotated[float, Meta(description="The amount; negative for a refund.")]
    currency: Annotated[str, Meta(description="Its ISO 4217 code; empty if the event has none.")]


class Attribution(msgspec.Struct, kw_only=True):
    """The exposure that an event is attributed to, or why it is not attributed."""

    status: Annotated[
        Literal["attributed", "superseded", "pending", "not_attributed"],
        Meta(description="superseded: the same event from another source counts instead."),
    ]
    message: Annotated[str, Meta(description="The explanation, in words.")]
    reason: Annotated[str | UnsetType, Meta(description="For programs: why it is not attributed.")] = UNSET
    media_buy_id: Annotated[str | UnsetType, Meta(description="The media buy that it counts for.")] = UNSET
    package_id: Annotated[str | UnsetType, Meta(description="The package that it counts for.")] = UNSET
    goal: Annotated[int | UnsetType, Meta(description="Which of the package's optimization_goals, from 0.")] = UNSET
    exposure_id: Annotated[str | UnsetType, Meta(description="The exposure.")] = UNSET
    exposure_kind: Annotated[_Kind | UnsetType, Meta(description="What the exposure was.")] = UNSET
    exposure_at: Annotated[str | UnsetType, Meta(description=f"When the exposure happened: {TIME}")] = UNSET
    creative_id: Annotated[str | UnsetType, Meta(description="What was shown.")] = UNSET
    identifier: Annotated[str | UnsetType, Meta(description="The identifier that both have.")] = UNSET
    conversions: Annotated[int | UnsetType, Meta(description="Conversions that it counts as.")] = UNSET
    value: Annotated[float | UnsetType, Meta(description="Its value, in the media buy's currency.")] = UNSET
    value_reason: Annotated[
        str | UnsetType, Meta(description="For programs: why no value is counted, or not all of it.")
    ] = UNSET
    left_out: Annotated[LeftOut | UnsetType, Meta(description="What is not counted.")] = UNSET
    purchase: Annotated[UndonePurchase | UnsetType, Meta(description="The purchase that this refund undoes.")] = UNSET
    lead_event_source_id: Annotated[
        str | UnsetType, Meta(description="The source whose event counts, when several logged the same event.")
    ] = UNSET
    linked_event_source_ids: Annotated[
        list[str] | UnsetType,
        Meta(description="The other sources that logged the same event and that goals name together: it counts once."),
    ] = UNSET
    run_id: Annotated[int | UnsetType, Meta(description="The attribution run that produced this result.")] = UNSET
    other_exposures: Annotated[
        list[OtherExposure] | UnsetType, Meta(description="Exposures that were not chosen, the nearest in time first.")
    ] = UNSET


class StoredOutcome(NamedTuple):
    """A row of ``attribution``, as sql/outcome.sql selects it."""

    run_id: int
    media_buy_id: str
    package_id: str
    goal: int
    exposure_id: str
    exposure_kind: _Kind
    exposure_at: datetime
    creative_id: str
    match_kind: int
    counted: bool
    conversions: int
    value: Decimal
    lead_source_id: str
    value_reason: str
    left_out: Decimal
    left_out_currency: str
    purchase_source_id: str
    purchase_type: str
    purchase_id: str


class Candidate(NamedTuple):
    """An exposure that shares an identifier with the event, as ``matching.nearest`` finds it."""

    media_buy_id: str
    package_id: str
    kind: _Kind
    match_kind: int
    exposure_id: str
    occurred_at: datetime
    after: bool


class NamedEvent(NamedTuple):
    """The event to explain; ``kinds`` are the first bytes of its match keys, unless those were dropped."""

    event_source_id: str
    event_type: str
    custom_event_name: str
    event_time: datetime
    received_at: datetime
    dropped: bool
    kinds: tuple[int, ...]


def explanation(
    event: NamedEvent,
    outcome: StoredOutcome | None,
    candidates: Sequence[Candidate],
    packages: Sequence[PackageGoals],
    complete_through: datetime | None,
) -> Attribution:
    """The field ``attribution`` in the response of GET /v1/events/….

    Args:
        event: The event.
        outcome: Its latest outcome, or None.
        candidates: Exposures that share an identifier with it, the nearest in time first.
        packages: The account's packages with event goals.
        complete_through: The results include everything received by this time.
    """
    named = [pair for pair in packages if any(_names(goal, event) for goal in pair.package.goals)]
    others = [
        entry
        for candidate in candidates
        if outcome is None or candidate.exposure_id != outcome.exposure_id
        for entry in [_other_exposure(candidate, event, outcome, packages)]
    ][:_SHOWN]
    if outcome and outcome.media_buy_id:
        return msgspec.structs.replace(
            shown_outcome(outcome, event.event_source_id, event.event_time), other_exposures=others or UNSET
        )
    if outcome and outcome.value_reason in NOT_COUNTED:
        return Attribution(
            status="not_attributed",
            reason=outcome.value_reason,
            message=VALUE_REASONS[outcome.value_reason],
            purchase=_purchase(outcome),
            left_out=_left_out(outcome),
            run_id=outcome.run_id,
        )
    sources = (entry for _, package in packages for goal in package.goals for entry in goal.event_sources or ())
    source_named = any(entry.event_source_id == event.event_source_id for entry in sources)
    reason, message = _why_not(
        event, named, candidates, complete_through, known=outcome is not None, source_named=source_named
    )
    return Attribution(
        status="pending" if reason == "PENDING" else "not_attributed",
        reason=reason,
        message=message,
        run_id=outcome.run_id if outcome else UNSET,
        other_exposures=UNSET if reason == "REFUND_NOT_NAMED" else others or UNSET,
    )


def shown_outcome(outcome: StoredOutcome, event_source_id: str, event_time: datetime) -> Attribution:
    """An attributed event's package, exposure and rule; ``event_source_id`` is the event's."""
    counts = outcome.counted and outcome.value_reason != "FINAL"
    status: Literal["attributed", "superseded", "not_attributed"] = "attributed" if counts else "superseded"
    if outcome.value_reason == "FINAL":
        status = "not_attributed"
    return Attribution(
        status=status,
        message=" ".join(_sentences(outcome, event_source_id, event_time)),
        reason="FINAL" if status == "not_attributed" else UNSET,
        media_buy_id=outcome.media_buy_id,
        package_id=outcome.package_id,
        goal=outcome.goal,
        exposure_id=outcome.exposure_id,
        exposure_kind=outcome.exposure_kind,
        exposure_at=rfc3339(outcome.exposure_at),
        creative_id=outcome.creative_id or UNSET,
        identifier=KINDS[outcome.match_kind],
        conversions=outcome.conversions,
        value=shown_number(outcome.value),
        value_reason=outcome.value_reason or UNSET,
        left_out=_left_out(outcome),
        purchase=_purchase(outcome),
        lead_event_source_id=outcome.lead_source_id if outcome.lead_source_id not in ("", event_source_id) else UNSET,
        run_id=outcome.run_id,
    )


def _sentences(outcome: StoredOutcome, event_source_id: str, event_time: datetime) -> Iterator[str]:
    kind, identifier = _NAMES[outcome.exposure_kind], KINDS[outcome.match_kind]
    if outcome.purchase_id:
        yield f"Follows the purchase that it undoes, which is attributed to a {kind} with the same {identifier}."
    else:
        precedence = "and clicks take precedence over views" if kind == "click" else "and there is no click in its own"
        lag = event_time - outcome.exposure_at
        when = f"{_span(lag)} earlier" if lag >= timedelta() else f"{_span(-lag)} later"
        yield (
            f"Attributed to a {kind} {when} with the same {identifier}. It is the latest {kind} within the "
            f"attribution window, {precedence}."
        )
    if outcome.value_reason:
        yield VALUE_REASONS[outcome.value_reason]
    elif not outcome.counted:
        yield (
            "It does not count, because a goal names another source of the same event first. Its identifiers are used."
        )


def _purchase(outcome: StoredOutcome) -> UndonePurchase | UnsetType:
    if not outcome.purchase_id:
        return UNSET
    return UndonePurchase(outcome.purchase_source_id, outcome.purchase_type, outcome.purchase_id)


def _left_out(outcome: StoredOutcome) -> LeftOut | UnsetType:
    if not outcome.left_out:
        return UNSET
    return LeftOut(shown_number(outcome.left_out), outcome.left_out_currency)


def _why_not(
    event: NamedEvent,
    named: Sequence[PackageGoals],
    candidates: Sequence[Candidate],
    complete_through: datetime | None,
    *,
    known: bool,
    source_named: bool,
) -> tuple[str, str]:
    if not named and event.event_type == "refund" and source_named:
        return "REFUND_NOT_NAMED", VALUE_REASONS["REFUND_NOT_NAMED"]
    if not named:
        return "NO_GOAL", (
            f"No package has a goal for {event.event_type} events of this source. "
            "Set goals with optimization_goals in create_media_buy or update_media_buy."
        )
    if not known and (complete_through is None or event.received_at > complete_through):
        return "PENDING", "The event is not attributed yet. This takes a few seconds."
    if event.dropped:
        return "SETTLED", (
            "The event was not attributed while its identifiers were stored. They were dropped at retention, and the "
            "result is settled."
        )
    if not event.kinds:
        return "NO_IDENTIFIERS", "The event has no user_match, so it can't be matched to an exposure."
    if not candidates:
        kinds = ", ".join(dict.fromkeys(KINDS[kind] for kind in event.kinds))
        return "NO_EXPOSURE", f"No exposure has one of the event's identifiers ({kinds})."
    nearest = _other_exposure(candidates[0], event, None, named)
    return nearest.reason, f"No exposure qualifies. {nearest.message}"


def _other_exposure(
    candidate: Candidate, event: NamedEvent, outcome: StoredOutcome | None, packages: Sequence[PackageGoals]
) -> OtherExposure:
    """An exposure that shares an identifier, with the reason why it was not chosen."""
    reason, message = next(_reasons(candidate, event, outcome, packages))
    return OtherExposure(
        media_buy_id=candidate.media_buy_id,
        package_id=candidate.package_id,
        exposure_id=candidate.exposure_id,
        exposure_kind=candidate.kind,
        exposure_at=rfc3339(candidate.occurred_at),
        identifier=KINDS[candidate.match_kind],
        reason=reason,
        message=message,
    )


def _reasons(
    candidate: Candidate, event: NamedEvent, outcome: StoredOutcome | None, packages: Sequence[PackageGoals]
) -> Iterator[tuple[str, str]]:
    kind, lag = _NAMES[candidate.kind], event.event_time - candidate.occurred_at
    key = candidate.media_buy_id, candidate.package_id
    package = next((p for b, p in packages if (b.media_buy_id, p.package_id) == key), None)
    goals = [goal for goal in package.goals if _names(goal, event)] if package else []
    if candidate.after:
        yield "AFTER_EVENT", f"The {kind} happened {_span(-lag)} after the event."
    if not goals:
        yield "OTHER_PACKAGE", f"The {kind} belongs to a package without a goal for this event."
    if package and package.finalized_at:
        yield "FINAL", f"The {kind} belongs to a package whose numbers are final."
    window = max((_window(goal, candidate.kind) for goal in goals), default=timedelta())
    if lag > window:
        yield (
            "OUTSIDE_WINDOW",
            f"The {kind} is {_span(lag - window)} outside the attribution window of {_span(window)}.",
        )
    if outcome and outcome.exposure_kind == "click" and candidate.kind == "impression":
        yield "CLICK_FIRST", "A click takes precedence over a view."
    whose = "another package" if outcome and (outcome.media_buy_id, outcome.package_id) != key else "the same package"
    if outcome and outcome.exposure_at > candidate.occurred_at:
        yield "LATER_EXPOSURE", f"A later {_NAMES[outcome.exposure_kind]} of {whose} takes precedence."
    if outcome and outcome.media_buy_id:
        yield "TIE", "Of exposures at the same time, the stronger identifier wins, then the lowest exposure_id."
    yield "PENDING", "The exposure is not evaluated yet. This takes a few seconds."


def _names(goal: EventGoal, event: NamedEvent) -> bool:
    return any(
        (source.event_source_id, source.event_type) == (event.event_source_id, event.event_type)
        and source.custom_event_name in (None, event.custom_event_name)
        for source in goal.event_sources or ()
    )


def _window(goal: EventGoal, kind: str) -> timedelta:
    return timedelta(seconds=goal.post_click_seconds if kind == "click" else goal.post_view_seconds)


def _span(span: timedelta) -> str:
    """A time span in its two largest units, for example ``3 h 5 min``."""
    seconds = int(span.total_seconds())
    units = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    parts = []
    for size, name in units:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "less than 1 s"
