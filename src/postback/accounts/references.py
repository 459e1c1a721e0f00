"""Account references: how a call names an account (core/account-ref.json)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from postback.auth.principal import Account, Principal
from postback.errors import AccountAmbiguous, AccountNotFound, AccountRequired, InvalidRequest
from postback.protocol.domains import DOMAIN, MAX_DOMAIN_LENGTH, is_domain
from postback.protocol.json_schema import UNPUBLISHED
from postback.protocol.type_errors import describe_validation_error

__all__ = [
    "OTHER_IDENTITY",
    "AccountArgument",
    "AccountRef",
    "BrandArgument",
    "BrandRef",
    "account_ref",
    "domain",
    "matching_accounts",
    "natural_key",
    "resolve_account",
]

OTHER_IDENTITY = ("operator_unit", "currency", "timezone")
"""Further identity fields of AdCP. Our accounts have none of them, so a reference with one matches no account."""


def domain(description: str) -> Meta:
    """The ``Meta`` of a domain, which ``natural_key`` checks, so that the error says what to send instead."""
    pattern = {"pattern": f"^{DOMAIN}$", "maxLength": MAX_DOMAIN_LENGTH}
    return Meta(description=description, extra_json_schema=pattern)


class BrandRef(msgspec.Struct, frozen=True):
    """core/brand-ref.json, as far as it identifies an account."""

    domain: Annotated[str, domain("Domain of the brand.")] | None = None
    brand_id: Annotated[Any, UNPUBLISHED] = None
    countries: Annotated[Any, UNPUBLISHED] = None


BrandArgument = Annotated[
    BrandRef | None, Meta(description="The brand that is advertised.", extra_json_schema={"required": ["domain"]})
]


class AccountRef(msgspec.Struct, frozen=True):
    """core/account-ref.json: an ``account_id``, or a brand and an operator."""

    account_id: Annotated[str, Meta(description="The seller's identifier of the account.")] | None = None
    brand: BrandArgument = None
    operator: Annotated[str, domain("Domain of whoever acts for the brand.")] | None = None
    sandbox: (
        Annotated[bool, Meta(description="Whether it is the sandbox account of this brand and operator.")] | None
    ) = None
    operator_unit: Annotated[Any, UNPUBLISHED] = None
    currency: Annotated[Any, UNPUBLISHED] = None
    timezone: Annotated[Any, UNPUBLISHED] = None


AccountArgument = Annotated[
    AccountRef | None,
    Meta(
        description="The account, when the API key acts for several: an account_id, or a brand and an operator.",
        extra_json_schema={"allOf": [{"anyOf": [{"required": ["account_id"]}, {"required": ["brand", "operator"]}]}]},
    ),
]
"""The field ``account`` of a request."""


def account_ref(value: object, at: str = "account") -> AccountRef:
    """A reference in JSON, as a struct.

    Args:
        value: The JSON, parsed.
        at: Its path in the request, for errors.

    Raises:
        InvalidRequest: It is not an object, or a field of it has the wrong type.
    """
    if not isinstance(value, Mapping):
        raise InvalidRequest(f'{at} must be an object, for example {{"account_id": "..."}}.', field=at)
    try:
        return msgspec.convert(value, AccountRef)
    except msgspec.ValidationError as error:
        path, wrong = describe_validation_error(str(error))
        raise InvalidRequest(f"{at}{path} {wrong}.", field=f"{at}{path}") from None


def resolve_account(principal: Principal, ref: AccountRef | None) -> Account:
    """The account that a call is for.

    Args:
        principal: The caller.
        ref: The call's ``account``; None when the call has none.

    Raises:
        AccountRequired: No reference, and the key acts for several accounts.
        AccountNotFound: No such account, or another caller's; the two are indistinguishable.
        AccountAmbiguous: The reference matches several accounts.
        InvalidRequest: The reference is malformed.
    """
    accounts = matching_accounts(principal, ref)
    if len(accounts) == 1:
        return accounts[0]
    if not accounts:
        raise AccountNotFound("No account of your API key matches this reference.", field="account")
    if ref is None:
        raise AccountRequired("Your API key acts for several accounts. The call must name one.", field="account")
    raise AccountAmbiguous("This reference matches several of your accounts.", field="account")


def matching_accounts(principal: Principal, ref: AccountRef | None, at: str = "account") -> tuple[Account, ...]:
    """The principal's accounts that a reference matches; all of them without a reference.

    A brand and an operator name an account that the seller has approved, if there is one.

    Args:
        principal: The caller.
        ref: The reference, or None.
        at: Its path in the request, for errors.

    Raises:
        InvalidRequest: The reference is malformed.
    """
    if ref is None:
        return principal.accounts
    if ref.account_id is not None:
        return tuple(a for a in principal.accounts if a.account_id == ref.account_id)
    key = natural_key(ref, at)
    found = tuple(a for a in principal.accounts if a.natural_key == key)
    return tuple(a for a in found if a.approved) or found


def natural_key(ref: AccountRef, at: str = "account") -> tuple[str, str, bool] | None:
    """A reference's brand domain, operator and ``sandbox``; None if it has identity fields that our accounts lack.

    Args:
        ref: A reference by brand and operator.
        at: Its path in the request, for errors.

    Raises:
        InvalidRequest: The reference is malformed.
    """
    brand = ref.brand
    if brand is None:
        raise InvalidRequest(
            f'{at} must have an account_id, or a brand and an operator, for example {{"brand": {{"domain": "..."}}, '
            '"operator": "..."}.',
            field=at,
        )
    key = (_domain(brand.domain, f"{at}.brand.domain"), _domain(ref.operator, f"{at}.operator"), ref.sandbox or False)
    others = (ref.operator_unit, ref.currency, ref.timezone, brand.brand_id, brand.countries)
    return key if all(other is None for other in others) else None


def _domain(value: str | None, path: str) -> str:
    if not is_domain(value):
        raise InvalidRequest(
            f"{path} must be a lower-case domain, for example shop.example. Send no scheme, port or path, and write "
            "international names in their xn-- form.",
            field=path,
        )
    return value
