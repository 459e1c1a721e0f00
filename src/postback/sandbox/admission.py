"""Accounts on first use: whoever names a brand and an operator in a sandbox has an account of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from postback.accounts.references import natural_key, resolve_account
from postback.arguments import Arguments
from postback.principal import Account, Principal

if TYPE_CHECKING:
    from postback.services import Services

__all__ = ["admit", "named_account"]


async def admit(services: Services, principal: Principal, arguments: Arguments) -> tuple[Principal, Arguments]:
    """Provision the account that a call names by brand and operator, if the caller has none of them.

    Every account of a sandbox is one, whatever the reference says of it.

    Returns:
        The principal, with that account, and the arguments, which name it as a sandbox.

    Raises:
        InvalidRequest: A malformed reference.
        StoreUnavailable: The control store doesn't take it.
    """
    ref = arguments.value("account")
    if not isinstance(ref, Mapping) or "account_id" in ref or "brand" not in ref or natural_key(ref) is None:
        return principal, arguments
    account = await asyncio.to_thread(named_account, services, principal, ref)
    accounts = sorted({*principal.accounts, account}, key=lambda account: account.account_id)
    return replace(principal, accounts=tuple(accounts)), arguments.replaced(account={**ref, "sandbox": True})


def named_account(services: Services, principal: Principal, ref: Mapping[str, Any]) -> Account:
    """The account that a reference names; made if it is one by brand and operator of which the caller has none.

    Raises:
        InvalidRequest: A malformed reference.
        AccountNotFound, AccountAmbiguous: No single account fits.
        StoreUnavailable: The control store doesn't take it.
    """
    key = None if "account_id" in ref else natural_key({**ref, "sandbox": True})
    if key is None:
        return resolve_account(principal, ref)
    domain, operator, _ = key
    known = next((account for account in principal.accounts if account.natural_key == key), None)
    if known:
        return known
    wanted = Account("", f"{domain} by {operator}", domain, operator, sandbox=True)
    made = services.accounts.provision(principal.key_id, wanted)
    services.keys.forget()
    return made
