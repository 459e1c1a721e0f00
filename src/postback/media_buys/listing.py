"""get_media_buys: what an account has bought, and how each buy stands."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from postback.accounts.references import matching_accounts
from postback.envelope import error_object
from postback.errors import AccountNotFound, MediaBuyNotFound
from postback.media_buys.answers import described_buy
from postback.paging import Pagination, StoredNumber, page_info, position_of
from postback.protocol.enums import MediaBuyStatus

if TYPE_CHECKING:
    from postback.principal import Account
    from postback.tasks import TaskCall

__all__ = ["GetMediaBuysRequest", "get_media_buys"]

_Ids = Annotated[list[str], Meta(min_length=1, max_length=1000)]
_Statuses = Annotated[list[MediaBuyStatus], Meta(min_length=1)]


class GetMediaBuysRequest(msgspec.Struct, frozen=True):
    """The task's own arguments (media-buy/get-media-buys-request.json).

    Attributes:
        account: core/account-ref.json; None means all accounts of the key.
        media_buy_ids: Only these; None means all.
        status_filter: A status or a list of them; None means the active ones, or any when buys are named.
        pagination: Which page.
    """

    account: Any = None
    media_buy_ids: _Ids | None = None
    status_filter: MediaBuyStatus | _Statuses | None = None
    pagination: Pagination = Pagination()

    def statuses(self) -> list[MediaBuyStatus] | None:
        """The statuses to list, None for any."""
        if self.status_filter is None:
            return None if self.media_buy_ids else ["active"]
        return self.status_filter if isinstance(self.status_filter, list) else [self.status_filter]


async def get_media_buys(call: TaskCall) -> dict[str, Any]:
    """List media buys, newest first.

    Returns:
        media-buy/get-media-buys-response.json, without the envelope. ``errors`` lists the named buys that there are
        none of, or that are somebody else's.

    Raises:
        InvalidRequest: A malformed argument.
        AccountNotFound: No account fits.
        StoreUnavailable: The control store doesn't answer.
    """
    request = call.arguments.to(GetMediaBuysRequest)
    accounts = matching_accounts(call.principal, request.account)
    if not accounts:
        raise AccountNotFound("Your API key acts for no account that fits this reference.", field="account")
    return await asyncio.to_thread(_list, call, request, accounts)


def _list(call: TaskCall, request: GetMediaBuysRequest, accounts: tuple[Account, ...]) -> dict[str, Any]:
    size = request.pagination.max_results
    account_ids = [account.account_id for account in accounts]
    after = position_of(request.pagination, tuple[StoredNumber, str, str])
    store = call.services.media_buys
    found = store.find(account_ids, request.media_buy_ids, request.statuses(), after, limit=size + 1)
    page = found[:size]
    answer: dict[str, Any] = {
        "media_buys": [described_buy(buy, call.release) for buy in page],
        "pagination": page_info(page[-1].position if len(found) > size else None),
    }
    if request.media_buy_ids and after is None:
        known = {buy.media_buy_id for buy in store.find(account_ids, request.media_buy_ids)}
        missing = [
            MediaBuyNotFound(f"media_buy_ids[{index}] names no media buy of yours.", field=f"media_buy_ids[{index}]")
            for index, media_buy_id in enumerate(request.media_buy_ids)
            if media_buy_id not in known
        ]
        if missing:
            answer["errors"] = [error_object(error, call.release) for error in missing]
    if all(account.sandbox for account in accounts):
        answer["sandbox"] = True
    return answer
