"""What an account may do, depending on its status (enums/account-status.json)."""

from __future__ import annotations

from postback.auth.principal import Account
from postback.errors import AccountPaymentRequired, AccountSetupRequired, AccountSuspended

__all__ = ["SETUP_MESSAGE", "is_open", "require_buying", "require_open"]

SETUP_MESSAGE = "The seller reviews new accounts before they can be used."


_ENDED = frozenset({"rejected", "closed"})


def is_open(account: Account) -> bool:
    """Whether an account is approved and not closed."""
    return account.status != "pending_approval" and account.status not in _ENDED


def require_open(account: Account) -> None:
    """Check that an account accepts event sources and conversions: it is approved and not closed.

    A suspended account, and one with payment due, still accepts conversions: they follow from earlier exposures.

    Raises:
        AccountSetupRequired: It is pending approval.
        AccountSuspended: It is rejected or closed.
    """
    if account.status == "pending_approval":
        raise AccountSetupRequired(
            "The account is pending the seller's approval.",
            field="account",
            details={"setup": {"message": SETUP_MESSAGE}},
        )
    if account.status in _ENDED:
        raise AccountSuspended(f"The account is {account.status}.", field="account")


def require_buying(account: Account) -> None:
    """Check that an account may create and update media buys.

    Raises:
        AccountSetupRequired, AccountSuspended, AccountPaymentRequired: Its status does not allow it.
    """
    require_open(account)
    if account.status == "suspended":
        raise AccountSuspended("The account is suspended.", field="account")
    if account.status == "payment_required":
        raise AccountPaymentRequired("The account has an outstanding balance.", field="account")
