"""The page of the server itself: its accounts, its versions."""

from __future__ import annotations

from importlib.metadata import version

import msgspec

from postback.console.page import Page, Visit
from postback.protocol.enums import AccountStatus

__all__ = ["PAGES"]


class ShownAccount(msgspec.Struct, frozen=True):
    """An account, as in the control store."""

    account_id: str
    name: str
    brand_domain: str | None
    operator: str | None
    status: AccountStatus
    sandbox: bool


class ShownServer(msgspec.Struct, frozen=True):
    """What the page shows."""

    version: str
    accounts: tuple[ShownAccount, ...]


async def _server(visit: Visit) -> ShownServer:
    accounts = tuple(
        ShownAccount(a.account_id, a.name, a.brand_domain, a.operator, a.status, a.sandbox)
        for a in visit.principal.accounts
    )
    return ShownServer(version("postback"), accounts)


PAGES = (Page("/console/server", "Server", "server.html", _server),)
