"""Event goals: which conversions a package counts and optimizes for (core/optimization-goal.json)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from postback.errors import InvalidRequest, RequestError
from postback.media_buys.windows import CLICK_WINDOWS, VIEW_WINDOWS, Duration, Window
from postback.sources.model import EventSource

__all__ = ["TARGETS", "EventGoal", "GoalSource", "Target", "TargetKind", "goal_problems", "settled"]

TargetKind = Literal["cost_per", "per_ad_spend", "maximize_value"]
TARGETS: tuple[TargetKind, ...] = ("cost_per", "per_ad_spend", "maximize_value")
"""What an event goal may aim at."""

_OF_VALUE = ("per_ad_spend", "maximize_value")
_Name = Annotated[str, Meta(min_length=1, max_length=256)]
_MOST_FACTOR = 1_000_000
"""Bound on value_factor: the value of any event, times it, fits the store's column many times over."""


class GoalSource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One kind of event of one source.

    Attributes:
        event_source_id: The source.
        event_type: The type of its events.
        custom_event_name: Their name, for the type ``custom``.
        value_field: The member of custom_data that carries the monetary value; None when they carry none.
        value_factor: What that value is multiplied by: -1 for refunds, 0.01 for cents.
    """

    event_source_id: _Name
    event_type: _Name
    custom_event_name: _Name | None = None
    value_field: _Name | None = None
    value_factor: float = 1.0


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a goal aims at.

    Attributes:
        kind: One of TARGETS.
        value: Cost of a conversion in the buy's currency, or value for each unit of spend; None for maximize_value.
    """

    kind: str
    value: float | None = None


class EventGoal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A goal as a package keeps it: one that has been checked and ``settled``.

    Attributes:
        kind: ``event`` counts conversions; ``metric`` is for the seller's ad server, and kept as it is.
        metric: What a metric goal optimizes, as viewed_seconds; None for event goals.
        event_sources: What counts; of the same event from several sources the first listed one decides its value.
        target: What it aims at; None for as many conversions as possible.
        attribution_window: How long after a click or view a conversion counts.
        priority: 1 is the most important, or None.
    """

    kind: str
    metric: str | None = None
    event_sources: Annotated[tuple[GoalSource, ...], Meta(min_length=1)] | None = None
    target: Target | None = None
    attribution_window: Window | None = None
    priority: Annotated[int, Meta(ge=1, le=10**6)] | None = None

    @property
    def window(self) -> Window:
        """The goal's windows, or the seller's."""
        return self.attribution_window or Window()

    @property
    def post_click_seconds(self) -> int:
        """How long after a click a conversion counts; 0 for a campaign's length, which no kept goal has."""
        return self.window.post_click.seconds or 0

    @property
    def post_view_seconds(self) -> int:
        """How long after a view a conversion counts."""
        return self.window.post_view.seconds or 0


def goal_problems(
    goal: EventGoal,
    at: str,
    sources: Mapping[str, EventSource],
    event_types: Sequence[str],
    targets: Sequence[str],
    metrics: Sequence[str],
) -> Iterator[RequestError]:
    """Everything that is wrong with a goal.

    Args:
        goal: The goal, its types checked.
        at: Where it stands, as ``packages[0].optimization_goals[0]``.
        sources: The account's event sources, by event_source_id and by seller_id.
        event_types: The event types that the release knows.
        targets: What the product that is bought lets a goal aim at.
        metrics: The metrics that it optimizes.
    """
    if goal.kind == "metric":
        yield from _metric_problems(goal, at, metrics)
        return
    if goal.kind != "event":
        yield _wrong(f"{at}.kind", 'must be "event", or "metric" where the product has metrics')
        return
    if not goal.event_sources:
        yield _wrong(f"{at}.event_sources", "is required for an event goal, and must name at least one source")
        return
    for index, source in enumerate(goal.event_sources):
        yield from _source_problems(source, f"{at}.event_sources[{index}]", sources, event_types)
    yield from _target_problems(goal, at, targets)
    if goal.attribution_window:
        yield from _window_problems(goal.attribution_window, f"{at}.attribution_window")


def settled(goal: EventGoal, sources: Mapping[str, EventSource]) -> EventGoal:
    """A goal without problems in the form in which it is kept: sources by event_source_id, windows fixed."""
    if goal.kind == "metric":
        return goal
    named = [
        msgspec.structs.replace(source, event_source_id=sources[source.event_source_id].event_source_id)
        for source in goal.event_sources or ()
    ]
    return msgspec.structs.replace(goal, event_sources=tuple(named), attribution_window=goal.window)


def _source_problems(
    goal_source: GoalSource, at: str, sources: Mapping[str, EventSource], event_types: Sequence[str]
) -> Iterator[RequestError]:
    source, event_type = sources.get(goal_source.event_source_id), goal_source.event_type
    if source is None:
        yield InvalidRequest(
            f"{at}.event_source_id names no event source of this account.",
            field=f"{at}.event_source_id",
            suggestion="Set the source up with sync_event_sources first, or name one that it returns.",
        )
    if event_type not in event_types:
        yield _wrong(f"{at}.event_type", "is not an AdCP event type")
    elif source and source.event_types and event_type not in source.event_types:
        yield _wrong(f"{at}.event_type", "is not among the event types that this source takes")
    if abs(goal_source.value_factor) > _MOST_FACTOR:
        yield _wrong(f"{at}.value_factor", f"must lie from -{_MOST_FACTOR:,} to {_MOST_FACTOR:,}")
    if event_type == "custom" and not goal_source.custom_event_name:
        yield _wrong(f"{at}.custom_event_name", 'is required when event_type is "custom"')


def _metric_problems(goal: EventGoal, at: str, metrics: Sequence[str]) -> Iterator[RequestError]:
    if goal.metric not in metrics:
        supported = ", ".join(metrics) or "none: only event goals are supported"
        yield _wrong(f"{at}.metric", f"is not supported by this product; it supports {supported}")


def _target_problems(goal: EventGoal, at: str, targets: Sequence[str]) -> Iterator[RequestError]:
    target = goal.target
    if target is None:
        return
    if target.kind not in targets:
        supported = ", ".join(targets) or "none: leave target out"
        yield _wrong(f"{at}.target.kind", f"is not supported by this product; it supports {supported}")
        return
    if target.kind != "maximize_value" and not (target.value and target.value > 0):
        yield _wrong(f"{at}.target.value", f"must be a number above 0 for {target.kind}")
    if target.kind in _OF_VALUE and not any(source.value_field for source in goal.event_sources or ()):
        yield _wrong(
            f"{at}.event_sources[0].value_field",
            f"is required on at least one source: {target.kind} needs to know which member of custom_data is the value",
        )


def _window_problems(window: Window, at: str) -> Iterator[RequestError]:
    offers = ("post_click", window.post_click, CLICK_WINDOWS), ("post_view", window.post_view, VIEW_WINDOWS)
    for name, chosen, offered in offers:
        if chosen.seconds not in {duration.seconds for duration in offered}:
            yield _wrong(f"{at}.{name}", f"is not offered; choose one of {_listed(offered)}")
    if window.model != "last_touch":
        yield _wrong(f"{at}.model", 'is not offered; conversions are attributed by "last_touch"')


def _listed(durations: Sequence[Duration]) -> str:
    return ", ".join(f"{duration.interval} {duration.unit}" for duration in durations)


def _wrong(field: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {what}.", field=field)
