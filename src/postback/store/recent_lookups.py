"""What calls look up in the control store: as it was a second ago, or before the store stopped answering."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

from postback.errors import StoreUnavailable

__all__ = ["RecentLookup", "RecentLookups"]

_MOST = 10_000
_SECONDS = 1.0

_Key = TypeVar("_Key")
_Found = TypeVar("_Found")


class RecentLookup(NamedTuple, Generic[_Found]):
    """What a look-up found, which may be None, and when that was, by the monotonic clock."""

    found: _Found
    at: float


class RecentLookups(Generic[_Key, _Found]):
    """Results by key: for a second; and for longer those that found something, while the store doesn't answer.

    Thread-safe: each method touches the dictionaries once at a time.

    Args:
        outage_seconds: For how long. 0: not at all.
    """

    def __init__(self, outage_seconds: float = 0.0) -> None:
        self._outage_seconds = outage_seconds
        self._fresh: dict[_Key, RecentLookup[_Found]] = {}
        self._known: dict[_Key, RecentLookup[_Found]] = {}

    def fresh(self, key: _Key) -> RecentLookup[_Found] | None:
        """The look-up of the last second; None if there was none."""
        lookup = self._fresh.get(key)
        return lookup if lookup and monotonic() < lookup.at + _SECONDS else None

    def find(self, key: _Key, look_up: Callable[[], _Found]) -> _Found:
        """The result of the last second; else what ``look_up`` returns, or found last if the store doesn't answer.

        Raises:
            StoreUnavailable: The store doesn't answer, and it is not known what it would.
        """
        if lookup := self.fresh(key):
            return lookup.found
        try:
            found = look_up()
        except StoreUnavailable:
            known = self._known.get(key)
            if known is None or monotonic() >= known.at + self._outage_seconds:
                raise
            found = known.found
        else:
            if found:
                _put(self._known, key, found)
            else:
                self._known.pop(key, None)
        _put(self._fresh, key, found)
        return found

    def forget(self, key: _Key) -> None:
        """Look this key up again."""
        self._fresh.pop(key, None)
        self._known.pop(key, None)

    def clear(self) -> None:
        """Look everything up again."""
        self._fresh.clear()
        self._known.clear()


def _put(lookups: dict[_Key, RecentLookup[_Found]], key: _Key, found: _Found) -> None:
    if len(lookups) >= _MOST:
        lookups.clear()
    lookups[key] = RecentLookup(found, monotonic())
