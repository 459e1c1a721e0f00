"""The entries of a sync_accounts call, each parsed and validated on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from postback.accounts.references import (
    OTHER_IDENTITY,
    AccountArgument,
    AccountRef,
    BrandArgument,
    account_ref,
    domain,
    natural_key,
)
from postback.auth.principal import Account
from postback.errors import (
    BillingNotSupported,
    InvalidRequest,
    RequestError,
    UnsupportedField,
    UnsupportedProvisioning,
)
from postback.protocol.domains import is_domain
from postback.protocol.enums import PAYMENT_TERMS, AccountStatus, BillingParty
from postback.protocol.json_schema import word

__all__ = ["SUPPORTED_BILLING", "AccountEntry", "DescribedEntry", "read_entry"]

SUPPORTED_BILLING = ("operator",)

_UNSUPPORTED_FIELDS = ("revision", "operator_identity", "destination_billing_entity")
"""Ignoring these could change an account that the caller means to protect."""

_IDENTITY = ("brand", "operator", "sandbox", *OTHER_IDENTITY)

_IGNORED_FIELDS = (
    "billing_entity",
    "preferred_reporting_protocol",
    "notification_configs",
    "reporting_delivery_configs",
)


class DescribedEntry(msgspec.Struct):
    """An entry as it is published; ``read_entry`` reads one field by field, so that one that is wrong fails alone."""

    brand: BrandArgument = None
    operator: Annotated[str, domain("Domain of whoever acts for the brand.")] | None = None
    billing: Annotated[BillingParty, Meta(description="Who is invoiced; only operator is supported.")] | None = None
    payment_terms: Annotated[str, word(PAYMENT_TERMS, "Stored, and shown in responses.")] | None = None
    sandbox: Annotated[bool, Meta(description="Whether the account is a sandbox.")] = False
    account: AccountArgument = None


@dataclass(frozen=True, slots=True)
class AccountEntry:
    """A parsed entry.

    Attributes:
        at: Its path in the request, for example ``accounts[3]``.
        brand_domain: The brand's domain if it is valid, and so may appear in the response.
        operator: The operator's domain, on the same condition.
        new_account: The account to set up, still without an id; None when the entry changes an existing account or is
            malformed.
        ref: The core/account-ref.json of the account to change, or None.
        billing: Who is invoiced, or None.
        payment_terms: The payment terms, or None.
        warnings: A sentence for each field that is ignored.
        error: Why the entry fails, or None.
    """

    at: str
    brand_domain: str | None = None
    operator: str | None = None
    new_account: Account | None = None
    ref: AccountRef | None = None
    billing: str | None = None
    payment_terms: str | None = None
    warnings: tuple[str, ...] = ()
    error: RequestError | None = None


def read_entry(sent: object, at: str, *, sandbox: bool) -> AccountEntry:
    """Parse and validate an entry; an invalid one is returned with its ``error``.

    Args:
        sent: The entry.
        at: Its path in the request.
        sandbox: Whether the server is one: then every account is, and is active at once.
    """
    if not isinstance(sent, Mapping):
        return AccountEntry(at, error=InvalidRequest(f"{at} must be an object.", field=at))
    fields = {name: value for name, value in sent.items() if value is not None}
    terms: dict[str, Any] = {"billing": fields.get("billing"), "payment_terms": fields.get("payment_terms")}
    parsed: dict[str, Any] = _valid_domains(fields) | terms
    try:
        if "account" in fields:
            parsed["ref"] = _ref(fields, at)
        else:
            parsed["new_account"] = replace(_new_account(fields, at, sandbox=sandbox), **terms)
        _check(fields, at)
    except RequestError as error:
        return AccountEntry(at, **parsed, error=error)
    warnings = tuple(f"{name} is not supported and was ignored." for name in _IGNORED_FIELDS if name in fields)
    return AccountEntry(at, **parsed, warnings=warnings)


def _valid_domains(fields: Mapping[str, Any]) -> dict[str, str]:
    brand = fields.get("brand")
    domain = brand.get("domain") if isinstance(brand, Mapping) else None
    sent = {"brand_domain": domain, "operator": fields.get("operator")}
    return {name: value for name, value in sent.items() if is_domain(value)}


def _ref(fields: Mapping[str, Any], at: str) -> AccountRef:
    """The reference to the account to change; no other field may identify an account too."""
    other = next((name for name in ("brand", "operator", *OTHER_IDENTITY) if name in fields), None)
    if other:
        raise InvalidRequest(
            f"{at} has both account and {other}.",
            field=f"{at}.{other}",
            suggestion="Send account to change an account, or brand and operator to set one up.",
        )
    return account_ref(fields["account"], f"{at}.account")


def _new_account(fields: Mapping[str, Any], at: str, *, sandbox: bool) -> Account:
    """The account to set up, without its billing and payment terms."""
    if not {"brand", "operator"} <= fields.keys():
        raise InvalidRequest(f"{at} must have brand and operator, or account.", field=at)
    identity = {name: fields[name] for name in _IDENTITY if name in fields}
    key = natural_key(account_ref(identity, at), at)
    if key is None:
        raise UnsupportedProvisioning(
            f"{at} has identity fields that this server does not support. It identifies an account by brand.domain, "
            "operator and sandbox alone.",
            field=at,
        )
    domain, operator, is_sandbox = key
    name = domain if domain == operator else f"{domain} by {operator}"
    status: AccountStatus = "active" if sandbox else "pending_approval"
    return Account("", name, domain, operator, is_sandbox or sandbox, status)


def _check(fields: Mapping[str, Any], at: str) -> None:
    unsupported = next((name for name in _UNSUPPORTED_FIELDS if name in fields), None)
    if unsupported:
        raise UnsupportedField(
            f"{at}.{unsupported} is not supported. Accounts have no revisions, and their operator and billing entity "
            "do not change.",
            field=f"{at}.{unsupported}",
        )
    terms = fields.get("payment_terms")
    if terms is not None and terms not in PAYMENT_TERMS:
        raise InvalidRequest(
            f"{at}.payment_terms must be one of {', '.join(PAYMENT_TERMS)}.", field=f"{at}.payment_terms"
        )
    billing = fields.get("billing")
    if billing not in SUPPORTED_BILLING and not ("account" in fields and billing is None):
        raise BillingNotSupported(
            f"{at}.billing must be operator. This seller invoices the operator only.",
            field=f"{at}.billing",
            details={"scope": "capability", "supported_billing": list(SUPPORTED_BILLING)},
        )
