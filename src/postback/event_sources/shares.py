"""Whether a source's share of rejected events, or of attributed ones, has changed for the worse."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from postback.event_sources.rhythms import Counts, SourceRhythm

__all__ = ["SHARES", "Share", "ShareKind", "share_of"]

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
        now: The share lately: of this hour, and of the one before while this one has few events.
        events: Of how many.
        usual: The share in this hour of the week; in all hours while few weeks are known.
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
    """A share beside what is usual; None while too few events are known.

    Args:
        kind: Which share.
        rhythm: What is stored about the source.
        changed: Whether it had changed when it was last looked at. Then it stays so until half the way back is gone.
    """
    hits, events = _of(kind, rhythm.this_hour)
    if events < _LEAST_NOW:
        hits, events = _of(kind, rhythm.this_hour + rhythm.hour_before)
    usual_hits, usual_events = _of(kind, rhythm.usual_counts)
    if usual_events < _LEAST_USUAL:
        usual_hits, usual_events = _of(kind, rhythm.all_counts)
    if usual_events < _LEAST_USUAL or events < (_LEAST_TO_RECOVER if changed else _LEAST_NOW):
        return None
    now, usual = hits / events, (usual_hits + 0.5) / (usual_events + 1)
    worse = now - usual if kind == "failure_rate" else usual - now
    deviation = math.sqrt(usual * (1 - usual) * (1 / events + 1 / usual_events))
    matters = _POINTS if kind == "failure_rate" else usual / 2
    needed = max(matters, _DEVIATIONS * deviation)
    return Share(kind, now, events, usual, worse > (needed / 2 if changed else needed))


def _of(kind: ShareKind, counts: Counts) -> tuple[int, int]:
    return counts[:2] if kind == "failure_rate" else counts[2:]
