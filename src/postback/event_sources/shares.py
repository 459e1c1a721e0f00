"""Whether a source's share of rejected events, or of attributed ones, has changed for the worse."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from postback.event_sources.rhythms import Counts, SourceRhythm

__all__ = ["SHARES", "Share", "ShareKind", "share_of", "share_of_day"]

ShareKind = Literal["failure_rate", "match_rate"]
SHARES: tuple[ShareKind, ...] = ("failure_rate", "match_rate")

_LEAST_NOW = 50
_LEAST_USUAL = 200
_LEAST_TO_RECOVER = 20
"""Events without which a share says too little: now, usually, and to take back that it changed."""

_DEVIATIONS = 6.0
"""A share differs when chance alone doesn't move it by so many standard deviations."""

_POINTS = 0.05
"""A difference that matters, of the share of rejected events; of attributed ones it is half of what is usual."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share of the events that arrived lately, beside what is usual.

    Attributes:
        kind: Of rejected events, or of attributed ones among those that a goal names.
        now: The share lately.
        events: Of how many.
        usual: The share that is usual.
        changed: Whether it is worse than chance can explain.
    """

    kind: ShareKind
    now: float
    events: int
    usual: float
    changed: bool

    @property
    def sentence(self) -> str:
        """The same for people."""
        what = "were rejected" if self.kind == "failure_rate" else "were attributed to an exposure at once"
        return f"{self.now:.0%} of the last {self.events:,} events {what}; {self.usual:.0%} are usual."


def share_of(kind: ShareKind, rhythm: SourceRhythm, *, changed: bool = False) -> Share | None:
    """A share lately, beside what is usual; None while too few events are known.

    It is that of this hour, and of the one before while this one has few events. What is usual is that of this hour of
    the week, or of all hours while few weeks are known.

    Args:
        kind: Which share.
        rhythm: What is stored about the source.
        changed: Whether it had changed when it was last looked at. Then it stays so until half the way back is gone.
    """
    lately, usual = _of(kind, rhythm.this_hour), _of(kind, rhythm.usual_counts)
    if lately.events < _LEAST_NOW:
        lately = _of(kind, rhythm.this_hour + rhythm.hour_before)
    if usual.events < _LEAST_USUAL:
        usual = _of(kind, rhythm.all_counts)
    return _compared(kind, lately, usual, changed=changed)


def share_of_day(kind: ShareKind, rhythm: SourceRhythm) -> Share | None:
    """A share of the last day, beside that of all hours; None while too few events are known.

    It tells whether a share that had changed is back, where two hours have too few events for that.
    """
    return _compared(kind, _of(kind, rhythm.day), _of(kind, rhythm.all_counts), changed=True)


class _Hits(NamedTuple):
    hits: int
    events: int


def _compared(kind: ShareKind, lately: _Hits, usually: _Hits, *, changed: bool) -> Share | None:
    if usually.events < _LEAST_USUAL or lately.events < (_LEAST_TO_RECOVER if changed else _LEAST_NOW):
        return None
    now, usual = lately.hits / lately.events, (usually.hits + 0.5) / (usually.events + 1)
    worse = now - usual if kind == "failure_rate" else usual - now
    deviation = math.sqrt(usual * (1 - usual) * (1 / lately.events + 1 / usually.events))
    matters = _POINTS if kind == "failure_rate" else usual / 2
    needed = max(matters, _DEVIATIONS * deviation)
    return Share(kind, now, lately.events, usual, worse > (needed / 2 if changed else needed))


def _of(kind: ShareKind, counts: Counts) -> _Hits:
    if kind == "failure_rate":
        return _Hits(counts.rejected, counts.events)
    return _Hits(counts.attributed, counts.outcomes)
