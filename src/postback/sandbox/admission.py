"""Accounts on first use: whoever names a brand and an operator in a sandbox has an account of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from postback.accounts.references import natural_key
from postback.arguments import Arguments
from postback.principal import Account, Principal

if TYPE_CHECKING:
    from postback.services import Services

__all__ = ["admit"]


async def admit(services: Services, principal: Principal, arguments: Arguments) -> Principal:
    """Provision the account that a call names by brand and operator, if the caller has none of them.

    Every account of a sandbox is one, whatever the reference says of it.

    Returns:
        The principal, with that account.

    Raises:
        InvalidRequest: A malformed reference.
        StoreUnavailable: The control store doesn't take it.
    """
    ref = arguments.value("account")
    if not isinstance(ref, Mapping) or "account_id" in ref or "brand" not in ref:
        return principal
    key = natural_key(ref)
    if key is None:
        return principal
    arguments.members["account"] = msgspec.Raw(msgspec.json.encode({**ref, "sandbox": True}))
    domain, operator, _ = key
    if any(account.natural_key == (domain, operator, True) for account in principal.accounts):
        return principal
    wanted = Account("", f"{domain} by {operator}", domain, operator, sandbox=True)
    made = await asyncio.to_thread(services.accounts.provision, principal.key_id, wanted)
    services.keys.forget()
    accounts = sorted({*principal.accounts, made}, key=lambda account: account.account_id)
    return replace(principal, accounts=tuple(accounts))
