"""Accounts as responses show them (core/account.json)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.accounts.permissions import SETUP_MESSAGE
from postback.auth.principal import Account
from postback.protocol.enums import PAYMENT_TERMS, AccountStatus, BillingParty
from postback.protocol.json_schema import word

__all__ = ["AccountFields", "ListedAccount", "account_fields"]


class ShownBrand(msgspec.Struct):
    """The brand of an account."""

    domain: Annotated[str, Meta(description="Domain of the brand.")]


class AccountSetup(msgspec.Struct):
    """What a pending account still needs."""

    message: Annotated[str, Meta(description="What is still needed.")]


class AccountFields(msgspec.Struct, kw_only=True):
    """The fields that list_accounts and sync_accounts share."""

    status: Annotated[
        AccountStatus, Meta(description="Whether it can be used: pending_approval, rejected and closed can not.")
    ]
    brand: Annotated[ShownBrand | UnsetType, Meta(description="The brand that is advertised.")] = UNSET
    operator: Annotated[str | UnsetType, Meta(description="Domain of whoever acts for the brand.")] = UNSET
    billing: Annotated[BillingParty | UnsetType, Meta(description="Who is invoiced.")] = UNSET
    payment_terms: Annotated[str, word(PAYMENT_TERMS, "The payment terms.")] | UnsetType = UNSET
    setup: Annotated[AccountSetup | UnsetType, Meta(description="Present while the account is pending approval.")] = (
        UNSET
    )
    sandbox: Annotated[bool | UnsetType, Meta(description="True: everything in it is simulated.")] = UNSET


class ListedAccount(AccountFields, kw_only=True):
    """An entry of account/list-accounts-response.json."""

    account_id: Annotated[str, Meta(description="The seller's identifier.")]
    name: Annotated[str, Meta(description="Display name.")]


def account_fields(account: Account) -> dict[str, Any]:
    """The values of AccountFields, as keyword arguments."""
    return {
        "status": account.status,
        "brand": ShownBrand(account.brand_domain) if account.brand_domain else UNSET,
        "operator": account.operator or UNSET,
        "billing": account.billing or UNSET,
        "payment_terms": account.payment_terms or UNSET,
        "setup": AccountSetup(SETUP_MESSAGE) if account.status == "pending_approval" else UNSET,
        "sandbox": account.sandbox or UNSET,
    }
