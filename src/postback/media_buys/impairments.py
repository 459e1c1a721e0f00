"""What a media buy depends on and lacks (core/impairment.json): here, event sources that went offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.event_sources.offline import OfflineSource
from postback.event_sources.rhythms import SourceKey
from postback.media_buys.media_buy import MediaBuy, Package
from postback.protocol.envelope import TIME
from postback.protocol.json_schema import documented
from postback.protocol.timestamps import rfc3339

__all__ = ["Impairment", "impairments_of"]

_TERMINAL = frozenset(("canceled", "completed", "rejected"))


class Transition(msgspec.Struct, kw_only=True):
    """How the status of what a media buy depends on changed."""

    before: Annotated[str | UnsetType, Meta(description="The health status that it had, if it is known.")] = (
        msgspec.field(default=UNSET, name="from")
    )
    to: Annotated[Literal["insufficient"], Meta(description="The status that it has now.")] = "insufficient"


class Impairment(msgspec.Struct, kw_only=True):
    """core/impairment.json: an event source that went offline, and the packages whose goals name it."""

    impairment_id: Annotated[str, Meta(description="The same until it ends; the next one has another.")]
    resource_type: Annotated[Literal["event_source"], Meta(description="What went offline.")] = "event_source"
    resource_id: Annotated[str, Meta(description="Its event_source_id.")]
    package_ids: Annotated[list[str], Meta(min_length=1, description="The packages whose goals name it.")]
    transition: Annotated[Transition, Meta(description="How its health status changed.")]
    reason_code: Annotated[Literal["source_offline"], Meta(description="Why, for programs.")] = "source_offline"
    reason: Annotated[str, Meta(max_length=500, description="Why, in a sentence with numbers.")]
    observed_at: Annotated[str, documented(f"When it was noticed: {TIME}", format="date-time")]
    remediation: Annotated[str, Meta(max_length=500, description="What to do.")]


def impairments_of(buy: MediaBuy, offline: Mapping[SourceKey, OfflineSource]) -> list[Impairment]:
    """The impairments of a media buy, oldest first; none once it has ended.

    A goal that names several sources is impaired by each: whether the others have all its conversions isn't known.

    Args:
        buy: The media buy.
        offline: The sources that are offline.
    """
    if buy.status in _TERMINAL:
        return []
    now = datetime.now(UTC)
    running = [package for package in buy.packages if _is_running(package, now)]
    return list(_impairments(buy.account_id, running, offline))


def _impairments(
    account_id: str, packages: list[Package], offline: Mapping[SourceKey, OfflineSource]
) -> Iterator[Impairment]:
    for key, source in offline.items():
        if key.account_id != account_id:
            continue
        depending = [package.package_id for package in packages if key.event_source_id in _sources(package)]
        if depending:
            yield Impairment(
                impairment_id=source.offline_id,
                resource_id=key.event_source_id,
                package_ids=depending,
                transition=Transition(before=source.status_before or UNSET),
                reason=source.reason,
                observed_at=rfc3339(source.observed_at),
                remediation=source.remediation,
            )


def _is_running(package: Package, now: datetime) -> bool:
    return package.canceled_at is None and (package.end_at is None or package.end_at > now)


def _sources(package: Package) -> set[str]:
    return {entry.event_source_id for goal in package.event_goals for entry in goal.event_sources or ()}
