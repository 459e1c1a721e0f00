"""Accounts, and the principal that an API key identifies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import Row

from postback.protocol.enums import AccountStatus

__all__ = ["BUYER", "SCOPES", "Account", "Principal", "Scope", "account_from"]

Scope: TypeAlias = Literal["buyer", "seller"]

BUYER: frozenset[Scope] = frozenset({"buyer"})

SCOPES: dict[str, frozenset[Scope]] = {
    "buyer": BUYER,
    "seller": frozenset({"seller"}),
    "both": frozenset({"buyer", "seller"}),
}
"""The scope a key is created with → the scopes of its principal."""


@dataclass(frozen=True, slots=True)
class Account:
    """An advertiser's account with the seller.

    Attributes:
        account_id: Seller-assigned identifier, for example ``default``.
        name: Display name.
        brand_domain: Domain of the brand (core/brand-ref.json), or None.
        operator: Domain of whoever acts for the brand (core/account-ref.json), or None.
        sandbox: Whether everything logged to it is simulated.
        status: Its status (enums/account-status.json).
        billing: Who is invoiced (enums/billing-party.json), or None if not declared.
        payment_terms: The payment terms (enums/payment-terms.json), or None.
        closed_from: The status before the buyer closed it; None if it is open or the seller closed it.
    """

    account_id: str
    name: str
    brand_domain: str | None = None
    operator: str | None = None
    sandbox: bool = False
    status: AccountStatus = "active"
    billing: str | None = None
    payment_terms: str | None = None
    closed_from: AccountStatus | None = None

    @property
    def natural_key(self) -> tuple[str | None, str | None, bool]:
        """Its identity besides account_id: the brand's domain, the operator, and whether it is a sandbox."""
        return self.brand_domain, self.operator, self.sandbox

    @property
    def awaits_approval(self) -> bool:
        """Whether the seller has not decided about it yet, though its buyer may have closed it."""
        return (self.closed_from or self.status) == "pending_approval"

    @property
    def approved(self) -> bool:
        """Whether the seller has approved it, and not rejected or closed it; its buyer may have closed it."""
        return (self.closed_from or self.status) not in {"pending_approval", "rejected", "closed"}


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller that an API key identifies.

    Attributes:
        key_id: The key's public identifier; safe in logs.
        accounts: The accounts that the key acts for, sorted by account_id. Never empty.
        scopes: ``buyer`` for reporting conversions, ``seller`` for reporting exposures and delivery, or both.
        browser: Whether it is no key but the browser tag of an event source, which anyone can imitate.
    """

    key_id: str
    accounts: tuple[Account, ...]
    scopes: frozenset[Scope] = BUYER
    browser: bool = False

    @property
    def account_ids(self) -> list[str]:
        """The ids of its accounts."""
        return [account.account_id for account in self.accounts]

    def account(self, account_id: str) -> Account:
        """The principal's account with this id; another id is a bug in the caller."""
        return next(account for account in self.accounts if account.account_id == account_id)


def account_from(row: Row[Any]) -> Account:
    """The account in a row of the table ``account`` or of a join with it."""
    return Account(**{field: getattr(row, field) for field in Account.__slots__})
