"""Accounts of advertisers, and the references by which a call names one (core/account-ref.json)."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.exc import IntegrityError

from postback.errors import AccountAmbiguous, AccountNotFound, AccountRequired, InvalidRequest, StartupError
from postback.principal import Account, Principal
from postback.store.control import ControlStore
from postback.store.tables import account

__all__ = ["AccountStore", "account_from", "matching_accounts", "resolve_account"]

_ACCOUNT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")

# These are part of an account's identity too. No account here has them, so a reference that does names none of ours.
_OTHER_IDENTITY = ("operator_unit", "currency", "timezone")
_OTHER_BRAND_IDENTITY = ("brand_id", "countries")


class AccountStore:
    """The accounts that this server keeps conversions for."""

    def __init__(self, control: ControlStore) -> None:
        self._control = control

    def create(
        self,
        account_id: str,
        name: str | None = None,
        brand_domain: str | None = None,
        operator: str | None = None,
        sandbox: bool = False,
    ) -> Account:
        """Add an account. A brand without ``operator`` operates itself.

        Raises:
            StartupError: A malformed or taken account_id, or a malformed or taken brand and operator.
        """
        if not _ACCOUNT_ID.fullmatch(account_id):
            raise StartupError(
                f"{account_id!r} is not an account_id: use 1 to 128 letters, digits and '_', '.', ':' or '-', "
                "beginning with a letter or digit."
            )
        if operator and not brand_domain:
            raise StartupError("An operator acts for a brand: give the brand's domain too.")
        operator = operator or brand_domain
        for role, domain in (("brand's domain", brand_domain), ("operator", operator)):
            if domain is not None and not _DOMAIN.fullmatch(domain):
                raise StartupError(
                    f"{domain!r} is not a domain for the {role}: write it in lower case, as shop.example."
                )
        created = Account(account_id, name or account_id, brand_domain, operator, sandbox)
        self._insert(created)
        return created

    def list(self) -> list[Account]:
        """All accounts, by account_id."""
        with self._control.connect() as connection:
            return [account_from(row) for row in connection.execute(select(account).order_by(account.c.account_id))]

    def get(self, account_id: str) -> Account | None:
        """The account with this id, or None."""
        with self._control.connect() as connection:
            row = connection.execute(select(account).where(account.c.account_id == account_id)).one_or_none()
        return account_from(row) if row else None

    def _insert(self, created: Account) -> None:
        values = {field: getattr(created, field) for field in Account.__slots__} | {"created_at": int(time.time())}
        try:
            with self._control.begin() as connection:
                connection.execute(account.insert().values(values))
        except IntegrityError:
            if self.get(created.account_id):
                raise StartupError(f"The account {created.account_id!r} exists already.") from None
            raise StartupError("Another account has this brand and operator already.") from None


def account_from(row: Row[Any]) -> Account:
    """The account in a row of the table ``account``, or of a join with it."""
    return Account(row.account_id, row.name, row.brand_domain, row.operator, row.sandbox)


def resolve_account(principal: Principal, ref: object | None) -> Account:
    """The one account that a call is about.

    Args:
        principal: Who calls.
        ref: The call's ``account``: ``{"account_id"}``, or ``{"brand": {"domain"}, "operator"}`` with an optional
            ``sandbox``; None when the call names none.

    Raises:
        AccountRequired: No reference, and the key acts for several accounts.
        AccountNotFound: No such account, or somebody else's: the answers are the same.
        AccountAmbiguous: The reference fits several accounts.
        InvalidRequest: The reference is malformed.
    """
    accounts = matching_accounts(principal, ref)
    if len(accounts) == 1:
        return accounts[0]
    if not accounts:
        raise AccountNotFound("Your API key acts for no account that fits this reference.", field="account")
    if ref is None:
        raise AccountRequired("Your API key acts for several accounts, and the call names none.", field="account")
    raise AccountAmbiguous("Several accounts fit this reference.", field="account")


def matching_accounts(principal: Principal, ref: object | None) -> tuple[Account, ...]:
    """Those of the principal's accounts that a reference fits; all when there is none.

    Raises:
        InvalidRequest: The reference is malformed.
    """
    if ref is None:
        return principal.accounts
    if not isinstance(ref, Mapping):
        raise InvalidRequest('account must be an object, as {"account_id": "..."}.', field="account")
    if "account_id" in ref:
        account_id = _text(ref, "account_id", "account")
        return tuple(a for a in principal.accounts if a.account_id == account_id)
    return _by_natural_key(principal, ref)


def _by_natural_key(principal: Principal, ref: Mapping[str, object]) -> tuple[Account, ...]:
    brand = ref.get("brand")
    if not isinstance(brand, Mapping):
        raise InvalidRequest(
            'account must name an account_id, or a brand and an operator, as {"brand": {"domain": "..."}, '
            '"operator": "..."}.',
            field="account.brand" if "brand" in ref else "account",
        )
    sandbox = ref.get("sandbox", False)
    if not isinstance(sandbox, bool):
        raise InvalidRequest("account.sandbox must be true or false.", field="account.sandbox")
    key = (_text(brand, "domain", "account.brand"), _text(ref, "operator", "account"), sandbox)
    if any(name in ref for name in _OTHER_IDENTITY) or any(name in brand for name in _OTHER_BRAND_IDENTITY):
        return ()
    return tuple(a for a in principal.accounts if (a.brand_domain, a.operator, a.sandbox) == key)


def _text(members: Mapping[str, object], name: str, path: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(f"{path}.{name} must be a string.", field=f"{path}.{name}")
    return value
