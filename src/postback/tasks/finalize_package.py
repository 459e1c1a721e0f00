"""POST /v1/media-buys/{media_buy_id}/packages/{package_id}/finalize: make the numbers of a package final."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from postback.auth.principal import Principal
from postback.errors import MediaBuyNotFinal, NotFound, StoreUnavailable
from postback.media_buys.media_buy import MediaBuy, Package
from postback.protocol.envelope import TIME
from postback.protocol.timestamps import rfc3339
from postback.services import Services
from postback.tasks.list_conversions import find_media_buy

__all__ = ["FinalityResponse", "finalize_package"]

_FINAL_SECONDS, _FINAL_PAUSE = 30.0, 0.2
"""How long a call waits for the server that attributes, and how long between two looks."""


class FinalityResponse(msgspec.Struct):
    """When the numbers of a package became final."""

    media_buy_id: Annotated[str, Meta(description="The media buy.")]
    package_id: Annotated[str, Meta(description="The package.")]
    finalized_at: Annotated[str, Meta(description=f"Since when: {TIME}")]
    is_final: Literal[True] = True


async def finalize_package(
    services: Services, principal: Principal, media_buy_id: str, package_id: str, account_id: str | None
) -> FinalityResponse:
    """Make a package's numbers final, once it has ended and its attribution windows with it.

    Raises:
        NotFound: No such media buy or package, or another caller's.
        MediaBuyNotFinal: It is too early.
        StoreUnavailable: A store is unavailable.
    """
    threads = services.threads
    buy = await threads.control.run(find_media_buy, services, principal, media_buy_id, account_id)
    package = _package(buy, package_id)
    if package.finalized_at is None:
        closes = _closes_at(buy, package)
        if services.clock.utc() < closes:
            raise MediaBuyNotFinal(
                f"Conversions can be attributed to the package until {rfc3339(closes)}, when its attribution window "
                "closes.",
            )
        await services.flushed([buy.account_id])
        names = buy.account_id, buy.media_buy_id, package_id
        if services.control.shared:
            through = services.shards.receipt_times.stored_through(services.shards.number(buy.account_id))
            await threads.control.run(services.media_buys.request_finality, *names, through)
        else:  # a run may be at work for long, so whoever waits for it waits where it runs
            runs = threads.attribution.of(services.shards.number(buy.account_id))
            await runs.run(services.attribution.of(buy.account_id).finalize, *names)
        package = await _finalized(services, principal, *names)
    return FinalityResponse(buy.media_buy_id, package_id, rfc3339(package.finalized_at or services.clock.utc()))


async def _finalized(
    services: Services, principal: Principal, account_id: str, media_buy_id: str, package_id: str
) -> Package:
    """A package once its numbers are final.

    Raises:
        StoreUnavailable: The server that attributes takes long; it makes them final nevertheless.
    """
    deadline = time.monotonic() + _FINAL_SECONDS
    while True:
        buy = await services.threads.control.run(find_media_buy, services, principal, media_buy_id, account_id)
        package = _package(buy, package_id)
        if package.finalized_at is not None:
            return package
        if time.monotonic() > deadline:
            raise StoreUnavailable(
                "What was received before this call is not attributed yet. The numbers become final when it is.",
                retry_after=10,
            )
        await asyncio.sleep(_FINAL_PAUSE)


def _closes_at(buy: MediaBuy, package: Package) -> datetime:
    ended = min(moment for moment in (buy.canceled_at, package.end_at, buy.end_at) if moment)
    windows = (max(goal.post_click_seconds, goal.post_view_seconds) for goal in package.goals)
    return ended + timedelta(seconds=max(windows, default=0))


def _package(buy: MediaBuy, package_id: str) -> Package:
    for package in buy.packages:
        if package.package_id == package_id:
            return package
    raise NotFound("The media buy has no package with this id.")
