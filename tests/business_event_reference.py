"""Copies, linked sources and refunds as the docs state them: one pure function, slow and plain.

``attribute`` takes everything that an account has received and returns what each business event counts for. It shares
no code with the server but the structs of goals, so that the server's SQL has something to be compared with.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, Decimal
from typing import Any, TypeAlias

from postback.media_buys.goals import EventGoal, GoalSource
from postback.media_buys.media_buy import MediaBuy, Package, PackageGoals

__all__ = [
    "MOST_KEYS",
    "BusinessEvent",
    "Event",
    "Exposure",
    "Identity",
    "Outcome",
    "attribute",
    "business_events",
    "hours_of_conversions",
    "hours_of_exposures",
]

MOST_KEYS = 64
"""Identifiers that the copies of one event are matched by."""

_CLICK_ID, _IP_AND_USER_AGENT = 3, 4
_NINE_PLACES = Decimal("1e-9")
_ZERO = Decimal(0)
_HOUR = 3_600_000_000
_NEVER = -(2**63)

Identity: TypeAlias = tuple[str, str, str]
"""(source, type, event_id)."""


@dataclass(frozen=True)
class Event:
    """An event as it was received; times in µs since the epoch. ``keys`` are its match keys, strongest first."""

    source: str
    type: str
    id: str
    at: int
    received_at: int
    keys: tuple[bytes, ...] = ()
    name: str = ""
    action_source: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> Identity:
        """What AdCP deduplicates by."""
        return self.source, self.type, self.id


@dataclass(frozen=True)
class Exposure:
    """An exposure as it was received; times in µs since the epoch."""

    id: str
    kind: str
    at: int
    received_at: int
    package: tuple[str, str]
    keys: tuple[bytes, ...]
    creative: str = ""
    cost: Decimal | None = None
    currency: str = ""


@dataclass(frozen=True)
class BusinessEvent:
    """One thing that happened: an event with its copies and its siblings.

    Attributes:
        events: The first write of each sibling, by source, with the identifiers of its copies.
        keys: The identifiers of all of them.
    """

    events: tuple[Event, ...]
    keys: frozenset[bytes]

    @property
    def type(self) -> str:
        """The event type that all siblings have."""
        return self.events[0].type

    @property
    def id(self) -> str:
        """The event_id that all siblings have."""
        return self.events[0].id

    @property
    def identities(self) -> tuple[Identity, ...]:
        """The identity of each sibling, by source."""
        return tuple(event.identity for event in self.events)


@dataclass(frozen=True)
class Outcome:
    """What a business event counts for. Without a package it counts for none.

    Attributes:
        package: (media_buy_id, package_id) that it counts in.
        goal: The goal's place in the package.
        lead: The sibling whose time and action source are reported.
        hour_at: The time whose hour reports it, in µs since the epoch: the purchase's for a refund that follows it.
        event_type: The event type that reports show: the purchase's for a refund that follows it.
        action_source: Likewise.
        exposure: The exposure that it is attributed to.
        exposure_kind: ``click`` or ``impression``.
        creative: The exposure's creative.
        match_kind: The kind of identifier that they share.
        conversions: 1, or 0 for a refund.
        value: In the buy's currency; negative for a refund.
        reason: Why nothing, or no value, is counted; empty otherwise.
        purchase: For a refund that follows a purchase, one identity of that purchase.
        excess: What a refund asked for beyond what was left of its purchase.
    """

    package: tuple[str, str] = ("", "")
    goal: int = 0
    lead: Identity = ("", "", "")
    hour_at: int = 0
    event_type: str = ""
    action_source: str = ""
    exposure: str = ""
    exposure_kind: str = ""
    creative: str = ""
    match_kind: int = 0
    conversions: int = 0
    value: Decimal = _ZERO
    reason: str = ""
    purchase: Identity | None = None
    excess: Decimal = _ZERO


@dataclass(frozen=True)
class _Amount:
    """What the value fields of a goal give: an amount in the buy's currency, or the reason for 0."""

    value: Decimal = _ZERO
    reason: str = ""
    refund: bool = False


def attribute(
    events: Sequence[Event],
    exposures: Sequence[Exposure],
    packages: Sequence[PackageGoals],
    settled: Mapping[Identity, Outcome],
    settled_before: int = _NEVER,
) -> dict[tuple[Identity, ...], Outcome]:
    """What each business event counts for, by the identities of its siblings.

    Args:
        events: Every live event in any order, copies included.
        exposures: Every exposure in any order, copies included.
        packages: Every package of the account with its goals, final ones included.
        settled: The outcomes that count in final packages or were settled by retention, by the identity of each
            sibling that they had then.
        settled_before: Events from before this time that are not in ``settled`` count nowhere.
    """
    too_old = _too_old(events, settled, settled_before)
    known = business_events(events, packages, too_old)
    first_exposures = _first_exposures(exposures)
    outcomes: dict[tuple[Identity, ...], Outcome] = {}
    for business_event in known:
        if business_event.type != "refund" and _is_named(business_event, packages):
            outcomes[business_event.identities] = _settled(business_event, settled, too_old) or _by_own_touch(
                business_event, first_exposures, packages
            )
    purchases = {business_event.identities: business_event for business_event in known}
    following: dict[tuple[Identity, ...], list[BusinessEvent]] = defaultdict(list)
    taken: dict[Identity, Decimal] = defaultdict(Decimal)
    for business_event in known:
        if not _may_refund(business_event, packages):
            continue
        if final := _settled(business_event, settled, too_old):
            outcomes[business_event.identities] = final
            if final.purchase:
                taken[final.purchase] -= final.value
        elif purchase := _purchase_of(business_event, known, outcomes, packages):
            following[purchase.identities].append(business_event)
        elif business_event.type == "refund":
            outcomes[business_event.identities] = _by_own_touch(business_event, first_exposures, packages)
    for identities, refunds in following.items():
        bought = outcomes.get(identities, Outcome())
        left = max(bought.value - sum(taken[identity] for identity in identities), _ZERO)
        outcomes |= _refunded(purchases[identities], bought, left, refunds, outcomes, packages)
    return outcomes


def business_events(
    events: Sequence[Event], packages: Sequence[PackageGoals], alone: Collection[Identity] = ()
) -> list[BusinessEvent]:
    """Events with their copies united, and siblings of linked sources together, but for those that stay alone."""
    copies = _copies(events)
    names, group_of = _custom_names(packages), _linked_sources(packages)
    siblings: dict[Any, list[Event]] = defaultdict(list)
    for same in copies.values():
        keys = tuple(dict.fromkeys(key for copy in same for key in copy.keys))[:MOST_KEYS]
        first = replace(same[0], keys=keys)
        name = first.name if first.type == "custom" else ""
        linked_as = first.type, name if name in names else "", first.source
        group = (first.source, "alone") if first.identity in alone else group_of.get(linked_as, first.source)
        siblings[first.id, first.type, name, group].append(first)
    return [
        BusinessEvent(tuple(sorted(group, key=lambda event: event.source)), frozenset(k for e in group for k in e.keys))
        for group in siblings.values()
    ]


def _copies(events: Iterable[Event]) -> dict[Identity, list[Event]]:
    """The copies of each event, the first write first."""
    copies: dict[Identity, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.received_at):
        copies[event.identity].append(event)
    return copies


def _too_old(events: Iterable[Event], settled: Collection[Identity], before: int) -> set[Identity]:
    """The events that nothing was settled for by the time at which everything so old was."""
    return {identity for identity, (first, *_) in _copies(events).items() if first.at < before} - set(settled)


def _custom_names(packages: Sequence[PackageGoals]) -> set[str]:
    """The custom_event_names that some goal names."""
    return {
        source.custom_event_name
        for _, package in packages
        for goal in package.goals
        for source in goal.event_sources or ()
        if source.custom_event_name
    }


def _linked_sources(packages: Sequence[PackageGoals]) -> dict[tuple[str, str, str], str]:
    """(type, custom name, source) → the least source that it is linked with, directly or through others.

    The name is empty for other types, and for custom events whose name no goal gives.
    """
    names = _custom_names(packages)
    group: dict[tuple[str, str, str], str] = {}
    for goal in (goal for _, package in packages for goal in package.goals):
        together: dict[tuple[str, str], set[str]] = defaultdict(set)
        for entry in goal.event_sources or ():
            every = ["", *names] if entry.event_type == "custom" else [""]
            for name in [entry.custom_event_name] if entry.custom_event_name else every:
                together[entry.event_type, name].add(entry.event_source_id)
        for kind, sources in together.items():
            roots = {group.get((*kind, source), source) for source in sources}
            linked = {source for (*other, source), root in group.items() if tuple(other) == kind and root in roots}
            group |= {(*kind, source): min(roots) for source in sources | linked}
    return group


def _first_exposures(exposures: Sequence[Exposure]) -> list[Exposure]:
    """Of copies the first, with the identifiers of all."""
    copies: dict[str, list[Exposure]] = defaultdict(list)
    for exposure in sorted(exposures, key=lambda exposure: exposure.received_at):
        copies[exposure.id].append(exposure)
    return [
        replace(same[0], keys=tuple(dict.fromkeys(key for copy in same for key in copy.keys))[:MOST_KEYS])
        for same in copies.values()
    ]


def _settled(
    business_event: BusinessEvent, settled: Mapping[Identity, Outcome], too_old: Collection[Identity]
) -> Outcome | None:
    """The outcome that stays; the first sibling's, should two have been counted in two final packages."""
    if business_event.identities[0] in too_old:
        return Outcome(reason="SETTLED")
    return next((settled[identity] for identity in business_event.identities if identity in settled), None)


def _entries(goal: EventGoal, event: Event) -> Iterator[tuple[int, GoalSource]]:
    for rank, entry in enumerate(goal.event_sources or ()):
        if (entry.event_source_id, entry.event_type) == (event.source, event.type) and (
            entry.custom_event_name in (None, event.name)
        ):
            yield rank, entry


def _listed(goal: EventGoal, business_event: BusinessEvent) -> list[tuple[Event, GoalSource]]:
    """The siblings that a goal names, with their entries, in the goal's order."""
    found = [(rank, event, entry) for event in business_event.events for rank, entry in _entries(goal, event)]
    return [(event, entry) for _, event, entry in sorted(found, key=lambda one: one[0])]


def _naming_goals(package: Package, business_event: BusinessEvent) -> list[tuple[int, EventGoal]]:
    """The goals that name a business event, with their places, by priority."""
    in_order = sorted(enumerate(package.goals), key=lambda numbered: (numbered[1].priority or 10**9, numbered[0]))
    return [(number, goal) for number, goal in in_order if _listed(goal, business_event)]


def _is_named(business_event: BusinessEvent, packages: Iterable[PackageGoals]) -> bool:
    return any(_naming_goals(package, business_event) for _, package in packages)


def _may_refund(business_event: BusinessEvent, packages: Iterable[PackageGoals]) -> bool:
    """Whether it is a refund everywhere, or in some package, whose entry for it has a negative value_factor."""
    return business_event.type == "refund" or any(_refunds_in(package, business_event) for _, package in packages)


def _refunds_in(package: Package, business_event: BusinessEvent) -> bool:
    named = [entry for _, goal in _naming_goals(package, business_event) for _, entry in _listed(goal, business_event)]
    return bool(named) and (business_event.type == "refund" or any(entry.value_factor < 0 for entry in named))


def _by_own_touch(
    business_event: BusinessEvent, exposures: Sequence[Exposure], packages: Sequence[PackageGoals]
) -> Outcome:
    """Attributed by its identifiers, to the best exposure over all packages whose numbers aren't final."""
    best: tuple[Any, ...] | None = None
    for buy, package in packages:
        if package.finalized_at:
            continue
        goals = _naming_goals(package, business_event)
        for exposure in exposures:
            shared = business_event.keys & set(exposure.keys)
            if exposure.package != (buy.media_buy_id, package.package_id) or not shared:
                continue
            held = next((numbered for numbered in goals if _holds(numbered[1], business_event, exposure)), None)
            if held:
                match_kind = min((key[0] for key in shared), key=_weakness)
                order = (exposure.kind != "click", -exposure.at, _weakness(match_kind), exposure.id)
                if best is None or order < best[0]:
                    best = order, exposure, buy, package, held, match_kind
    if best is None:
        return Outcome()
    _, exposure, buy, package, (number, goal), match_kind = best
    lead = _listed(goal, business_event)[0][0]
    amount = _amount(business_event, buy, package, goal)
    return Outcome(
        package=exposure.package,
        goal=number,
        lead=lead.identity,
        hour_at=lead.at,
        event_type=lead.type,
        action_source=lead.action_source,
        exposure=exposure.id,
        exposure_kind=exposure.kind,
        creative=exposure.creative,
        match_kind=match_kind,
        conversions=0 if amount.refund else 1,
        value=-abs(amount.value) if amount.refund else amount.value,
        reason=amount.reason,
    )


def _holds(goal: EventGoal, business_event: BusinessEvent, exposure: Exposure) -> bool:
    """Whether the goal's window holds between an exposure and the sibling that the goal lists first."""
    lag = _listed(goal, business_event)[0][0].at - exposure.at
    window = goal.post_click_seconds if exposure.kind == "click" else goal.post_view_seconds
    return 0 <= lag <= window * 1_000_000


def _weakness(match_kind: int) -> int:
    return {_CLICK_ID: 1000, _IP_AND_USER_AGENT: 1001}.get(match_kind, match_kind)


def _valued_entry(business_event: BusinessEvent, package: Package, goal: EventGoal) -> tuple[Event, GoalSource] | None:
    """The first listed sibling whose entry has a value_field: of this goal, else of the package's others."""
    others = [other for _, other in _naming_goals(package, business_event) if other is not goal]
    listed = [pair for one in (goal, *others) for pair in _listed(one, business_event)]
    return next((pair for pair in listed if pair[1].value_field), None)


def _amount(business_event: BusinessEvent, buy: MediaBuy, package: Package, goal: EventGoal) -> _Amount:
    """What a business event is worth in a package."""
    refund = _refunds_in(package, business_event)
    valued = _valued_entry(business_event, package, goal)
    if valued is None:
        return _Amount(refund=refund)
    event, entry = valued
    sent = event.data.get(entry.value_field or "")
    if sent is None:
        return _Amount(reason="NO_VALUE_FIELD", refund=refund)
    if isinstance(sent, bool) or not isinstance(sent, int | float | Decimal):
        return _Amount(reason="NOT_A_NUMBER", refund=refund)
    if event.data.get("currency") != buy.currency:
        return _Amount(reason="OTHER_CURRENCY" if event.data.get("currency") else "NO_CURRENCY", refund=refund)
    if entry.value_factor == 0:
        return _Amount(reason="ZERO_FACTOR", refund=refund)
    exact = Decimal(str(sent)).quantize(_NINE_PLACES, ROUND_DOWN) * Decimal(str(entry.value_factor))
    exact = exact.quantize(_NINE_PLACES, ROUND_DOWN)
    if exact < 0 and not refund:
        return _Amount(reason="NEGATIVE")
    return _Amount(abs(exact) if refund else exact, refund=refund)


def _purchase_of(
    refund: BusinessEvent,
    known: Sequence[BusinessEvent],
    outcomes: Mapping[tuple[Identity, ...], Outcome],
    packages: Sequence[PackageGoals],
) -> BusinessEvent | None:
    """The purchase that a refund undoes; None when none is known in a source that it may belong to."""
    sources = _sources_listed_with({event.source for event in refund.events}, packages)
    near = [
        business_event
        for business_event in known
        if any(event.source in sources for event in business_event.events)
        and business_event is not refund
        and not _may_refund(business_event, packages)
    ]
    orders = _orders(refund)
    found = [one for one in near if one.id == refund.id] or [one for one in near if _orders(one) & orders]

    def rank(purchase: BusinessEvent) -> tuple[Any, ...]:
        outcome = outcomes.get(purchase.identities, Outcome())
        at = outcome.hour_at or min(event.at for event in purchase.events)
        unattributed = outcome.package == ("", "")
        return purchase.type != "purchase", unattributed, -outcome.value, at, purchase.id, purchase.identities

    return min(found, key=rank, default=None)


def _sources_listed_with(sources: set[str], packages: Sequence[PackageGoals]) -> set[str]:
    """These sources, and those that some goal lists together with one of them, whatever the types."""
    with_them = set(sources)
    for _, package in packages:
        for goal in package.goals:
            listed = {entry.event_source_id for entry in goal.event_sources or ()}
            if listed & sources:
                with_them |= listed
    return with_them


def _orders(business_event: BusinessEvent) -> set[str]:
    orders = {event.data.get("order_id") for event in business_event.events}
    return {order for order in orders if isinstance(order, str) and order}


def _refunded(
    purchase: BusinessEvent,
    bought: Outcome,
    left: Decimal,
    refunds: Sequence[BusinessEvent],
    outcomes: Mapping[tuple[Identity, ...], Outcome],
    packages: Sequence[PackageGoals],
) -> dict[tuple[Identity, ...], Outcome]:
    """The outcomes of the refunds of one purchase, of which so much is left: each takes at most what others left."""
    if bought.package == ("", ""):
        nothing = Outcome(reason="PURCHASE_NOT_ATTRIBUTED", purchase=purchase.identities[0])
        return {
            refund.identities: nothing
            for refund in refunds
            if refund.type == "refund" or outcomes.get(refund.identities, nothing).package == ("", "")
        }
    buy, package = next(pair for pair in packages if (pair[0].media_buy_id, pair[1].package_id) == bought.package)
    of_purchase = replace(bought, conversions=0, value=_ZERO, reason="", purchase=purchase.identities[0])
    done: dict[tuple[Identity, ...], Outcome] = {}
    waiting = []
    for refund in refunds:
        if not _refunds_in(package, refund):
            if refund.type == "refund":
                done[refund.identities] = Outcome(reason="REFUND_NOT_NAMED", purchase=purchase.identities[0])
            continue
        goal = _naming_goals(package, refund)[0][1]
        lead = _listed(goal, refund)[0][0]
        amount = _refund_amount(refund, buy, package, goal)
        waiting.append((amount is None, lead.at, lead.source, lead.id, lead, refund, amount))
    for *_, lead, refund, amount in sorted(waiting, key=lambda one: one[:4]):
        if package.finalized_at:
            done[refund.identities] = Outcome(reason="FINAL", purchase=purchase.identities[0])
            continue
        asked = _Amount(left) if amount is None else amount
        taken = min(asked.value, left)
        left -= taken
        excess = asked.value - taken
        reason = asked.reason or ("EXCEEDS_PURCHASE" if excess else "")
        done[refund.identities] = replace(of_purchase, lead=lead.identity, value=-taken, reason=reason, excess=excess)
    return done


def _refund_amount(refund: BusinessEvent, buy: MediaBuy, package: Package, goal: EventGoal) -> _Amount | None:
    """What a refund asks for; None when it names no amount and so takes what is left."""
    valued = _valued_entry(refund, package, goal)
    event = valued[0] if valued else _listed(goal, refund)[0][0]
    value_field = valued[1].value_field if valued else None
    if event.data.get("value") is None and event.data.get(value_field or "value") is None:
        return None
    return _amount(refund, buy, package, goal) if valued else _Amount(reason="NO_VALUE_FIELD")


def hours_of_exposures(exposures: Sequence[Exposure], packages: Sequence[PackageGoals]) -> dict[Any, Any]:
    """(package, hour, creative, currency) → impressions, clicks, spend."""
    final = {(b.media_buy_id, p.package_id): p.finalized_at for b, p in packages if p.finalized_at}
    hours: dict[Any, list[Any]] = defaultdict(lambda: [0, 0, _ZERO])
    for exposure in _first_exposures(exposures):
        finalized_at = final.get(exposure.package)
        if finalized_at and exposure.received_at > int(finalized_at.timestamp() * 1_000_000):
            continue
        hour = hours[*exposure.package, exposure.at // _HOUR * _HOUR, exposure.creative, exposure.currency]
        hour[exposure.kind == "click"] += 1
        hour[2] += exposure.cost or 0
    return {key: tuple(hour) for key, hour in hours.items()}


def hours_of_conversions(outcomes: Mapping[tuple[Identity, ...], Outcome]) -> dict[Any, Any]:
    """(package, hour, event type, action source, creative, source) → conversions, value, and what refunds subtract.

    Those that are all 0 are left out.
    """
    hours: dict[Any, list[Any]] = defaultdict(lambda: [0, _ZERO, _ZERO])
    for outcome in outcomes.values():
        if outcome.package != ("", ""):
            hour_at = outcome.hour_at // _HOUR * _HOUR
            place = (outcome.event_type, outcome.action_source, outcome.creative, outcome.lead[0])
            hour = hours[*outcome.package, hour_at, *place]
            hour[0] += outcome.conversions
            hour[1] += outcome.value
            hour[2] += outcome.value if outcome.conversions == 0 else 0
    return {key: tuple(hour) for key, hour in hours.items() if any(hour)}


def parse(custom_data: str) -> Mapping[str, Any]:
    """An event's custom_data with exact numbers."""
    data: Mapping[str, Any] = json.loads(custom_data or "{}", parse_float=Decimal, parse_int=Decimal)
    return data
