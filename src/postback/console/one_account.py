"""The account of a page that shows one account."""

from __future__ import annotations

from postback.console.page import Visit

__all__ = ["shown_account"]


async def shown_account(visit: Visit) -> str:
    """The account that was chosen, or the only one; else the one that something was received for last.

    Raises:
        StoreUnavailable: The event store doesn't answer.
    """
    account_ids = [account.account_id for account in visit.principal.accounts]
    if len(account_ids) == 1:
        return account_ids[0]
    services = visit.services
    latest = await services.threads.reports.run(services.events.query, "latest_account", account_ids=account_ids)
    return str(latest[0][0]) if latest else account_ids[0]
