"""get_media_buys: the media buys of an account, with their status."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.accounts.references import AccountArgument, matching_accounts
from postback.auth.principal import Account
from postback.errors import AccountNotFound, MediaBuyNotFound
from postback.event_sources.offline import offline_sources
from postback.media_buys.media_buy import missing_media_buys
from postback.media_buys.rendering import ListedMediaBuy, listed
from postback.protocol.enums import MediaBuyStatus
from postback.protocol.envelope import ErrorObject, error_object
from postback.protocol.pagination import PageInfo, Pagination, StoredNumber, page_info, position_of
from postback.tasks.call import Payload, TaskCall
from postback.tasks.task import Task

__all__ = ["GET_MEDIA_BUYS", "GetMediaBuysRequest", "GetMediaBuysResponse", "get_media_buys"]


class GetMediaBuysRequest(msgspec.Struct, frozen=True):
    """The task's own arguments (media-buy/get-media-buys-request.json)."""

    account: AccountArgument = None
    media_buy_ids: Annotated[list[str], Meta(min_length=1, max_length=1000, description="Only these.")] | None = None
    status_filter: Annotated[
        MediaBuyStatus | Annotated[list[MediaBuyStatus], Meta(min_length=1)] | None,
        Meta(description="A status or several. Without media_buy_ids the default is active."),
    ] = None
    pagination: Annotated[Pagination, Meta(description="Which page.")] = Pagination()

    def statuses(self) -> list[MediaBuyStatus] | None:
        """The statuses to list, None for any."""
        if self.status_filter is None:
            return None if self.media_buy_ids else ["active"]
        return self.status_filter if isinstance(self.status_filter, list) else [self.status_filter]


class GetMediaBuysResponse(msgspec.Struct, kw_only=True):
    """media-buy/get-media-buys-response.json, without the envelope."""

    media_buys: Annotated[list[ListedMediaBuy], Meta(description="Newest first.")]
    pagination: Annotated[PageInfo, Meta(description="What follows.")]
    errors: Annotated[
        list[ErrorObject] | UnsetType,
        Meta(description="One for each of media_buy_ids that does not name one of your media buys."),
    ] = UNSET
    sandbox: Annotated[bool | UnsetType, Meta(description="True: the accounts are sandboxes.")] = UNSET


async def get_media_buys(call: TaskCall) -> Payload:
    """List media buys, newest first.

    Returns:
        A GetMediaBuysResponse. ``errors`` lists the requested media buys that don't exist or are another caller's.

    Raises:
        InvalidRequest: An argument is malformed.
        AccountNotFound: No account matches.
        StoreUnavailable: The control store is unavailable.
    """
    request = call.arguments.to(GetMediaBuysRequest)
    accounts = matching_accounts(call.principal, request.account)
    if not accounts:
        raise AccountNotFound("No account of your API key matches this reference.", field="account")
    return await call.services.threads.control.run(_list, call, request, accounts)


def _list(call: TaskCall, request: GetMediaBuysRequest, accounts: tuple[Account, ...]) -> GetMediaBuysResponse:
    size = request.pagination.max_results
    account_ids = [account.account_id for account in accounts]
    after = position_of(request.pagination, tuple[StoredNumber, str, str])
    store = call.services.media_buys
    found = store.find(account_ids, request.media_buy_ids, request.statuses(), after, limit=size + 1)
    page = found[:size]
    services = call.services
    offline = offline_sources(services.signals, services.sources, account_ids)
    missing: list[MediaBuyNotFound] = []
    if request.media_buy_ids and after is None:
        known = {buy.media_buy_id for buy in store.find(account_ids, request.media_buy_ids)}
        missing = missing_media_buys(request.media_buy_ids, known)
    return GetMediaBuysResponse(
        media_buys=[listed(buy, call.release, offline) for buy in page],
        pagination=page_info(page[-1].position if len(found) > size else None),
        errors=[error_object(error, call.release) for error in missing] or UNSET,
        sandbox=all(account.sandbox for account in accounts) or UNSET,
    )


GET_MEDIA_BUYS = Task(
    name="get_media_buys",
    title="Get media buys",
    description=(
        "List media buys with their status, packages and goals, newest first: the active ones, unless status_filter or "
        "media_buy_ids ask for others. Changes nothing."
    ),
    function=get_media_buys,
    request=GetMediaBuysRequest,
    response=GetMediaBuysResponse,
    example={"status_filter": ["active", "pending_start"]},
    mutating=False,
    failure_defaults={"media_buys": []},
)
