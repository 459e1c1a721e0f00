"""sync_accounts: buyers set up the accounts that they act for.

A new account can be used once the seller has approved it, on a sandbox server at once. Each entry succeeds or fails on
its own. An account that the buyer's own sync closed returns to its earlier status when a later sync lists it; one that
the seller closed stays closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.accounts.entries import AccountEntry, DescribedEntry, read_entry
from postback.accounts.references import matching_accounts
from postback.accounts.rendering import AccountFields, account_fields
from postback.accounts.store import KeyAccounts
from postback.auth.principal import Account
from postback.errors import AccountNotFound, InvalidRequest, RequestError, UnsupportedProvisioning
from postback.protocol.envelope import IDEMPOTENCY_KEY_EXAMPLE, ErrorObject, error_object
from postback.protocol.json_schema import published_as
from postback.protocol.releases import Release
from postback.store.idempotency import SaveIn
from postback.tasks.call import Payload, TaskCall
from postback.tasks.task import Task

__all__ = ["SYNC_ACCOUNTS", "SyncAccountsRequest", "SyncAccountsResponse", "sync_accounts"]


_Entries = Annotated[
    list[DescribedEntry],
    Meta(max_length=1000, description="The accounts: a brand, operator and billing each, or an account to change."),
]


class SyncAccountsRequest(msgspec.Struct, frozen=True):
    """The task's own arguments (account/sync-accounts-request.json); each entry is read alone."""

    accounts: Annotated[list[Any], Meta(max_length=1000), published_as(_Entries)]
    delete_missing: Annotated[bool, Meta(description="Close the accounts that you set up and don't list.")] = False
    dry_run: Annotated[bool, Meta(description="Change nothing; the response says what would be done.")] = False


class SyncedAccount(AccountFields, kw_only=True):
    """An entry of account/sync-accounts-response.json."""

    account_id: Annotated[str | UnsetType, Meta(description="The seller's identifier.")] = UNSET
    name: Annotated[str | UnsetType, Meta(description="For people.")] = UNSET
    action: Annotated[
        Literal["created", "updated", "unchanged", "failed"], Meta(description="What was done with the account.")
    ]
    errors: Annotated[list[ErrorObject] | UnsetType, Meta(description="Why it failed.")] = UNSET
    warnings: Annotated[list[str] | UnsetType, Meta(description="Which fields of the entry were ignored.")] = UNSET


class SyncAccountsResponse(msgspec.Struct):
    """The success arm of account/sync-accounts-response.json, without the envelope."""

    accounts: Annotated[
        list[SyncedAccount], Meta(description="One for each entry, in their order, then those that were closed.")
    ]
    dry_run: Annotated[bool | UnsetType, Meta(description="True: nothing was changed.")] = UNSET


@dataclass(frozen=True, slots=True)
class _Result:
    """The result of one entry."""

    action: Literal["created", "updated", "unchanged", "failed"]
    account: Account
    error: RequestError | None = None
    warnings: tuple[str, ...] = ()

    def shown(self, release: Release | None, *, dry: bool) -> SyncedAccount:
        named = bool(self.account.account_id) and not (dry and self.action == "created")
        return SyncedAccount(
            account_id=self.account.account_id if named else UNSET,
            name=self.account.name if named else UNSET,
            action=self.action,
            errors=[error_object(self.error, release)] if self.error else UNSET,
            warnings=list(self.warnings) or UNSET,
            **account_fields(self.account),
        )


async def sync_accounts(call: TaskCall) -> Payload:
    """Create and update accounts.

    Returns:
        One result for each entry, with its ``action``.

    Raises:
        InvalidRequest: ``accounts`` is not a list, or is too long.
        IdempotencyConflict: The key was used for another call.
        StoreUnavailable: The control store rejects the write; nothing is changed.
    """
    request = call.arguments.to(SyncAccountsRequest)
    sandbox = call.services.settings.sandbox
    entries = [read_entry(sent, f"accounts[{index}]", sandbox=sandbox) for index, sent in enumerate(request.accounts)]

    async def sync(save_in: SaveIn) -> Payload:
        return await call.services.threads.control.run(_sync, call, request, entries, save_in)

    return await call.once_in_control("", call.arguments.fingerprint(), sync)


def _sync(
    call: TaskCall, request: SyncAccountsRequest, entries: Sequence[AccountEntry], save_in: SaveIn
) -> SyncAccountsResponse:
    most_pending = call.services.settings.pending_accounts
    key_id = call.principal.key_id
    with call.services.accounts.edit(key_id, dry=request.dry_run, most_pending=most_pending) as key_accounts:
        results: list[_Result] = []
        synced: set[str] = set()
        for entry in entries:
            result = _sync_entry(call, key_accounts, entry, synced)
            if result.error is None:
                synced.add(result.account.account_id)
            results.append(replace(result, warnings=entry.warnings))
        if request.delete_missing and _all_identified(results):
            results += _close_missing(key_accounts, {result.account.account_id for result in results})
        response = SyncAccountsResponse(
            [result.shown(call.release, dry=request.dry_run) for result in results],
            dry_run=request.dry_run or UNSET,
        )
        save_in(key_accounts.connection, response)  # a dry run rolls this back, too
    call.services.keys.clear_cache()
    return response


def _sync_entry(call: TaskCall, key_accounts: KeyAccounts, entry: AccountEntry, synced: set[str]) -> _Result:
    account = _unidentified(entry)
    try:
        account = _find_account(call, key_accounts, entry)
        if entry.error:
            raise entry.error
        if not account.account_id:
            _check_offered(call, account, entry.at)
            return _Result("created", key_accounts.add(account))
        if account.account_id in synced:
            raise InvalidRequest(
                f"{entry.at} names the same account as an earlier entry.",
                field=entry.at,
                suggestion="Name each account once in a call.",
            )
        changes = _changes(key_accounts, entry, account)
        if not changes:
            return _Result("unchanged", account)
        return _Result("updated", key_accounts.update(account.account_id, **changes))
    except RequestError as error:
        return _Result("failed", account if account.account_id else _unidentified(entry), error)


def _check_offered(call: TaskCall, new: Account, at: str) -> None:
    """Check that buyers may set up such an account."""
    settings = call.services.settings
    if new.sandbox and not (settings.sandbox or settings.sandbox_accounts):
        raise UnsupportedProvisioning(
            "This server sets up no sandbox accounts for buyers.",
            field=f"{at}.sandbox",
            suggestion="Ask the seller for a sandbox account, or omit sandbox.",
        )


def _find_account(call: TaskCall, key_accounts: KeyAccounts, entry: AccountEntry) -> Account:
    """The account that an entry names; without an id if it doesn't exist yet."""
    if entry.new_account:
        return key_accounts.find(*entry.new_account.natural_key) or entry.new_account
    if entry.ref is None:
        return _unidentified(entry)
    caller = replace(call.principal, accounts=tuple(key_accounts.by_id.values()))
    found = matching_accounts(caller, entry.ref, f"{entry.at}.account")
    if len(found) != 1:
        raise AccountNotFound(
            "The reference must match exactly one account of your API key.", field=f"{entry.at}.account"
        )
    return found[0]


def _changes(key_accounts: KeyAccounts, entry: AccountEntry, current: Account) -> dict[str, Any]:
    declared: dict[str, str | None] = {"billing": entry.billing, "payment_terms": entry.payment_terms}
    if entry.new_account and current.account_id in key_accounts.provisioned:
        declared["status"] = current.closed_from
    return {name: value for name, value in declared.items() if value not in (None, getattr(current, name))}


def _unidentified(entry: AccountEntry) -> Account:
    """The account in the result of an entry that matches none: the schema requires a brand and an operator."""
    return Account("", "", entry.brand_domain or "unknown.invalid", entry.operator or "unknown", status="rejected")


def _all_identified(results: Sequence[_Result]) -> bool:
    """Whether each entry's account is known. If not, no account can be called missing."""
    return all(result.account.account_id for result in results)


def _close_missing(key_accounts: KeyAccounts, listed: set[str]) -> list[_Result]:
    """Close the accounts that the caller has set up and doesn't list."""
    missing = [key_accounts.by_id[account_id] for account_id in sorted(key_accounts.provisioned - listed)]
    return [
        _Result("updated", key_accounts.update(account.account_id, status="closed", closed_from=account.status))
        for account in missing
        if account.status != "closed"
    ]


SYNC_ACCOUNTS = Task(
    name="sync_accounts",
    title="Sync accounts",
    description=(
        "Set up the accounts that you act for, each by its brand and operator. A new account can be used once the "
        "seller has approved it, on a sandbox server at once. Each entry is validated alone: read its action and its "
        "errors."
    ),
    function=sync_accounts,
    request=SyncAccountsRequest,
    response=SyncAccountsResponse,
    example={
        "idempotency_key": IDEMPOTENCY_KEY_EXAMPLE,
        "accounts": [{"brand": {"domain": "acme.example"}, "operator": "agency.example", "billing": "operator"}],
    },
    mutating=True,
    key="always",
)
