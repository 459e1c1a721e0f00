"""Advertiser accounts in the control store."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select

from postback.auth.principal import Account, account_from
from postback.errors import InvalidRequest, StartupError
from postback.protocol.domains import is_domain
from postback.protocol.enums import AccountStatus
from postback.store.control_store import ControlStore
from postback.store.placements import place
from postback.store.recent_lookups import RecentLookups
from postback.store.tables import account, api_key, api_key_account, event_source

__all__ = ["AccountStore", "KeyAccounts"]

_ACCOUNT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_MAX_ACCOUNTS_PER_KEY = 1000
"""A limit, because each call reads all accounts of its key, closed ones included."""


class KeyAccounts:
    """One API key's accounts during an edit; all changes commit together.

    Args:
        connection: The transaction.
        key_id: The key.
        most_pending: How many accounts of the key may await the seller's approval.
        now: The time in seconds since the epoch.

    Attributes:
        connection: The transaction.
        by_id: The accounts that the key acts for, by account_id.
        provisioned: The ids of those that calls with this key have set up.
    """

    def __init__(self, connection: Connection, key_id: str, most_pending: int, now: float) -> None:
        self.connection = connection
        self._key_id = key_id
        self._most_pending = most_pending
        self._now = now
        granted = (
            select(account)
            .join(api_key_account, api_key_account.c.account_id == account.c.account_id)
            .where(api_key_account.c.key_id == key_id)
            .order_by(account.c.account_id)
            # Locked, so that a decision of the seller's isn't overwritten; log_event isn't blocked.
            .with_for_update(of=account, key_share=True)
        )
        rows = connection.execute(granted).all()
        self.by_id = {row.account_id: account_from(row) for row in rows}
        self.provisioned = {row.account_id for row in rows if row.provisioned_by == key_id}
        known = sorted(self.by_id.values(), key=lambda account: account.approved)  # so that these come to be found
        self._ids = {account.natural_key: account.account_id for account in known if account.brand_domain}

    def find(self, brand_domain: str | None, operator: str | None, sandbox: bool) -> Account | None:
        """The account of this brand, operator and sandbox that the key acts for, or None."""
        account_id = self._ids.get((brand_domain, operator, sandbox))
        return self.by_id[account_id] if account_id else None

    def add(self, new: Account) -> Account:
        """Create an account for the key. An empty account_id is replaced by a generated one.

        Raises:
            InvalidRequest: The key has reached a limit of accounts, or the account_id is in use.
        """
        self._check_limits(new)
        same_id = select(account.c.account_id).where(account.c.account_id == new.account_id)
        if new.account_id and self.connection.execute(same_id).first():
            raise InvalidRequest("This account_id is already in use.", field="account_id")
        created = replace(new, account_id=new.account_id or f"acc_{secrets.token_hex(8)}")
        _insert(self.connection, created, provisioned_by=self._key_id)
        link = {"key_id": self._key_id, "account_id": created.account_id}
        self.connection.execute(api_key_account.insert().values(link))
        self.by_id[created.account_id] = created
        self.provisioned.add(created.account_id)
        self._ids[created.natural_key] = created.account_id
        return created

    def _check_limits(self, new: Account) -> None:
        if len(self.by_id) >= _MAX_ACCOUNTS_PER_KEY:
            raise InvalidRequest(
                f"Your API key has reached the limit of {_MAX_ACCOUNTS_PER_KEY:,} accounts.",
                suggestion="Use another API key for further accounts.",
            )
        pending = sum(account.awaits_approval for account in self.by_id.values())
        if new.awaits_approval and pending >= self._most_pending:
            raise InvalidRequest(
                f"{pending:,} accounts of your API key await the seller's approval, closed ones included. The limit is "
                f"{self._most_pending:,}.",
                suggestion="Wait until the seller has approved or rejected some, and then list this account again.",
            )

    def update(self, account_id: str, **values: Any) -> Account:
        """Set columns of an account, for example ``payment_terms="net_30"``; returns the updated account."""
        _update(self.connection, account_id, values, self._now)
        self.by_id[account_id] = updated = replace(self.by_id[account_id], **_with_closed_from(values))
        return updated


class AccountStore:
    """All accounts of this server. Synchronous and thread-safe.

    Args:
        control: Where they are stored.
        outage_seconds: For how long ``recent`` finds them as they were while the control store doesn't answer.
        now: The time in seconds since the epoch.
    """

    def __init__(
        self, control: ControlStore, outage_seconds: float = 0.0, now: Callable[[], float] = time.time
    ) -> None:
        self._control = control
        self._now = now
        self._recent: RecentLookups[str, Account | None] = RecentLookups(outage_seconds)

    def create(
        self,
        account_id: str,
        name: str | None = None,
        brand_domain: str | None = None,
        operator: str | None = None,
        sandbox: bool = False,
    ) -> Account:
        """Create an account. A brand without ``operator`` is its own operator.

        Raises:
            StartupError: The account_id, or the brand and operator, are malformed or in use. Accounts that are not
                approved, or that the seller has closed, take no name.
        """
        if not _ACCOUNT_ID.fullmatch(account_id):
            raise StartupError(
                f"{account_id!r} is not an account_id: use 1 to 128 letters, digits and '_', '.', ':' or '-', "
                "beginning with a letter or digit."
            )
        if operator and not brand_domain:
            raise StartupError("An operator acts for a brand. Give the brand's domain too.")
        operator = operator or brand_domain
        for role, domain in (("brand's domain", brand_domain), ("operator", operator)):
            if domain is not None and not is_domain(domain):
                raise StartupError(
                    f"{domain!r} is not a valid domain for the {role}. Use lower case, for example shop.example."
                )
        created = Account(account_id, name or account_id, brand_domain, operator, sandbox)
        with self._control.begin() as connection:
            self._refuse_duplicate(connection, created)
            _insert(connection, created)
        return created

    def list(self) -> list[Account]:
        """All accounts, by account_id."""
        with self._control.connect() as connection:
            return [account_from(row) for row in connection.execute(select(account).order_by(account.c.account_id))]

    def provisioned_by(self) -> dict[str, str]:
        """The account_ids of the accounts that buyers set up → the key_id of the key that did."""
        by_buyers = select(account.c.account_id, account.c.provisioned_by).where(account.c.provisioned_by.is_not(None))
        with self._control.connect() as connection:
            return {row.account_id: row.provisioned_by for row in connection.execute(by_buyers)}

    def get(self, account_id: str) -> Account | None:
        """The account with this id, or None."""
        with self._control.connect() as connection:
            row = connection.execute(select(account).where(account.c.account_id == account_id)).one_or_none()
        return account_from(row) if row else None

    def recent(self, account_id: str) -> Account | None:
        """The same as it was at most a second ago, or for longer while the control store doesn't answer."""
        return self._recent.find(account_id, lambda: self.get(account_id))

    def provision(self, key_id: str, new: Account) -> Account:
        """The key's account with ``new``'s brand, operator and sandbox; created if there is none.

        Two keys never come to share an account this way: another agent that claims to act for the same brand sees
        nothing of what the first one reports.

        Args:
            key_id: The key.
            new: The account. An empty account_id is replaced by a generated one.

        Raises:
            InvalidRequest: The key has reached its limit of accounts, or the account_id is in use.
            StoreUnavailable: The control store rejects the write.
        """
        with self.edit(key_id) as key_accounts:
            return key_accounts.find(*new.natural_key) or key_accounts.add(new)

    @contextmanager
    def edit(
        self, key_id: str, *, dry: bool = False, most_pending: int = _MAX_ACCOUNTS_PER_KEY
    ) -> Iterator[KeyAccounts]:
        """Change a key's accounts in one transaction; concurrent edits of one key's accounts are serialized.

        Args:
            key_id: The key.
            dry: Whether to roll back at the end.
            most_pending: How many accounts of the key may await the seller's approval.

        Raises:
            StoreUnavailable: The control store rejects the write; nothing is stored.
        """
        with self._control.begin() as connection:
            connection.execute(select(api_key.c.key_id).where(api_key.c.key_id == key_id).with_for_update())
            yield KeyAccounts(connection, key_id, most_pending, self._now())
            if dry:
                connection.rollback()

    def update(self, account_id: str, **values: object) -> None:
        """Set columns of an account on the seller's behalf, for example ``status="suspended"``.

        Raises:
            StartupError: There is no such account.
        """
        with self._control.begin() as connection:
            updated = _update(connection, account_id, values, self._now())
        if not updated:
            raise _no_account(account_id)

    def set_status(self, account_id: str, status: AccountStatus, check: Callable[[Account], None]) -> Account:
        """Set an account's status, unless ``check`` raises for the account as it is. The row is locked meanwhile.

        Returns:
            The account before the change.

        Raises:
            StartupError: There is no such account. Exceptions of ``check`` propagate, and nothing changes.
        """
        with self._control.begin() as connection:
            locked = select(account).where(account.c.account_id == account_id).with_for_update()
            row = connection.execute(locked).one_or_none()
            if row is None:
                raise _no_account(account_id)
            before = account_from(row)
            check(before)
            _update(connection, account_id, {"status": status}, self._now())
        return before

    def _refuse_duplicate(self, connection: Connection, new: Account) -> None:
        if connection.execute(select(account).where(account.c.account_id == new.account_id)).first():
            raise StartupError(f"The account {new.account_id!r} already exists.")
        same_natural_key = (
            account.c.brand_domain == new.brand_domain,
            account.c.operator == new.operator,
            account.c.sandbox == new.sandbox,
        )
        same = [account_from(row) for row in connection.execute(select(account).where(*same_natural_key))]
        if new.brand_domain and (taken := next((known for known in same if known.approved), None)):
            raise StartupError(f"The account {taken.account_id!r} already has this brand and operator.")


def _no_account(account_id: str) -> StartupError:
    return StartupError(f"There is no account {account_id!r}. 'postback accounts list' lists the accounts.")


def _insert(connection: Connection, created: Account, **more: object) -> None:
    values: Mapping[str, object] = {field: getattr(created, field) for field in Account.__slots__}
    connection.execute(account.insert().values({**values, "created_at": int(time.time()), **more}))
    place(connection, created.account_id)


def _update(connection: Connection, account_id: str, values: Mapping[str, object], now: float) -> int:
    if values.get("status", "closed") != "closed":
        _restore_sources(connection, account_id, now)
    statement = account.update().where(account.c.account_id == account_id).values(**_with_closed_from(values))
    return connection.execute(statement).rowcount


def _restore_sources(connection: Connection, account_id: str, now: float) -> None:
    """Note, if the account is closed, that its sources are active again from now on."""
    locked = select(account.c.status).where(account.c.account_id == account_id).with_for_update(key_share=True)
    if connection.scalar(locked) == "closed":
        of_account = event_source.update().where(event_source.c.account_id == account_id)
        connection.execute(of_account.values(restored_at=int(now)))


def _with_closed_from(values: Mapping[str, Any]) -> dict[str, Any]:
    """A new status resets ``closed_from``, unless the change sets it."""
    return {"closed_from": None, **values} if "status" in values else dict(values)
