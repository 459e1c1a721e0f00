"""Accounts as answers show them (core/account.json)."""

from __future__ import annotations

from typing import Any

from postback.accounts.standing import SETUP_MESSAGE
from postback.principal import Account

__all__ = ["shown_account"]


def shown_account(account: Account) -> dict[str, Any]:
    """The members that list_accounts and sync_accounts share."""
    optional = {
        "brand": {"domain": account.brand_domain} if account.brand_domain else None,
        "operator": account.operator,
        "billing": account.billing,
        "payment_terms": account.payment_terms,
        "setup": {"message": SETUP_MESSAGE} if account.status == "pending_approval" else None,
    }
    return {
        "account_id": account.account_id,
        "name": account.name,
        "status": account.status,
        **{name: value for name, value in optional.items() if value is not None},
        **({"sandbox": True} if account.sandbox else {}),
    }
