"""Which clicks on click links count: not those that the Media Rating Council calls general invalid traffic.

Of that, a server sees bots that say so, programs that aren't browsers, pages that are prefetched, and addresses that
click too often. It doesn't know the addresses of data centres, and doesn't find traffic that imitates people well.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

from crawleruseragents import is_crawler

from postback.exposures.click_tokens import ClickLink

__all__ = ["REPEAT_SECONDS", "InvalidClickReason", "Visitor", "VisitorClicks", "no_person", "visitor_of"]

InvalidClickReason = Literal["ACCOUNT_CLOSED", "BOT", "NOT_A_BROWSER", "PREFETCH", "REPEATED", "TOO_MANY"]

REPEAT_SECONDS = 10
"""Within so long the same browser's next click on a link is a double click, a reload or a retry."""

_HOUR_SECONDS = 3600
_MOST_REMEMBERED = 50_000
"""Visitors in memory, so that strangers can't fill it. Beyond that the oldest are forgotten, and count anew."""

_LONGEST_USER_AGENT = 512
_BROWSERS = ("Mozilla/", "Opera/")
"""How the User-Agent of every browser begins, and of every web view in an app."""

_PREFETCH_HEADERS = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_PREFETCH_PURPOSES = ("prefetch", "prerender", "preview")


class Visitor(NamedTuple):
    """Who follows a link, as far as the request tells.

    Attributes:
        address: The visitor's address.
        user_agent: The User-Agent header, or empty.
        prefetches: Whether a browser loads the page in advance: nobody has clicked.
    """

    address: str
    user_agent: str
    prefetches: bool


def visitor_of(address: str, headers: Mapping[str, str]) -> Visitor:
    """The visitor in the headers of a request, by their names in lower case."""
    purposes = [headers.get(name, "").lower() for name in _PREFETCH_HEADERS]
    prefetches = any(word in purpose for purpose in purposes for word in _PREFETCH_PURPOSES)
    return Visitor(address, headers.get("user-agent", ""), prefetches)


class VisitorClicks:
    """Decides for each click whether it is a person's, from the visitor and the visitor's earlier clicks.

    It remembers no address: only hashes, whose key Python draws at random for each process, for an hour at most.

    Args:
        per_hour: How many clicks from one address on one link count in an hour. 0: all, repeated ones included.
        now: The time in seconds, of a clock that never goes back.
    """

    def __init__(self, per_hour: int, now: Callable[[], float] = time.monotonic) -> None:
        self._per_hour = per_hour
        self._now = now
        self._hour_began = now()
        self._counts: dict[int, int] = {}
        self._last: OrderedDict[int, tuple[float, str]] = OrderedDict()
        is_crawler("")  # compiles the patterns, which would hold up the first visitor

    def click(self, link: ClickLink, visitor: Visitor, click_id: str) -> tuple[str, InvalidClickReason | None]:
        """Count a click if it is valid.

        Args:
            link: What the link's token says, which may have several tokens: another secret makes another one.
            visitor: Who follows it.
            click_id: An id for the click.

        Returns:
            The click id for the page, and why the click doesn't count, or None. A repeated click has the id of the
            first one: of a double click, a browser shows the page that the second one leads to.
        """
        if reason := no_person(visitor):
            return click_id, reason
        if not self._per_hour:
            return click_id, None
        now = self._now()
        self._forget(now)
        browser, sender = hash((link, *visitor)), hash((link, visitor.address))
        if browser in self._last:
            return self._last[browser][1], "REPEATED"
        if (count := self._counts.get(sender, 0)) >= self._per_hour:
            return click_id, "TOO_MANY"
        self._last[browser] = now, click_id
        self._counts[sender] = count + 1
        return click_id, None

    def _forget(self, now: float) -> None:
        if now - self._hour_began >= _HOUR_SECONDS or len(self._counts) >= _MOST_REMEMBERED:
            self._counts.clear()
            self._hour_began = now
        while self._last:  # the oldest is the first, as each click is added at the end
            oldest = next(iter(self._last))
            if now - self._last[oldest][0] < REPEAT_SECONDS and len(self._last) < _MOST_REMEMBERED:
                break
            del self._last[oldest]


def no_person(visitor: Visitor) -> InvalidClickReason | None:
    """Why a visitor is no person: PREFETCH, BOT or NOT_A_BROWSER; None for one who may be."""
    return "PREFETCH" if visitor.prefetches else _program(visitor.user_agent[: _LONGEST_USER_AGENT + 1])


@lru_cache(maxsize=2_000)
def _program(user_agent: str) -> InvalidClickReason | None:
    """Why a User-Agent isn't a person's browser, or None."""
    if len(user_agent) <= _LONGEST_USER_AGENT and is_crawler(user_agent):
        return "BOT"
    fits = len(user_agent) <= _LONGEST_USER_AGENT and user_agent.startswith(_BROWSERS)
    return None if fits else "NOT_A_BROWSER"
