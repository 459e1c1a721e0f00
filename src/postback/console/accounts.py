"""The page of the accounts, where the operator approves those that buyers asked for."""

from __future__ import annotations

from typing import get_args

import msgspec
from starlette.datastructures import ImmutableMultiDict

from postback.auth.principal import Account
from postback.console.page import Action, Page, Visit
from postback.console.server import SERVER
from postback.errors import InvalidRequest
from postback.protocol.enums import AccountStatus

__all__ = ["PAGES"]

_PATH = f"{SERVER}/accounts"
_MOST = 500


class ShownAccount(msgspec.Struct, frozen=True):
    """An account.

    Attributes:
        asked_for_by: The key_id of the API key whose buyer asked for it; None if the operator made it, and for buyers.
        awaits_approval: Whether the operator has not decided about it yet.
    """

    account_id: str
    name: str
    brand_domain: str | None
    operator: str | None
    status: AccountStatus
    sandbox: bool
    asked_for_by: str | None
    awaits_approval: bool


class ShownAccounts(msgspec.Struct, frozen=True):
    """What the page shows.

    Attributes:
        pending: Those that await approval.
        accounts: The others, at most 500.
        total: How many others there are.
        statuses: What the operator may set an account to.
    """

    pending: tuple[ShownAccount, ...]
    accounts: tuple[ShownAccount, ...]
    total: int
    statuses: tuple[str, ...]


async def _accounts(visit: Visit) -> ShownAccounts:
    services = visit.services
    asked = await services.threads.control.run(services.accounts.provisioned_by) if visit.seller else {}
    shown = [_shown(account, asked.get(account.account_id)) for account in visit.principal.accounts]
    decided = [account for account in shown if not account.awaits_approval]
    return ShownAccounts(
        pending=tuple(account for account in shown if account.awaits_approval),
        accounts=tuple(decided[:_MOST]),
        total=len(decided),
        statuses=get_args(AccountStatus) if visit.seller else (),
    )


def _shown(account: Account, asked_for_by: str | None) -> ShownAccount:
    return ShownAccount(
        account_id=account.account_id,
        name=account.name,
        brand_domain=account.brand_domain,
        operator=account.operator,
        status=account.status,
        sandbox=account.sandbox,
        asked_for_by=asked_for_by,
        awaits_approval=account.awaits_approval,
    )


async def _set_status(visit: Visit, form: ImmutableMultiDict[str, str]) -> str:
    status = form.get("status", "")
    if status not in get_args(AccountStatus):
        raise InvalidRequest(f"status must be one of {', '.join(get_args(AccountStatus))}.", field="status")
    services = visit.services
    await services.threads.control.run(services.accounts.update, form.get("account_id", ""), status=status)
    services.keys.clear_cache()
    return _PATH


PAGES = (
    Page(_PATH, "Accounts", "accounts.html", _accounts, below=SERVER),
    Action(f"{_PATH}/status", _set_status),
)
