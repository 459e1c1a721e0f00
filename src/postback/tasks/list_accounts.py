"""list_accounts: the accounts that the caller acts for."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from postback.accounts.references import AccountArgument, matching_accounts
from postback.accounts.rendering import ListedAccount, account_fields
from postback.auth.principal import Account
from postback.protocol.enums import AccountStatus
from postback.protocol.pagination import PageInfo, Pagination, page_info, position_of
from postback.tasks.call import TaskCall
from postback.tasks.task import Task

__all__ = ["LIST_ACCOUNTS", "ListAccountsRequest", "ListAccountsResponse", "list_accounts"]


class ListAccountsRequest(msgspec.Struct, frozen=True):
    """The task's own arguments (account/list-accounts-request.json)."""

    account: AccountArgument = None
    status: Annotated[AccountStatus, Meta(description="Only accounts of this status.")] | None = None
    sandbox: Annotated[bool, Meta(description="True: only sandboxes. False: only the others.")] | None = None
    pagination: Annotated[Pagination, Meta(description="Which page.")] = Pagination()


class ListAccountsResponse(msgspec.Struct):
    """account/list-accounts-response.json, without the envelope."""

    accounts: Annotated[list[ListedAccount], Meta(description="By account_id.")]
    pagination: Annotated[PageInfo, Meta(description="What follows.")]


async def list_accounts(call: TaskCall) -> ListAccountsResponse:
    """List the caller's accounts, by account_id. A reference to another caller's account matches none.

    Raises:
        InvalidRequest: A malformed argument.
    """
    request = call.arguments.to(ListAccountsRequest)
    after = position_of(request.pagination, str) or ""
    matching = [
        account
        for account in matching_accounts(call.principal, request.account)
        if request.status in (None, account.status) and request.sandbox in (None, account.sandbox)
        if account.account_id > after
    ]
    page = matching[: request.pagination.max_results]
    more = len(matching) > len(page)
    return ListAccountsResponse(
        [_listed(account) for account in page], page_info(page[-1].account_id if more else None)
    )


def _listed(account: Account) -> ListedAccount:
    return ListedAccount(account_id=account.account_id, name=account.name, **account_fields(account))


LIST_ACCOUNTS = Task(
    name="list_accounts",
    title="List accounts",
    description="List the accounts that your API key acts for, with their status. Changes nothing.",
    function=list_accounts,
    request=ListAccountsRequest,
    response=ListAccountsResponse,
    example={"status": "active"},
    mutating=False,
    failure_defaults={"accounts": []},
)
