"""The rules that an account's goals set for its events, in the form of tables that a run joins with.

An *event kind* is what goals distinguish: source, type and, for custom events, name. Sources that one goal names
together are *linked*: their events with one id are *siblings*, and count as one business event. A *sibling set* is the
event kinds of a business event's siblings. Packages with the same goals and currency share a *rule set*.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from postback.media_buys.goals import EventGoal, GoalSource
from postback.media_buys.media_buy import PackageGoals

__all__ = [
    "RULES_VERSION",
    "AccountRules",
    "EventKind",
    "GoalOption",
    "PackageKey",
    "RuleSet",
    "SiblingSet",
    "longest_windows",
    "signed_kind",
]

RULES_VERSION = 2
"""Rises when the same facts and goals come to count differently; every event is then attributed anew."""

_NEVER = 1 << 32

PackageKey: TypeAlias = tuple[str, str]
"""A media_buy_id and a package_id."""


class EventKind(NamedTuple):
    """Events that goals treat alike; an empty ``custom_event_name`` means all that no other kind names."""

    event_type: str
    event_source_id: str
    custom_event_name: str

    @property
    def name(self) -> str:
        """Its name, as the view named_event composes it."""
        return "\n".join(self)


SiblingSet: TypeAlias = tuple[EventKind, ...]
"""The event kinds of a business event's siblings, each of another source."""


class GoalOption(NamedTuple):
    """How one goal counts business events of one sibling set.

    Attributes:
        goal: The goal's position in the package.
        source_rank: The position of the lead event's source in the goal's event_sources.
        lead: The sibling whose time and action source count: its position in the set, from 1.
        click_us: The window after a click, in µs.
        view_us: The window after a view, in µs.
        valued: The sibling that the value comes from: its position in the set, from 1; 0 when no entry has a
            value_field.
        value_field: The field of custom_data with the value; empty for none.
        factor: The factor for the value.
        refund: Whether the package treats these events as refunds.
    """

    goal: int
    source_rank: int
    lead: int
    click_us: int
    view_us: int
    valued: int
    value_field: str
    factor: Decimal
    refund: bool


def signed_kind(signature: str) -> EventKind:
    """The event kind of a signature of ``AccountRules.kind_signatures``."""
    return EventKind(*signature.split("\n")[:3])


def longest_windows(options: Sequence[GoalOption], lead: int) -> tuple[int, int]:
    """The longest windows after a click and after a view of the goals that a sibling leads in, in µs; -1 for none."""
    led = [option for option in options if option.lead == lead]
    return max((o.click_us for o in led), default=-1), max((o.view_us for o in led), default=-1)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The goals of one or several packages, the first choice first, each with its position; and their currency."""

    currency: str
    goals: tuple[tuple[int, EventGoal], ...]

    def options(self, siblings: SiblingSet) -> tuple[GoalOption, ...]:
        """How the goals that name one of these siblings count them."""
        naming = [(number, goal, listed) for number, goal in self.goals if (listed := _listed(goal, siblings))]
        refund = any(_is_refund(kind, entry) for _, _, listed in naming for _, _, kind, entry in listed)
        return tuple(
            _option(number, goal, listed, [other for _, g, other in naming if g is not goal], refund)
            for number, goal, listed in naming
        )


_Listed: TypeAlias = tuple[int, int, EventKind, GoalSource]
"""An entry of a goal that names a sibling: the entry's position, the sibling's, its event kind, the entry."""


@dataclass(frozen=True, slots=True)
class AccountRules:
    """The rules of one account at one time.

    Attributes:
        kinds: Every event kind in a goal; its number is its position, from 1.
        linked: Event kind → the sources that it is linked with for its type and name, itself included.
        near: Source → the sources that some goal names together with it, itself included: where a refund finds its
            purchase.
        rule_sets: Each rule set; its number is its position, from 1.
        packages: Packages whose exposures count → the number of their rule set.
        frozen: Packages with final numbers → when they became final, and the number of their rule set.
    """

    kinds: tuple[EventKind, ...] = ()
    linked: dict[EventKind, tuple[str, ...]] = field(default_factory=dict)
    near: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rule_sets: tuple[RuleSet, ...] = ()
    packages: dict[PackageKey, int] = field(default_factory=dict)
    frozen: dict[PackageKey, tuple[datetime, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, packages: Sequence[PackageGoals]) -> AccountRules:
        """The rules of these packages."""
        rule_sets: dict[RuleSet, int] = {}
        counting: dict[PackageKey, int] = {}
        frozen: dict[PackageKey, tuple[datetime, int]] = {}
        for buy, package in packages:
            in_order = sorted(enumerate(package.goals), key=lambda goal: (goal[1].priority or _NEVER, goal[0]))
            number = rule_sets.setdefault(RuleSet(buy.currency, tuple(in_order)), len(rule_sets) + 1)
            key = buy.media_buy_id, package.package_id
            if package.finalized_at:
                frozen[key] = package.finalized_at, number
            else:
                counting[key] = number
        goals = [goal for _, package in packages for goal in package.goals]
        kinds = _kinds(goals)
        return cls(kinds, _linked(goals, kinds), _near(goals), tuple(rule_sets), counting, frozen)

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field of custom_data that a value may be taken from; its number is its position, from 1."""
        entries = (entry for rules in self.rule_sets for _, goal in rules.goals for entry in goal.event_sources or ())
        return tuple(sorted({entry.value_field for entry in entries if entry.value_field} | {"value"}))

    @property
    def refund_types(self) -> tuple[str, ...]:
        """The event types of which some goal makes refunds."""
        return tuple(sorted({kind.event_type for kind in self.kinds if self.may_refund((kind,))}))

    def may_refund(self, siblings: SiblingSet) -> bool:
        """Whether some package treats business events of this set as refunds."""
        return any(option.refund for rules in self.rule_sets for option in rules.options(siblings))

    def kind(self, event_type: str, event_source_id: str, custom_event_name: str) -> EventKind | None:
        """The event kind of an event; None if no goal names it."""
        names = dict.fromkeys([custom_event_name, ""]) if event_type == "custom" else [""]
        of_event = (EventKind(event_type, event_source_id, name) for name in names)
        return next((kind for kind in of_event if kind in self.kinds), None)

    def signatures(self) -> dict[str, str]:
        """Package → a digest of its rule set; final packages are left out."""
        digests = [hashlib.sha256(repr(rules).encode()).hexdigest()[:16] for rules in self.rule_sets]
        return {"\n".join(key): digests[number - 1] for key, number in self.packages.items()}

    def kind_signatures(self) -> dict[str, EventKind]:
        """What decides which events count together, for each event kind: when one is new, its events are restated."""
        found = {}
        for kind in self.kinds:
            refunds = "refund" if self.may_refund((kind,)) else ""
            near = self.near[kind.event_source_id] if self.refund_types else ()
            found["\n".join((*kind, ",".join(self.linked[kind]), ",".join(near), refunds))] = kind
        return found


def _kinds(goals: Sequence[EventGoal]) -> tuple[EventKind, ...]:
    entries = [entry for goal in goals for entry in goal.event_sources or ()]
    names = {entry.custom_event_name for entry in entries if entry.custom_event_name}
    found = set()
    for entry in entries:
        every = ["", *names] if entry.event_type == "custom" and not entry.custom_event_name else [""]
        for name in [entry.custom_event_name] if entry.custom_event_name else every:
            found.add(EventKind(entry.event_type, entry.event_source_id, name))
    return tuple(sorted(found))


def _linked(goals: Sequence[EventGoal], kinds: Sequence[EventKind]) -> dict[EventKind, tuple[str, ...]]:
    """Each event kind with those that one goal names together with it, directly or through others."""
    groups = {kind: {kind} for kind in kinds}
    for goal in goals:
        together: dict[tuple[str, str], list[EventKind]] = defaultdict(list)
        for kind in kinds:
            if any(_names(entry, kind) for entry in goal.event_sources or ()):
                together[kind.event_type, kind.custom_event_name].append(kind)
        for first, *others in together.values():
            for other in others:
                joined = groups[first] | groups[other]
                groups |= dict.fromkeys(joined, joined)
    return {kind: tuple(sorted({each.event_source_id for each in group})) for kind, group in groups.items()}


def _near(goals: Iterable[EventGoal]) -> dict[str, tuple[str, ...]]:
    near: dict[str, set[str]] = defaultdict(set)
    for goal in goals:
        listed = {entry.event_source_id for entry in goal.event_sources or ()}
        for source in listed:
            near[source] |= listed
    return {source: tuple(sorted(sources)) for source, sources in near.items()}


def _names(entry: GoalSource, kind: EventKind) -> bool:
    return (entry.event_type, entry.event_source_id) == kind[:2] and (
        entry.custom_event_name in (None, kind.custom_event_name)
    )


def _listed(goal: EventGoal, siblings: SiblingSet) -> list[_Listed]:
    """The entries of a goal that name a sibling, in the goal's order."""
    return list(_named(goal, siblings))


def _named(goal: EventGoal, siblings: SiblingSet) -> Iterator[_Listed]:
    for rank, entry in enumerate(goal.event_sources or ()):
        for position, kind in enumerate(siblings, 1):
            if _names(entry, kind):
                yield rank, position, kind, entry


def _is_refund(kind: EventKind, entry: GoalSource) -> bool:
    return kind.event_type == "refund" or entry.value_factor < 0


def _option(
    number: int, goal: EventGoal, listed: list[_Listed], others: Sequence[list[_Listed]], refund: bool
) -> GoalOption:
    rank, lead, _, _ = listed[0]
    valued = next((one for entries in (listed, *others) for one in entries if one[3].value_field), None)
    return GoalOption(
        goal=number,
        source_rank=rank,
        lead=lead,
        click_us=goal.post_click_seconds * 1_000_000,
        view_us=goal.post_view_seconds * 1_000_000,
        valued=valued[1] if valued else 0,
        value_field=(valued[3].value_field or "") if valued else "",
        factor=Decimal(str(valued[3].value_factor)) if valued else Decimal(1),
        refund=refund,
    )
