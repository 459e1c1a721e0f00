"""What an account's goals say of its events, as tables that a run joins with.

A *kind* of event is what goals tell apart: source, type and, for custom events, name. A *class* is a set of packages
whose goals say the same of every kind, in one currency.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from postback.media_buys.buys import PackageGoals
from postback.media_buys.goals import EventGoal, GoalSource

__all__ = ["EventKind", "Option", "PackageKey", "Rules"]

_NEVER = 1 << 32

PackageKey: TypeAlias = tuple[str, str]
"""A media_buy_id and a package_id."""


class EventKind(NamedTuple):
    """Events that goals don't tell apart; ``custom_event_name`` is empty for all that no other kind names."""

    event_type: str
    event_source_id: str
    custom_event_name: str

    @property
    def name(self) -> str:
        """Its name, as the view named_event composes it."""
        return "\n".join(self)


class Option(NamedTuple):
    """What one goal makes of an event of one kind.

    Attributes:
        goal: The goal's place in the package.
        source_rank: The place of the source in the goal's event_sources.
        click_us: How long after a click it counts, in µs.
        view_us: How long after a view it counts, in µs.
        value_field: The member of custom_data with the value; empty for none.
        factor: What the value is multiplied by.
        refund: Whether the event takes value away and is no conversion.
    """

    goal: int
    source_rank: int
    click_us: int
    view_us: int
    value_field: str
    factor: Decimal
    refund: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """What the goals of one account say, at one moment.

    Attributes:
        kinds: Every kind of event that a goal names; their numbers are their places, from 1.
        fields: Every member of custom_data that is some kind's value, likewise.
        classes: The currency of each class, and what its goals say: kind → options, the first choice first.
        packages: Packages whose exposures count → their class, from 1.
        frozen: Packages whose numbers are final, and since when.
    """

    kinds: tuple[EventKind, ...]
    fields: tuple[str, ...]
    classes: tuple[tuple[str, dict[EventKind, tuple[Option, ...]]], ...]
    packages: dict[PackageKey, int]
    frozen: dict[PackageKey, datetime]

    @classmethod
    def of(cls, packages: Sequence[PackageGoals]) -> Rules:
        """The rules of these packages."""
        kinds = _kinds(packages)
        classes: dict[tuple[str, tuple[tuple[EventKind, tuple[Option, ...]], ...]], int] = {}
        counting: dict[PackageKey, int] = {}
        frozen: dict[PackageKey, datetime] = {}
        for buy, package in packages:
            key = buy.media_buy_id, package.package_id
            if package.finalized_at:
                frozen[key] = package.finalized_at
                continue
            said = tuple((kind, options) for kind in kinds if (options := _options(package.goals, kind)))
            counting[key] = classes.setdefault((buy.currency, said), len(classes) + 1)
        fields = {option.value_field for _, said in classes for _, options in said for option in options}
        told = tuple((currency, dict(said)) for currency, said in classes)
        return cls(kinds, tuple(sorted(fields - {""})), told, counting, frozen)

    def signatures(self) -> dict[str, str]:
        """Package → a digest of what its goals say; final packages are left out."""
        digests = [hashlib.sha256(repr(said).encode()).hexdigest()[:16] for said in self.classes]
        return {"\n".join(key): digests[number - 1] for key, number in self.packages.items()}


def _kinds(packages: Sequence[PackageGoals]) -> tuple[EventKind, ...]:
    named = {
        EventKind(source.event_type, source.event_source_id, source.custom_event_name or "")
        for _, package in packages
        for goal in package.goals
        for source in goal.event_sources or ()
    }
    return tuple(sorted(named))


def _options(goals: Sequence[EventGoal], kind: EventKind) -> tuple[Option, ...]:
    in_order = sorted(enumerate(goals), key=lambda numbered: (numbered[1].priority or _NEVER, numbered[0]))
    named = [(number, goal, entries) for number, goal in in_order if (entries := tuple(_entries(goal, kind)))]
    valued = [source for _, _, entries in named for _, source in entries if source.value_field]
    return tuple(_option(number, goal, *entries[0], kind, valued) for number, goal, entries in named)


def _entries(goal: EventGoal, kind: EventKind) -> Iterator[tuple[int, GoalSource]]:
    """The entries of a goal that name a kind, with their places."""
    for rank, source in enumerate(goal.event_sources or ()):
        if (source.event_type, source.event_source_id) == kind[:2] and (
            source.custom_event_name in (None, kind.custom_event_name)
        ):
            yield rank, source


def _option(
    number: int, goal: EventGoal, rank: int, source: GoalSource, kind: EventKind, valued: Sequence[GoalSource]
) -> Option:
    worth = source if source.value_field or not valued else valued[0]
    return Option(
        goal=number,
        source_rank=rank,
        click_us=goal.post_click_seconds * 1_000_000,
        view_us=goal.post_view_seconds * 1_000_000,
        value_field=worth.value_field or "",
        factor=Decimal(str(worth.value_factor)),
        refund=kind.event_type == "refund" or worth.value_factor < 0,
    )
