"""Statuses that the test controller forces, by changing what the status is derived from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from postback.media_buys.actions import ENDED
from postback.media_buys.media_buy import MediaBuy
from postback.protocol.enums import AccountStatus

__all__ = ["FORCED", "account_transition", "forced"]

_LATER = timedelta(days=1)
_FINAL: frozenset[AccountStatus] = frozenset(("closed", "rejected"))


def _active(buy: MediaBuy, now: datetime) -> MediaBuy:
    end = max(buy.end_at, now + _LATER)
    return msgspec.structs.replace(buy, paused=False, start_at=min(buy.start_at, now), end_at=end)


def _pending_start(buy: MediaBuy, now: datetime) -> MediaBuy:
    start = max(buy.start_at, now + _LATER)
    return msgspec.structs.replace(buy, paused=False, start_at=start, end_at=max(buy.end_at, start + _LATER))


FORCED: Mapping[str, Callable[[MediaBuy, datetime], MediaBuy]] = {
    "active": _active,
    "paused": lambda buy, now: msgspec.structs.replace(_active(buy, now), paused=True),
    "pending_start": _pending_start,
    "completed": lambda buy, now: msgspec.structs.replace(buy, start_at=min(buy.start_at, now), end_at=now),
    "canceled": lambda buy, now: msgspec.structs.replace(buy, canceled_at=now),
}
"""Status → the change that leads to it. AdCP's other statuses don't occur: buys need no creatives or approval."""


def forced(buy: MediaBuy, status: str) -> MediaBuy | None:
    """The buy with this status; None if its current status doesn't allow the change."""
    if buy.status == status:
        return buy
    if buy.status in ENDED:
        return None
    changed = FORCED[status](buy, datetime.now(UTC).replace(microsecond=0))
    return msgspec.structs.replace(changed, revision=buy.revision + 1)


def account_transition(before: AccountStatus, after: AccountStatus) -> bool:
    """Whether an account can change from one status to another."""
    return before == after or before not in _FINAL
