"""sync_accounts: buyers set up the accounts that they act for.

A new account is used after the seller has approved it; a sandbox at once. Each entry is judged alone. An account that
the buyer's own sync closed comes back as it was when another one lists it; what the seller closed stays closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from postback.accounts.answers import shown_account
from postback.accounts.entries import Entry, read_entry
from postback.accounts.references import matching_accounts
from postback.accounts.store import KeyAccounts
from postback.envelope import error_object
from postback.errors import AccountNotFound, InvalidRequest, RequestError
from postback.idempotency import Keep
from postback.principal import Account
from postback.protocol.releases import Release

if TYPE_CHECKING:
    from postback.tasks import TaskCall

__all__ = ["SyncAccountsRequest", "sync_accounts"]


class SyncAccountsRequest(msgspec.Struct, frozen=True):
    """The task's own arguments (account/sync-accounts-request.json).

    Attributes:
        accounts: The entries.
        delete_missing: Whether to close the accounts that the caller set up and doesn't list.
        dry_run: Whether to change nothing.
    """

    accounts: Annotated[list[Any], Meta(max_length=1000)]
    delete_missing: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class _Result:
    """What became of an entry."""

    action: str
    account: Account
    error: RequestError | None = None
    warnings: tuple[str, ...] = ()

    def shown(self, release: Release | None, *, dry: bool) -> dict[str, Any]:
        shown = shown_account(self.account) | {"action": self.action}
        if not self.account.account_id or (dry and self.action == "created"):
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
        InvalidRequest: ``accounts`` is no list, or too long.
        IdempotencyConflict: The key was used for another call.
        StoreUnavailable: The control store doesn't take it; nothing was changed.
    """
    request = call.arguments.to(SyncAccountsRequest)
    every = call.services.settings.sandbox
    entries = [read_entry(sent, f"accounts[{index}]", sandbox=every) for index, sent in enumerate(request.accounts)]

    return await call.once_in_control(
        "", call.arguments.fingerprint(), lambda keep: _sync(call, request, entries, keep)
    )


def _sync(call: TaskCall, request: SyncAccountsRequest, entries: Sequence[Entry], keep: Keep) -> dict[str, Any]:
    with call.services.accounts.edit(call.principal.key_id, dry=request.dry_run) as held:
        results: list[_Result] = []
        done: set[str] = set()
        for entry in entries:
            result = _one(call, held, entry, done)
            if result.error is None:
                done.add(result.account.account_id)
            results.append(replace(result, warnings=entry.warnings))
        if request.delete_missing and _all_known(results):
            results += _close_missing(held, {result.account.account_id for result in results})
        answer = {
            "accounts": [result.shown(call.release, dry=request.dry_run) for result in results],
            **({"dry_run": True} if request.dry_run else {}),
        }
        keep(held.connection, answer)  # undone with the rest when the run is dry
    call.services.keys.forget()
    return answer


def _one(call: TaskCall, held: KeyAccounts, entry: Entry, done: set[str]) -> _Result:
    named = _unmade(entry)
    try:
        named = _named(call, held, entry)
        if entry.problem:
            raise entry.problem
        if not named.account_id:
            return _Result("created", held.add(named))
        if named.account_id in done:
            raise InvalidRequest(
                f"{entry.at} names the same account as an earlier entry.",
                field=entry.at,
                suggestion="Name each account once in a call.",
            )
        changes = _changes(held, entry, named)
        if not changes:
            return _Result("unchanged", named)
        return _Result("updated", held.change(named.account_id, **changes))
    except RequestError as error:
        return _Result("failed", named if named.account_id else _unmade(entry), error)


def _named(call: TaskCall, held: KeyAccounts, entry: Entry) -> Account:
    """The account that an entry names; without an id as long as there is none."""
    if entry.wanted:
        return held.find(*entry.wanted.natural_key) or entry.wanted
    if entry.ref is None:
        return _unmade(entry)
    caller = replace(call.principal, accounts=tuple(held.by_id.values()))
    found = matching_accounts(caller, entry.ref, f"{entry.at}.account")
    if len(found) != 1:
        raise AccountNotFound("Your API key acts for no single account that fits.", field=f"{entry.at}.account")
    return found[0]


def _changes(held: KeyAccounts, entry: Entry, known: Account) -> dict[str, Any]:
    wanted: dict[str, str | None] = {"billing": entry.billing, "payment_terms": entry.payment_terms}
    if entry.wanted and known.account_id in held.own:
        wanted["status"] = known.closed_from
    return {name: value for name, value in wanted.items() if value not in (None, getattr(known, name))}


def _unmade(entry: Entry) -> Account:
    """What answers show of an entry that names no account: the schema wants a brand and an operator even then."""
    return Account("", "", entry.brand_domain or "unknown.invalid", entry.operator or "unknown", status="rejected")


def _all_known(results: Sequence[_Result]) -> bool:
    """Whether it is known which accounts are listed: an entry that fails and fits none may mean any."""
    return all(result.account.account_id for result in results)


def _close_missing(held: KeyAccounts, listed: set[str]) -> list[_Result]:
    """Close what the caller set up earlier and doesn't list any more."""
    missing = [held.by_id[account_id] for account_id in sorted(held.own - listed)]
    return [
        _Result("updated", held.change(account.account_id, status="closed", closed_from=account.status))
        for account in missing
        if account.status != "closed"
    ]
