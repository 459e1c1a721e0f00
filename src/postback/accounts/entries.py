"""The entries of a sync_accounts call, each read and judged alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from postback.accounts.references import OTHER_IDENTITY, natural_key
from postback.errors import (
    BillingNotSupported,
    InvalidRequest,
    RequestError,
    UnsupportedMember,
    UnsupportedProvisioning,
)
from postback.principal import Account
from postback.protocol.domains import is_domain
from postback.protocol.enums import PAYMENT_TERMS, AccountStatus

__all__ = ["SUPPORTED_BILLING", "Entry", "read_entry"]

SUPPORTED_BILLING = ("operator",)

_REFUSED = ("revision", "operator_identity", "destination_billing_entity")
"""To pass these over would change an account that the caller means to leave as it is."""

_NOT_KEPT = ("billing_entity", "preferred_reporting_protocol", "notification_configs", "reporting_delivery_configs")


@dataclass(frozen=True, slots=True)
class Entry:
    """What an entry asks for.

    Attributes:
        at: Where it stands, as ``accounts[3]``.
        brand_domain: The brand's domain, if answers may show it.
        operator: The operator, if answers may show it.
        wanted: The account to set up, still without an id; None when another one is to be changed, or when it can't be
            told.
        ref: The core/account-ref.json of the account to change, or None.
        billing: Who is invoiced, or None.
        payment_terms: The terms of payment, or None.
        warnings: What was passed over.
        problem: Why it can't be followed, or None.
    """

    at: str
    brand_domain: str | None = None
    operator: str | None = None
    wanted: Account | None = None
    ref: object | None = None
    billing: str | None = None
    payment_terms: str | None = None
    warnings: tuple[str, ...] = ()
    problem: RequestError | None = None


def read_entry(sent: object, at: str, *, sandbox: bool) -> Entry:
    """Read an entry; one that can't be followed comes back with its problem.

    Args:
        sent: The entry.
        at: Where it stands.
        sandbox: Whether every account is a sandbox, whatever the entry says of it.
    """
    if not isinstance(sent, Mapping):
        return Entry(at, problem=InvalidRequest(f"{at} must be an object.", field=at))
    members = {name: value for name, value in sent.items() if value is not None}
    terms: dict[str, Any] = {"billing": members.get("billing"), "payment_terms": members.get("payment_terms")}
    read: dict[str, Any] = _shown(members) | terms
    try:
        if "account" in members:
            read["ref"] = _ref(members, at)
        else:
            read["wanted"] = replace(_wanted(members, at, sandbox=sandbox), **terms)
        _check(members, at)
    except RequestError as problem:
        return Entry(at, **read, problem=problem)
    warnings = tuple(f"{name} is not kept here and was passed over." for name in _NOT_KEPT if name in members)
    return Entry(at, **read, warnings=warnings)


def _shown(members: Mapping[str, Any]) -> dict[str, str]:
    brand = members.get("brand")
    domain = brand.get("domain") if isinstance(brand, Mapping) else None
    sent = {"brand_domain": domain, "operator": members.get("operator")}
    return {name: value for name, value in sent.items() if is_domain(value)}


def _ref(members: Mapping[str, Any], at: str) -> object:
    """The reference of the account to change, which nothing beside it may identify too."""
    beside = next((name for name in ("brand", "operator", *OTHER_IDENTITY) if name in members), None)
    if beside:
        raise InvalidRequest(
            f"{at} names an account, and {beside} beside it.",
            field=f"{at}.{beside}",
            suggestion="Send account to change an account, or brand and operator to set one up.",
        )
    return members["account"]


def _wanted(members: Mapping[str, Any], at: str, *, sandbox: bool) -> Account:
    """The account to set up, before anything is said of its terms."""
    if not {"brand", "operator"} <= members.keys():
        raise InvalidRequest(f"{at} must name a brand and an operator, or an account.", field=at)
    key = natural_key(members, at)
    if key is None:
        raise UnsupportedProvisioning(f"{at} names more of an identity than accounts have here.", field=at)
    domain, operator, is_sandbox = key[0], key[1], key[2] or sandbox
    name = domain if domain == operator else f"{domain} by {operator}"
    status: AccountStatus = "active" if is_sandbox else "pending_approval"
    return Account("", name, domain, operator, is_sandbox, status)


def _check(members: Mapping[str, Any], at: str) -> None:
    refused = next((name for name in _REFUSED if name in members), None)
    if refused:
        raise UnsupportedMember(
            f"{at}.{refused} can't be followed: accounts have no revisions here, and keep their operator.",
            field=f"{at}.{refused}",
        )
    terms = members.get("payment_terms")
    if terms is not None and terms not in PAYMENT_TERMS:
        raise InvalidRequest(
            f"{at}.payment_terms must be one of {', '.join(PAYMENT_TERMS)}.", field=f"{at}.payment_terms"
        )
    billing = members.get("billing")
    if billing not in SUPPORTED_BILLING and not ("account" in members and billing is None):
        raise BillingNotSupported(
            f"{at}.billing must be operator: nobody else is invoiced here.",
            field=f"{at}.billing",
            details={"scope": "capability", "supported_billing": list(SUPPORTED_BILLING)},
        )
