"""Clicks that don't count: summed up in memory, and stored as sums, so that whoever forges them fills no store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from postback.exposures.click_tokens import ClickLink
from postback.exposures.click_traffic import InvalidClickReason
from postback.store.rows import Rows

__all__ = ["INVALID_CLICKS", "InvalidClick", "InvalidClicks"]

_HOUR_SECONDS = 3600

INVALID_CLICKS: Mapping[str, str] = {
    "BOT": "They came from bots that say so.",
    "NOT_A_BROWSER": "Their User-Agent is not one of a browser.",
    "PREFETCH": "A browser loaded the page in advance. It asks again when somebody clicks.",
    "REPEATED": "They came within ten seconds of a click from the same address and browser, which counts.",
    "TOO_MANY": "They are beyond those that count from one address on one link in an hour.",
    "ACCOUNT_CLOSED": "Their account is closed, rejected or not approved.",
}
"""InvalidClickReason → why such clicks don't count."""


class InvalidClick(NamedTuple):
    """What equal clicks have in common; ``hour`` is its beginning, in seconds since the epoch."""

    account_id: str
    media_buy_id: str
    package_id: str
    hour: int
    reason: InvalidClickReason


class InvalidClicks:
    """Counts invalid clicks until they are taken to be stored. For one event loop."""

    def __init__(self) -> None:
        self._counts: Counter[InvalidClick] = Counter()

    def count(self, link: ClickLink, at: datetime, reason: InvalidClickReason) -> None:
        """Count a click on a link."""
        hour = int(at.timestamp()) // _HOUR_SECONDS * _HOUR_SECONDS
        self._counts[InvalidClick(link.account_id, link.media_buy_id, link.package_id, hour, reason)] += 1

    def take(self) -> Mapping[InvalidClick, int]:
        """What was counted since the last time."""
        taken, self._counts = self._counts, Counter()
        return taken

    def put_back(self, taken: Mapping[InvalidClick, int]) -> None:
        """Count again what could not be stored."""
        self._counts.update(taken)

    @staticmethod
    def rows(counts: Mapping[InvalidClick, int]) -> list[Rows]:
        """Counts as rows to store."""
        if not counts:
            return []
        columns = {name: [getattr(click, name) for click in counts] for name in InvalidClick._fields}
        return [Rows("invalid_click", columns | {"clicks": list(counts.values()), "place": [0] * len(counts)})]
