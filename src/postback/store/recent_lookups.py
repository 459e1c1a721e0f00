"""What look-ups in the control store found within the last second, for what every call looks up."""

from __future__ import annotations

from collections.abc import Hashable
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

__all__ = ["RecentLookup", "RecentLookups"]

_SECONDS = 1.0
_MOST = 10_000

_Found = TypeVar("_Found")


class RecentLookup(NamedTuple, Generic[_Found]):
    """What a look-up found, which may be None, and until when that is good, by the monotonic clock."""

    found: _Found
    good_until: float


class RecentLookups(Generic[_Found]):
    """What was found, by what was looked up. Thread-safe: each method touches the dictionary once at a time."""

    def __init__(self) -> None:
        self._lookups: dict[Hashable, RecentLookup[_Found]] = {}

    def get(self, key: Hashable) -> RecentLookup[_Found] | None:
        """The look-up of this key; None if there was none within the last second."""
        lookup = self._lookups.get(key)
        return lookup if lookup and monotonic() < lookup.good_until else None

    def put(self, key: Hashable, found: _Found) -> _Found:
        """Keep what was found for a second, and return it."""
        if len(self._lookups) >= _MOST:
            self._lookups.clear()
        self._lookups[key] = RecentLookup(found, monotonic() + _SECONDS)
        return found

    def forget(self, key: Hashable) -> None:
        """Look this key up again."""
        self._lookups.pop(key, None)

    def clear(self) -> None:
        """Look everything up again."""
        self._lookups.clear()
