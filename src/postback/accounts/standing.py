"""What an account may do, by its status (enums/account-status.json)."""

from __future__ import annotations

from postback.errors import AccountPaymentRequired, AccountSetupRequired, AccountSuspended
from postback.principal import Account

__all__ = ["SETUP_MESSAGE", "require_buying", "require_open"]

SETUP_MESSAGE = "The seller reviews new accounts before they can be used."


def require_open(account: Account) -> None:
    """See that an account takes anything: it was approved, and isn't closed.

    A suspended account, and one that owes payment, goes on to take conversions: they belong to what was shown before.

    Raises:
        AccountSetupRequired: It waits for approval.
        AccountSuspended: It was rejected or closed.
    """
    if account.status == "pending_approval":
        raise AccountSetupRequired(
            "The account waits for the seller's approval.",
            field="account",
            details={"setup": {"message": SETUP_MESSAGE}},
        )
    if account.status in {"rejected", "closed"}:
        raise AccountSuspended(f"The account is {account.status}.", field="account")


def require_buying(account: Account) -> None:
    """See that an account may buy and change what it bought.

    Raises:
        AccountSetupRequired, AccountSuspended, AccountPaymentRequired: It may not.
    """
    require_open(account)
    if account.status == "suspended":
        raise AccountSuspended("The account is suspended.", field="account")
    if account.status == "payment_required":
        raise AccountPaymentRequired("The account has an outstanding balance.", field="account")
