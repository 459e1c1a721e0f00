"""Who calls, and for whom: accounts, and the principal that an API key stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from postback.protocol.enums import AccountStatus

__all__ = ["BUYER", "SCOPES", "Account", "Principal", "Scope"]

Scope: TypeAlias = Literal["buyer", "seller"]

BUYER: frozenset[Scope] = frozenset({"buyer"})

SCOPES: dict[str, frozenset[Scope]] = {
    "buyer": BUYER,
    "seller": frozenset({"seller"}),
    "both": frozenset({"buyer", "seller"}),
}
"""What a key may be made for → what it may then be used for."""


@dataclass(frozen=True, slots=True)
class Account:
    """An advertiser's account with the seller.

    Attributes:
        account_id: Seller-assigned identifier, as ``default``.
        name: For people.
        brand_domain: Domain of the brand (core/brand-ref.json), or None.
        operator: Domain of whoever acts for the brand (core/account-ref.json), or None.
        sandbox: Whether everything logged here is simulated.
        status: Whether it may be used (enums/account-status.json).
        billing: Who is invoiced (enums/billing-party.json), or None when nobody said.
        payment_terms: The terms of payment (enums/payment-terms.json), or None.
        closed_from: The status that it had before its buyer closed it; None when nobody or the seller did.
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
        """What identifies it beside its id: the brand's domain, the operator, and whether it is a sandbox."""
        return self.brand_domain, self.operator, self.sandbox


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller that an API key stands for.

    Attributes:
        key_id: The key's public identifier; safe in logs.
        accounts: The accounts that the key acts for, ordered by account_id. Never empty.
        scopes: Whether it reports conversions, as buyers do, or exposures and delivery, as sellers do.
    """

    key_id: str
    accounts: tuple[Account, ...]
    scopes: frozenset[Scope] = BUYER

    def account(self, account_id: str) -> Account:
        """One of the principal's accounts; one that isn't is a defect of the calling code."""
        return next(account for account in self.accounts if account.account_id == account_id)
