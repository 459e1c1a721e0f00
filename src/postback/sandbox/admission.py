"""Accounts on first use: in a sandbox, naming a brand and an operator creates their account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from postback.accounts.references import account_ref, natural_key, resolve_account
from postback.accounts.store import AccountStore
from postback.auth.api_keys import KeyStore
from postback.auth.principal import Account, Principal

__all__ = ["SandboxAdmission"]


class SandboxAdmission:
    """Provisions the accounts that calls name by brand and operator.

    Args:
        accounts: The accounts.
        keys: The keys, whose cache is cleared when an account is created.
    """

    def __init__(self, accounts: AccountStore, keys: KeyStore) -> None:
        self._accounts = accounts
        self._keys = keys

    def needed(self, ref: object) -> bool:
        """Whether a call's ``account`` names a brand and an operator, so that ``admit`` may have to create an account.

        Raises:
            InvalidRequest: The reference is malformed.
        """
        by_brand = isinstance(ref, Mapping) and "account_id" not in ref and "brand" in ref
        return by_brand and natural_key(account_ref(ref)) is not None

    def admit(self, principal: Principal, ref: Mapping[str, Any]) -> tuple[Principal, dict[str, Any]]:
        """Provision the account that a call names, if the caller has none with that brand and operator.

        Every account of a sandbox server is a sandbox account, whatever the reference's ``sandbox`` is.

        Returns:
            The principal with that account, and a reference that names it as a sandbox account.

        Raises:
            InvalidRequest: The reference is malformed.
            StoreUnavailable: The control store rejects the write.
        """
        account = self.account(principal, ref)
        accounts = sorted({*principal.accounts, account}, key=lambda account: account.account_id)
        return replace(principal, accounts=tuple(accounts)), {**ref, "sandbox": True}

    def account(self, principal: Principal, ref: Mapping[str, Any]) -> Account:
        """The account that a reference names; created if its brand and operator are new to the caller.

        Raises:
            InvalidRequest: The reference is malformed.
            AccountNotFound, AccountAmbiguous: The reference doesn't match exactly one account.
            StoreUnavailable: The control store rejects the write.
        """
        key = None if "account_id" in ref else natural_key(account_ref({**ref, "sandbox": True}))
        if key is None:
            return resolve_account(principal, account_ref(ref))
        domain, operator, _ = key
        existing = next((account for account in principal.accounts if account.natural_key == key), None)
        if existing:
            return existing
        new = Account("", f"{domain} by {operator}", domain, operator, sandbox=True)
        provisioned = self._accounts.provision(principal.key_id, new)
        self._keys.clear_cache()
        return provisioned
