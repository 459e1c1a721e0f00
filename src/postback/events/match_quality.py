"""match_quality, version mq1: how likely the events of a batch are to be matched to an exposure, before any is.

Each kind of identifier has a prior p, the chance that it alone leads to the person; independent identifiers combine
as s = 1 - Π(1 - p). A batch's quality is the mean s of its accepted events; an event without user_match counts 0. The
priors follow the order of strength on the specification's page: hashed e-mail and phone, universal IDs, click ids, IP
with user agent. It is a forecast; what was matched is a source's ``match_rate``.
"""

from __future__ import annotations

from functools import lru_cache

from postback.events.identifier_kinds import KINDS

__all__ = ["PRIORS", "QUALITY_VERSION", "batch_quality", "event_quality"]

QUALITY_VERSION = "mq1"

PRIORS: dict[str, float] = {
    "hashed_email": 0.80,
    "hashed_phone": 0.75,
    "uid": 0.70,
    "click_id": 0.60,
    "client_ip+client_user_agent": 0.25,
}

_CHANCE_TO_MISS = {number: 1.0 - PRIORS[kind.partition(":")[0]] for number, kind in KINDS.items()}


@lru_cache(maxsize=4_096)
def event_quality(kinds: bytes) -> float:
    """The quality of an event with usable identifiers of these kinds, by their numbers; 0 without any."""
    missed = 1.0
    for kind in kinds:
        missed *= _CHANCE_TO_MISS[kind]
    return 1.0 - missed


def batch_quality(qualities: list[float]) -> float | None:
    """The mean quality of a batch's accepted events, to 3 decimals; None when none was accepted."""
    return round(sum(qualities) / len(qualities), 3) if qualities else None
