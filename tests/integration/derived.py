"""What attribution has derived, in the terms of the reference."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from tests.business_event_reference import Identity, Outcome

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
_TOO_LATE = {"FINAL", "SETTLED"}


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
