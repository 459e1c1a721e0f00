"""Event goals: which conversions a package counts and optimizes for (core/optimization-goal.json)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from postback.errors import InvalidRequest, RequestError
from postback.event_sources.event_source import EventSource
from postback.media_buys.attribution_windows import CLICK_WINDOWS, VIEW_WINDOWS, Duration, Window
from postback.products.product import TARGETS
from postback.protocol.enums import EVENT_TYPES
from postback.protocol.json_schema import documented, word

__all__ = ["EventGoal", "GoalSource", "GoalTarget", "goal_errors", "normalized"]


_OF_VALUE = ("per_ad_spend", "maximize_value")
_PATH_CHARACTERS = frozenset(".[]/")
_NOT_NUMERIC = frozenset(
    (
        "currency",
        "order_id",
        "content_ids",
        "content_type",
        "content_name",
        "content_category",
        "search_string",
        "contents",
        "ext",
    )
)
"""The fields of AdCP's custom_data that are text, lists or objects (core/event-custom-data.json)."""

_MAX_FACTOR = 1_000_000
"""Bound on value_factor: the value of any event, times it, fits the store's column many times over."""


class GoalSource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One kind of event of one source."""

    event_source_id: Annotated[
        str, Meta(min_length=1, max_length=256, description="A source that sync_event_sources returned.")
    ]
    event_type: Annotated[str, Meta(min_length=1, max_length=256), word(EVENT_TYPES, "Type of its events.")]
    custom_event_name: (
        Annotated[str, Meta(min_length=1, max_length=256, description="Name of the events, for event_type custom.")]
        | None
    ) = None
    value_field: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=256,
                description="Field of custom_data that has the monetary value, for example value or order_total.",
            ),
        ]
        | None
    ) = None
    value_factor: Annotated[float, Meta(description="Multiplies the value: -1 for refunds, 0.01 for cents.")] = 1.0


class GoalTarget(msgspec.Struct, frozen=True, omit_defaults=True):
    """The target of a goal."""

    kind: Annotated[
        str,
        word(
            TARGETS,
            "cost_per aims at a cost of one conversion, per_ad_spend at value for each unit of spend (ROAS), "
            "maximize_value at as much value as possible.",
        ),
    ]
    value: (
        Annotated[
            float,
            documented(
                "The cost in the buy's currency, or the ratio. Required unless the kind is maximize_value.",
                exclusiveMinimum=0,
            ),
        ]
        | None
    ) = None


_TARGETS_WITH_THEIR_VALUES = [
    {"properties": {"kind": {"enum": ["cost_per", "per_ad_spend"]}}, "required": ["kind", "value"]},
    {"properties": {"kind": {"const": "maximize_value"}}, "required": ["kind"]},
]


class EventGoal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A goal. A package stores valid ones, ``normalized``."""

    kind: Annotated[
        str,
        word(("event", "metric"), "event counts conversions; metric is for the seller's ad server and kept unchanged."),
    ]
    metric: (
        Annotated[str, Meta(description="What a metric goal optimizes, one of the product's supported_metrics.")] | None
    ) = None
    event_sources: (
        Annotated[
            tuple[GoalSource, ...],
            Meta(
                min_length=1,
                description="Whose events count. The same event from several counts once, with the first one's value.",
            ),
        ]
        | None
    ) = None
    target: Annotated[
        GoalTarget | None,
        documented("What to aim at; without it, as many conversions as possible.", oneOf=_TARGETS_WITH_THEIR_VALUES),
    ] = None
    attribution_window: Annotated[
        Window | None, Meta(description="How long after an exposure a conversion counts.")
    ] = None
    priority: Annotated[int, Meta(ge=1, le=10**6, description="1 is the most important.")] | None = None

    @property
    def window(self) -> Window:
        """The goal's windows, or the seller's defaults."""
        return self.attribution_window or Window()

    @property
    def post_click_seconds(self) -> int:
        """How long after a click a conversion counts; 0 for a campaign's length, which no stored goal has."""
        return self.window.post_click.seconds or 0

    @property
    def post_view_seconds(self) -> int:
        """How long after a view a conversion counts."""
        return self.window.post_view.seconds or 0


def goal_errors(
    goal: EventGoal,
    at: str,
    sources: Mapping[str, EventSource],
    event_types: Sequence[str],
    targets: Sequence[str],
    metrics: Sequence[str],
) -> Iterator[RequestError]:
    """All errors in a goal.

    Args:
        goal: The goal, whose types are right.
        at: Its path in the request, for example ``packages[0].optimization_goals[0]``.
        sources: The account's event sources, by event_source_id and by seller_id.
        event_types: The event types that the release knows.
        targets: The targets that the product supports.
        metrics: The metrics that the product optimizes for.
    """
    if goal.kind == "metric":
        yield from _metric_errors(goal, at, metrics)
        return
    if goal.kind != "event":
        yield _wrong(f"{at}.kind", 'must be "event", or "metric" for a product with metrics')
        return
    if not goal.event_sources:
        yield _wrong(f"{at}.event_sources", "is required for an event goal and must name at least one source")
        return
    for index, source in enumerate(goal.event_sources):
        yield from _source_errors(source, f"{at}.event_sources[{index}]", sources, event_types)
    yield from _target_errors(goal, at, targets)
    if goal.attribution_window:
        yield from _window_errors(goal.attribution_window, f"{at}.attribution_window")


def normalized(goal: EventGoal, sources: Mapping[str, EventSource]) -> EventGoal:
    """A valid goal in the form in which it is stored: sources by event_source_id, with its windows."""
    if goal.kind == "metric":
        return goal
    named = [
        msgspec.structs.replace(source, event_source_id=sources[source.event_source_id].event_source_id)
        for source in goal.event_sources or ()
    ]
    return msgspec.structs.replace(goal, event_sources=tuple(named), attribution_window=goal.window)


def _source_errors(
    goal_source: GoalSource, at: str, sources: Mapping[str, EventSource], event_types: Sequence[str]
) -> Iterator[RequestError]:
    source, event_type = sources.get(goal_source.event_source_id), goal_source.event_type
    if source is None:
        yield InvalidRequest(
            f"{at}.event_source_id does not name an event source of this account.",
            field=f"{at}.event_source_id",
            suggestion="Set the source up with sync_event_sources first, or use one that it returns.",
        )
    if event_type not in event_types:
        yield _wrong(f"{at}.event_type", "is not an AdCP event type")
    elif source and source.event_types and event_type not in source.event_types:
        yield _wrong(f"{at}.event_type", "must be one of this source's event_types")
    if wrong := _value_field_problem(goal_source.value_field):
        yield _wrong(f"{at}.value_field", wrong)
    if abs(goal_source.value_factor) > _MAX_FACTOR:
        yield _wrong(f"{at}.value_factor", f"must be from -{_MAX_FACTOR:,} to {_MAX_FACTOR:,}")
    if event_type == "custom" and not goal_source.custom_event_name:
        yield _wrong(f"{at}.custom_event_name", 'is required when event_type is "custom"')


def _value_field_problem(name: str | None) -> str | None:
    """Why no event could ever have a value in this field, or None."""
    if name is None:
        return None
    if not _PATH_CHARACTERS.isdisjoint(name) or name.startswith("$"):
        return "must be the name of a field of custom_data, for example value or order_total. A path is not read"
    if name in _NOT_NUMERIC:
        return f"must name a field that has a number. {name} of custom_data has none: send for example value"
    return None


def _metric_errors(goal: EventGoal, at: str, metrics: Sequence[str]) -> Iterator[RequestError]:
    if goal.metric not in metrics:
        instead = f"must be one of {', '.join(metrics)}" if metrics else "has no supported value: send an event goal"
        yield _wrong(f"{at}.metric", f"is not supported by this product. It {instead}")


def _target_errors(goal: EventGoal, at: str, targets: Sequence[str]) -> Iterator[RequestError]:
    target = goal.target
    if target is None:
        return
    if target.kind not in targets:
        instead = f"must be one of {', '.join(targets)}" if targets else "has no supported value: omit target"
        yield _wrong(f"{at}.target.kind", f"is not supported by this product. It {instead}")
        return
    if target.kind != "maximize_value" and not (target.value and target.value > 0):
        yield _wrong(f"{at}.target.value", f"must be a number above 0 for {target.kind}")
    if target.kind in _OF_VALUE and not any(source.value_field for source in goal.event_sources or ()):
        yield _wrong(
            f"{at}.event_sources[0].value_field",
            f"is required on at least one source: {target.kind} needs the field of custom_data that has the value",
        )


def _window_errors(window: Window, at: str) -> Iterator[RequestError]:
    offers = ("post_click", window.post_click, CLICK_WINDOWS), ("post_view", window.post_view, VIEW_WINDOWS)
    for name, chosen, offered in offers:
        if chosen.seconds not in {duration.seconds for duration in offered}:
            yield _wrong(f"{at}.{name}", f"must be one of {_listed(offered)}")
    if window.model != "last_touch":
        yield _wrong(f"{at}.model", 'must be "last_touch"')


def _listed(durations: Sequence[Duration]) -> str:
    return ", ".join(f"{duration.interval} {duration.unit}" for duration in durations)


def _wrong(field: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {what}.", field=field)
