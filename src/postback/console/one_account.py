"""The account of a page that shows one account."""

from __future__ import annotations

from collections.abc import Sequence

from postback.console.page import Visit
from postback.services import Services

__all__ = ["shown_account"]


async def shown_account(visit: Visit) -> str:
    """The account that was chosen, or the only one; else the one that something was received for last.

    Raises:
        StoreUnavailable: The event store doesn't answer.
    """
    account_ids = visit.principal.account_ids
    if len(account_ids) == 1:
        return account_ids[0]
    latest = await visit.services.threads.reports.run(_latest, visit.services, account_ids)
    return latest or account_ids[0]


def _latest(services: Services, account_ids: Sequence[str]) -> str | None:
    """Of these accounts the one that something was received for last, on the shards that are not away."""
    found = [
        (at, account_id)
        for events in services.shards
        for account_id, at in events.query("latest_account", account_ids=account_ids)
    ]
    return max(found)[1] if found else None
