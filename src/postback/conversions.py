"""The conversions of a media buy, one by one, each with the exposure that it goes to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from postback.accounts.references import matching_accounts
from postback.attribution.explain import StoredOutcome, shown_outcome
from postback.errors import InvalidRequest, MediaBuyNotFinal, NotFound
from postback.media_buys.buys import MediaBuy, Package
from postback.paging import Pagination, StoredNumber, page_info, position_of
from postback.principal import Principal
from postback.services import Services
from postback.times import rfc3339

__all__ = ["finalize_package", "media_buy_conversions"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Size = Annotated[int, Meta(ge=1, le=1000)]


def media_buy_conversions(
    services: Services, principal: Principal, media_buy_id: str, query: dict[str, str]
) -> dict[str, Any]:
    """The events that are attributed to a media buy, newest first. Reads both stores, so call it in a thread.

    Args:
        services: The opened resources.
        principal: Who asks; only its accounts are searched.
        media_buy_id: The media buy.
        query: ``account_id``, ``max_results`` (1 to 1,000, by default 100) and ``cursor``, all optional.

    Raises:
        NotFound: No such media buy, or somebody else's.
        InvalidRequest: A malformed parameter.
        StoreUnavailable: A store doesn't answer.
    """
    buy = _find(services, principal, media_buy_id, query.get("account_id"))
    size = _size(query.get("max_results"))
    cursor = Pagination(cursor=query.get("cursor"))
    after = position_of(cursor, tuple[StoredNumber, str, str, str])
    event_time, event_type, event_id, event_source_id = after or (0, "", "", "")
    rows = services.events.query(
        "conversions",
        account_id=buy.account_id,
        media_buy_id=buy.media_buy_id,
        first=after is None,
        event_time=event_time,
        event_type=event_type,
        event_id=event_id,
        event_source_id=event_source_id,
        most=size + 1,
    )
    complete = services.attribution.complete_through
    page = rows[:size]
    last = page[-1] if len(rows) > size else None
    return {
        "media_buy_id": buy.media_buy_id,
        "currency": buy.currency,
        "complete_through": complete and rfc3339(complete),
        "conversions": [_conversion(buy.media_buy_id, *row) for row in page],
        "pagination": page_info(last and ((last[3] - _EPOCH) // timedelta(microseconds=1), last[1], last[2], last[0])),
    }


def finalize_package(
    services: Services, principal: Principal, media_buy_id: str, package_id: str, account_id: str | None
) -> dict[str, Any]:
    """Make a package's numbers final, once it has ended and its attribution windows with it.

    Raises:
        NotFound: No such media buy or package, or somebody else's.
        MediaBuyNotFinal: It is too early.
        StoreUnavailable: A store doesn't answer.
    """
    buy = _find(services, principal, media_buy_id, account_id)
    package = _package(buy, package_id)
    if package.finalized_at is None:
        closes = _closes_at(buy, package)
        if datetime.now(UTC) < closes:
            raise MediaBuyNotFinal(
                f"Conversions may still be attributed to the package until {rfc3339(closes)}, when its attribution "
                "window has passed.",
            )
        services.attribution.finalize(buy.account_id, buy.media_buy_id, package_id)
        package = _package(_find(services, principal, media_buy_id, buy.account_id), package_id)
    return {
        "media_buy_id": buy.media_buy_id,
        "package_id": package_id,
        "is_final": True,
        "finalized_at": package.finalized_at and rfc3339(package.finalized_at),
    }


def _closes_at(buy: MediaBuy, package: Package) -> datetime:
    ended = min(moment for moment in (buy.canceled_at, package.end_at, buy.end_at) if moment)
    windows = (max(goal.post_click_seconds, goal.post_view_seconds) for goal in package.goals)
    return ended + timedelta(seconds=max(windows, default=0))


def _find(services: Services, principal: Principal, media_buy_id: str, account_id: str | None) -> MediaBuy:
    accounts = matching_accounts(principal, {"account_id": account_id} if account_id else None)
    found = services.media_buys.find([account.account_id for account in accounts], [media_buy_id])
    if not found:
        raise NotFound("There is no media buy of this id among yours.")
    if len(found) > 1:
        raise InvalidRequest(
            "Several of your accounts have a media buy of this id; add account_id.", field="account_id"
        )
    return found[0]


def _package(buy: MediaBuy, package_id: str) -> Package:
    for package in buy.packages:
        if package.package_id == package_id:
            return package
    raise NotFound("The media buy has no package of this id.")


def _size(text: str | None) -> int:
    try:
        return msgspec.convert(text or "100", _Size, strict=False)
    except msgspec.ValidationError:
        raise InvalidRequest("max_results must be a whole number from 1 to 1,000.", field="max_results") from None


def _conversion(
    media_buy_id: str,
    event_source_id: str,
    event_type: str,
    event_id: str,
    event_time: datetime,
    action_source: str,
    run_id: int,
    *outcome: Any,
) -> dict[str, Any]:
    return {
        "event_source_id": event_source_id,
        "event_type": event_type,
        "event_id": event_id,
        "event_time": rfc3339(event_time),
        **({"action_source": action_source} if action_source else {}),
        "attribution": shown_outcome(StoredOutcome(run_id, media_buy_id, *outcome), event_time),
    }
