"""The value of the events that were logged for a media buy's goals, attributed or not.

A sandbox has no ad server, so the value of simulated conversions is that of the logged events.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from postback.media_buys.goals import EventGoal
from postback.media_buys.media_buy import MediaBuy
from postback.store.event_store import EventStore

__all__ = ["logged_value"]


class _Logged(NamedTuple):
    event_source_id: str
    event_type: str
    event_id: str
    custom_event_name: str
    custom_data: str


def logged_value(events: EventStore, buy: MediaBuy) -> Decimal:
    """The sum over a buy's goals. Within a goal, an event from several sources counts once, with its first source."""
    goals = [goal for package in buy.packages for goal in package.goals if goal.event_sources]
    if not goals:
        return Decimal(0)
    kinds = {(s.event_source_id, s.event_type) for goal in goals for s in goal.event_sources or ()}
    rows = events.query(
        "logged",
        account_id=buy.account_id,
        event_source_ids=[source for source, _ in sorted(kinds)],
        event_types=[event_type for _, event_type in sorted(kinds)],
    )
    logged = [_Logged(*row) for row in rows]
    return sum((value for goal in goals for value in _values(goal, logged, buy.currency)), Decimal(0))


def _values(goal: EventGoal, logged: list[_Logged], currency: str) -> Iterator[Decimal]:
    counted: set[tuple[str, str]] = set()
    for source in goal.event_sources or ():
        for event in logged:
            key = event.event_type, event.event_id
            fits = (event.event_source_id, event.event_type) == (source.event_source_id, source.event_type)
            if not fits or key in counted or source.custom_event_name not in (None, event.custom_event_name):
                continue
            counted.add(key)
            data = json.loads(event.custom_data, parse_float=Decimal) if event.custom_data else {}
            amount = data.get(source.value_field or "")
            if isinstance(amount, int | Decimal) and data.get("currency") == currency:
                worth = Decimal(amount) * Decimal(str(source.value_factor))
                yield -abs(worth) if source.event_type == "refund" else worth
