"""sync_accounts: buyers set up the accounts that they act for.

A new account is used after the seller has approved it; a sandbox at once. Each entry is judged alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from postback.accounts.answers import shown_account
from postback.accounts.references import matching_accounts, natural_key
from postback.envelope import error_object
from postback.errors import (
    AccountNotFound,
    BillingNotSupported,
    InvalidRequest,
    RequestError,
    UnsupportedProvisioning,
)
from postback.principal import Account
from postback.protocol.enums import PAYMENT_TERMS, BillingParty
from postback.protocol.releases import Release

if TYPE_CHECKING:
    from postback.tasks import TaskCall

__all__ = ["SUPPORTED_BILLING", "SyncAccountsRequest", "sync_accounts"]

SUPPORTED_BILLING = ("operator",)

_NOT_KEPT = (
    "billing_entity",
    "preferred_reporting_protocol",
    "notification_configs",
    "operator_identity",
    "destination_billing_entity",
)
_Domain = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z")]


class _Entry(msgspec.Struct, frozen=True):
    """What is read of an entry; the brand and operator by ``natural_key``."""

    account: Any = None
    brand: dict[str, Any] | None = None
    operator: _Domain | None = None
    billing: BillingParty | None = None
    payment_terms: str | None = None
    sandbox: bool = False


class SyncAccountsRequest(msgspec.Struct, frozen=True):
    """The task's own arguments (account/sync-accounts-request.json).

    Attributes:
        accounts: The entries.
        delete_missing: Whether to close the accounts that the caller set up and doesn't list.
        dry_run: Whether to change nothing.
    """

    accounts: Annotated[list[dict[str, Any]], Meta(max_length=1000)]
    delete_missing: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class _Result:
    """What became of an entry."""

    action: str
    account: Account
    error: RequestError | None = None
    warnings: tuple[str, ...] = ()

    def shown(self, release: Release | None) -> dict[str, Any]:
        shown = shown_account(self.account) | {"action": self.action}
        if not self.account.account_id:
            del shown["account_id"], shown["name"]
        if self.error:
            shown["errors"] = [error_object(self.error, release)]
        if self.warnings:
            shown["warnings"] = list(self.warnings)
        return shown


async def sync_accounts(call: TaskCall) -> dict[str, Any]:
    """Create and update accounts.

    Returns:
        The success arm of account/sync-accounts-response.json, without the envelope: an entry for each entry, with
        its ``action``.

    Raises:
        InvalidRequest: An entry that can't be read as one.
        IdempotencyConflict: The key was used for another call.
        StoreUnavailable: The control store doesn't take it.
    """
    request = call.arguments.to(SyncAccountsRequest)
    entries = [_read(entry, f"accounts[{index}]") for index, entry in enumerate(request.accounts)]

    async def sync() -> dict[str, Any]:
        return await asyncio.to_thread(_sync, call, request, entries)

    if request.dry_run:
        return await sync()
    return await call.once("", call.arguments.fingerprint(), sync)


def _read(members: Mapping[str, Any], at: str) -> _Entry:
    try:
        entry = msgspec.convert(members, _Entry)
    except msgspec.ValidationError:
        raise InvalidRequest(
            f"{at} must have a brand, an operator's domain in lower case and a billing party, each of its type.",
            field=at,
        ) from None
    if entry.account is None and (entry.brand is None or entry.operator is None):
        raise InvalidRequest(f"{at} must name a brand and an operator, or an account.", field=at)
    return entry


def _sync(call: TaskCall, request: SyncAccountsRequest, entries: Sequence[_Entry]) -> dict[str, Any]:
    results = []
    for index, entry in enumerate(entries):
        result = _one(call, entry, f"accounts[{index}]", dry=request.dry_run)
        ignored = [name for name in _NOT_KEPT if request.accounts[index].get(name) is not None]
        warnings = tuple(f"{name} is not kept here and was passed over." for name in ignored)
        results.append(replace(result, warnings=warnings))
    if request.delete_missing:
        results += _close_missing(call, {result.account.account_id for result in results}, dry=request.dry_run)
    call.services.keys.forget()
    return {
        "accounts": [result.shown(call.release) for result in results],
        **({"dry_run": True} if request.dry_run else {}),
    }


def _one(call: TaskCall, entry: _Entry, at: str, *, dry: bool) -> _Result:
    known = None
    try:
        known = _known(call, entry, at)
        wanted = _wanted(call, entry, at)
        if known is None:
            made = wanted if dry else call.services.accounts.provision(call.principal.key_id, wanted)
            return _Result("created", made)
        changes = {
            name: value
            for name in ("billing", "payment_terms")
            if (value := getattr(wanted, name)) not in (None, getattr(known, name))
        }
        if changes and not dry:
            call.services.accounts.change(known.account_id, **changes)
        return _Result("updated" if changes else "unchanged", replace(known, **changes))
    except RequestError as error:
        return _Result("failed", known or _unmade(entry), error)


def _known(call: TaskCall, entry: _Entry, at: str) -> Account | None:
    """The caller's account that an entry names, if there is one yet."""
    if entry.account is None:
        identity = _identity(call, entry, at)
        return next((account for account in call.principal.accounts if account.natural_key == identity), None)
    found = matching_accounts(call.principal, entry.account)
    if len(found) != 1:
        raise AccountNotFound("Your API key acts for no single account that fits.", field=f"{at}.account")
    return found[0]


def _identity(call: TaskCall, entry: _Entry, at: str) -> tuple[str, str, bool]:
    key = natural_key({"brand": entry.brand, "operator": entry.operator}, at)
    if key is None:
        raise UnsupportedProvisioning(f"{at} names more of an identity than accounts have here.", field=at)
    domain, operator, _ = key
    return domain, operator, entry.sandbox or call.services.settings.sandbox


def _wanted(call: TaskCall, entry: _Entry, at: str) -> Account:
    """The account that an entry asks for, still without an id."""
    if entry.payment_terms is not None and entry.payment_terms not in PAYMENT_TERMS:
        raise InvalidRequest(
            f"{at}.payment_terms must be one of {', '.join(PAYMENT_TERMS)}.", field=f"{at}.payment_terms"
        )
    by_account = entry.account is not None
    if entry.billing not in SUPPORTED_BILLING and not (by_account and entry.billing is None):
        raise BillingNotSupported(
            f"{at}.billing must be operator: nobody else is invoiced here.",
            field=f"{at}.billing",
            details={"scope": "capability", "supported_billing": list(SUPPORTED_BILLING)},
        )
    if by_account:
        return Account("", "", billing=entry.billing, payment_terms=entry.payment_terms)
    domain, operator, sandbox = _identity(call, entry, at)
    return Account(
        "",
        domain if domain == operator else f"{domain} by {operator}",
        domain,
        operator,
        sandbox,
        "active" if sandbox else "pending_approval",
        entry.billing,
        entry.payment_terms,
    )


def _unmade(entry: _Entry) -> Account:
    """What answers show of an entry that names no account: the schema wants a brand and an operator even then."""
    domain = (entry.brand or {}).get("domain")
    brand_domain = domain if isinstance(domain, str) else "unknown.invalid"
    return Account("", "", brand_domain, entry.operator or "unknown", status="rejected")


def _close_missing(call: TaskCall, listed: set[str], *, dry: bool) -> list[_Result]:
    """Close what the caller set up earlier and doesn't list any more."""
    results = []
    for account in call.services.accounts.provisioned_by(call.principal.key_id):
        if account.account_id not in listed and account.status != "closed":
            if not dry:
                call.services.accounts.change(account.account_id, status="closed")
            results.append(_Result("updated", replace(account, status="closed")))
    return results
