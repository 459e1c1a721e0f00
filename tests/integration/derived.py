"""What attribution has derived, in the terms of the reference, and what the reference derives."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from tests.business_event_reference import (
    Event,
    Exposure,
    Identity,
    Outcome,
    attribute,
    hours_of_conversions,
    hours_of_exposures,
    parse,
)
from tests.engine import select

from postback.media_buys.media_buy import PackageGoals
from postback.store.event_store import EventStore

OUTCOMES = """
    SELECT event_source_id, event_type, event_id, media_buy_id, package_id, goal, lead_source_id,
        toUnixTimestamp64Micro(reported_at), reported_type, reported_action_source, exposure_id, exposure_kind,
        creative_id, match_kind, counted, conversions, value, value_reason, left_out, left_out_currency,
        purchase_source_id, purchase_type, purchase_id
    FROM attribution FINAL WHERE account_id = {account_id:String}
"""
EXPOSURE_HOURS = """
    SELECT media_buy_id, package_id, toUnixTimestamp(hour) * 1000000, creative_id, currency,
        sum(impressions), sum(clicks), sum(spend)
    FROM exposure_hour WHERE account_id = {account_id:String} AND media_buy_id != '' GROUP BY ALL
"""
CONVERSION_HOURS = """
    SELECT media_buy_id, package_id, toUnixTimestamp(hour) * 1000000, event_type, action_source, creative_id,
        event_source_id, sum(conversions), sum(value), sum(refunded)
    FROM conversion_hour WHERE account_id = {account_id:String} AND media_buy_id != '' GROUP BY ALL
"""
_EVENTS = """
    SELECT event_source_id, event_type, event_id, toUnixTimestamp64Micro(event_time),
        toUnixTimestamp64Micro(received_at), match_keys, action_source, custom_data
    FROM event FINAL WHERE account_id = {account_id:String}
"""
_EXPOSURES = """
    SELECT exposure_id, kind, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Micro(received_at),
        media_buy_id, package_id, creative_id, match_keys, cost, currency
    FROM exposure FINAL WHERE account_id = {account_id:String}
"""
_TOO_LATE = {"FINAL", "SETTLED"}


class Derivation(NamedTuple):
    """What follows from the facts of an account, none of whose packages is final.

    Attributes:
        outcomes: What the business event of each event counts for.
        exposure_hours: By media buy, package, hour and more: impressions, clicks, spend.
        conversion_hours: By media buy, package, hour and more: conversions, value, what refunds subtract.
    """

    outcomes: dict[Identity, Outcome]
    exposure_hours: dict[Any, Any]
    conversion_hours: dict[Any, Any]

    def differs_in(self, other: Derivation) -> dict[str, int]:
        """How many entries of each are not those of another."""
        return {
            name: sum(mine.get(key) != theirs.get(key) for key in mine.keys() | theirs.keys())
            for name, mine, theirs in zip(self._fields, self, other, strict=True)
        }


def derived(events: EventStore, account_id: str) -> Derivation:
    """What attribution has derived for an account."""
    rows = partial(select, events, account_id=account_id)
    return Derivation(
        outcomes_of(rows(OUTCOMES)), hours_of(rows(EXPOSURE_HOURS), 5), hours_of(rows(CONVERSION_HOURS), 7)
    )


def derived_by_reference(events: EventStore, account_id: str, packages: list[PackageGoals]) -> Derivation:
    """What the reference derives from the stored facts of an account."""
    rows = partial(select, events, account_id=account_id)
    facts = [
        Event(row[0], row[1], row[2], row[3], row[4], tuple(row[5]), "", row[6], parse(row[7])) for row in rows(_EVENTS)
    ]
    shown = [
        Exposure(row[0], row[1], row[2], row[3], (row[4], row[5]), tuple(row[7]), row[6], row[8], row[9])
        for row in rows(_EXPOSURES)
    ]
    outcomes = attribute(facts, shown, packages, {})
    return Derivation(
        {identity: outcome for identities, outcome in outcomes.items() for identity in identities},
        hours_of_exposures(shown, packages),
        hours_of_conversions(outcomes),
    )


def outcomes_of(rows: Iterable[tuple[Any, ...]]) -> dict[Identity, Outcome]:
    """What the business event of each event counts for, from the rows of OUTCOMES; without those that came too late."""
    by_identity = {row[:3]: row[3:] for row in rows}
    found = {}
    for identity, row in by_identity.items():
        leading = by_identity.get((row[3], *identity[1:]), row)
        if not _TOO_LATE & {row[14], leading[14]}:
            found[identity] = _outcome(identity, *leading)
    return found


def too_late_of(rows: Iterable[tuple[Any, ...]]) -> set[Identity]:
    """The events that came too late for a package whose numbers are final, or for settled results; from OUTCOMES."""
    return {row[:3] for row in rows if row[17] in _TOO_LATE}


def hours_of(rows: Iterable[tuple[Any, ...]], keys: int) -> dict[Any, Any]:
    """Sums by hour, without those that are all 0."""
    return {row[:keys]: row[keys:] for row in rows if any(row[keys:])}


def _outcome(identity: Identity, *row: Any) -> Outcome:
    """An outcome from the columns that OUTCOMES selects after an event's identity."""
    media_buy_id, package_id, goal, lead_source, reported_at, reported_type, action_source, *touch = row[:11]
    conversions, value, reason, left_out = row[12:16]
    purchase = row[17:20] if row[17] else None
    excess = -left_out if reason == "EXCEEDS_PURCHASE" else Decimal(0)
    if not media_buy_id:
        return Outcome(conversions=conversions, value=value, reason=reason, purchase=purchase, excess=excess)
    return Outcome(
        package=(media_buy_id, package_id),
        goal=goal,
        lead=(lead_source, *identity[1:]),
        hour_at=reported_at,
        event_type=reported_type,
        action_source=action_source,
        exposure=touch[0],
        exposure_kind=touch[1],
        creative=touch[2],
        match_kind=touch[3],
        conversions=conversions,
        value=value,
        reason=reason,
        purchase=purchase,
        excess=excess,
    )
