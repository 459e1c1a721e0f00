"""list_accounts: the accounts that the caller acts for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from postback.accounts.answers import shown_account
from postback.accounts.references import matching_accounts
from postback.paging import Pagination, page_info, position_of
from postback.protocol.enums import AccountStatus

if TYPE_CHECKING:
    from postback.tasks import TaskCall

__all__ = ["ListAccountsRequest", "list_accounts"]


class ListAccountsRequest(msgspec.Struct, frozen=True):
    """The task's own arguments (account/list-accounts-request.json).

    Attributes:
        account: Only the account that this core/account-ref.json names; None means all.
        status: Only those of this status; None means any.
        sandbox: Only sandboxes, or only others; None means both.
        pagination: Which page.
    """

    account: Any = None
    status: AccountStatus | None = None
    sandbox: bool | None = None
    pagination: Pagination = Pagination()


async def list_accounts(call: TaskCall) -> dict[str, Any]:
    """List the caller's accounts, by account_id. A reference to somebody else's finds none.

    Returns:
        account/list-accounts-response.json, without the envelope.

    Raises:
        InvalidRequest: A malformed argument.
    """
    request = call.arguments.to(ListAccountsRequest)
    after = position_of(request.pagination, str) or ""
    fitting = [
        account
        for account in matching_accounts(call.principal, request.account)
        if request.status in (None, account.status) and request.sandbox in (None, account.sandbox)
        if account.account_id > after
    ]
    page = fitting[: request.pagination.max_results]
    more = len(fitting) > len(page)
    return {
        "accounts": [shown_account(account) for account in page],
        "pagination": page_info(page[-1].account_id if more else None),
    }
