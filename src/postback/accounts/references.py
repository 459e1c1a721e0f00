"""The references by which a call names an account (core/account-ref.json)."""

from __future__ import annotations

from collections.abc import Mapping

from postback.errors import AccountAmbiguous, AccountNotFound, AccountRequired, InvalidRequest
from postback.principal import Account, Principal
from postback.protocol.domains import is_domain

__all__ = ["OTHER_BRAND_IDENTITY", "OTHER_IDENTITY", "matching_accounts", "natural_key", "resolve_account"]

OTHER_IDENTITY = ("operator_unit", "currency", "timezone")
OTHER_BRAND_IDENTITY = ("brand_id", "countries")
"""Parts of an account's identity, too. No account here has them, so a reference that does names none of ours."""


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


def matching_accounts(principal: Principal, ref: object | None, at: str = "account") -> tuple[Account, ...]:
    """Those of the principal's accounts that a reference fits; all when there is none.

    Args:
        principal: Who calls.
        ref: core/account-ref.json, or None.
        at: Where it stands, for errors.

    Raises:
        InvalidRequest: The reference is malformed.
    """
    if ref is None:
        return principal.accounts
    if not isinstance(ref, Mapping):
        raise InvalidRequest(f'{at} must be an object, as {{"account_id": "..."}}.', field=at)
    if ref.get("account_id") is not None:
        account_id = ref["account_id"]
        if not isinstance(account_id, str):
            raise InvalidRequest(f"{at}.account_id must be a string.", field=f"{at}.account_id")
        return tuple(a for a in principal.accounts if a.account_id == account_id)
    key = natural_key(ref, at)
    return tuple(a for a in principal.accounts if a.natural_key == key)


def natural_key(ref: Mapping[str, object], at: str = "account") -> tuple[str, str, bool] | None:
    """The brand's domain, the operator and ``sandbox`` of a reference; None when it names more than accounts here have.

    Args:
        ref: A reference by brand and operator.
        at: Where it stands, for errors.

    Raises:
        InvalidRequest: The reference is malformed.
    """
    brand = ref.get("brand")
    if not isinstance(brand, Mapping):
        raise InvalidRequest(
            f'{at} must name an account_id, or a brand and an operator, as {{"brand": {{"domain": "..."}}, '
            '"operator": "..."}.',
            field=f"{at}.brand" if "brand" in ref else at,
        )
    sandbox = ref.get("sandbox")
    if not isinstance(sandbox, bool | None):
        raise InvalidRequest(f"{at}.sandbox must be true or false.", field=f"{at}.sandbox")
    key = (_domain(brand, "domain", f"{at}.brand"), _domain(ref, "operator", at), sandbox or False)
    others = [*map(ref.get, OTHER_IDENTITY), *map(brand.get, OTHER_BRAND_IDENTITY)]
    return key if all(other is None for other in others) else None


def _domain(members: Mapping[str, object], name: str, path: str) -> str:
    value = members.get(name)
    if not is_domain(value):
        raise InvalidRequest(
            f"{path}.{name} must be a domain in lower case, as shop.example: without a scheme, port or path, and with "
            "letters beyond a-z in their xn-- form.",
            field=f"{path}.{name}",
        )
    return value
