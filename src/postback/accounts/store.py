"""Accounts of advertisers, as they are kept."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, select

from postback.errors import InvalidRequest, StartupError
from postback.principal import Account
from postback.protocol.domains import is_domain
from postback.protocol.enums import AccountStatus
from postback.store.control import ControlStore
from postback.store.tables import account, api_key, api_key_account

__all__ = ["AccountStore", "KeyAccounts", "account_from"]

_ACCOUNT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_MOST_PROVISIONED = 1000
"""A key's accounts are read with every call of it, the closed ones too."""


class KeyAccounts:
    """One API key's accounts while they are being changed; what is changed here is committed together.

    Attributes:
        connection: The transaction that it happens in.
        by_id: The accounts that the key acts for, by account_id.
        own: The ids of those that were made for the key's own calls.
    """

    def __init__(self, connection: Connection, key_id: str) -> None:
        self.connection = connection
        self._key_id = key_id
        granted = (
            select(account)
            .join(api_key_account, api_key_account.c.account_id == account.c.account_id)
            .where(api_key_account.c.key_id == key_id)
            .order_by(account.c.account_id)
            # Held, so that what the seller decides meanwhile isn't overwritten; what is logged goes on.
            .with_for_update(of=account, key_share=True)
        )
        rows = connection.execute(granted).all()
        self.by_id = {row.account_id: account_from(row) for row in rows}
        self.own = {row.account_id for row in rows if row.provisioned_by == key_id}
        self._ids = {known.natural_key: id_ for id_, known in self.by_id.items() if known.brand_domain}

    def find(self, brand_domain: str | None, operator: str | None, sandbox: bool) -> Account | None:
        """The account of this brand, operator and sandbox that the key acts for, or None."""
        account_id = self._ids.get((brand_domain, operator, sandbox))
        return self.by_id[account_id] if account_id else None

    def add(self, wanted: Account) -> Account:
        """Make an account for the key; an empty account_id stands for a new one.

        Raises:
            InvalidRequest: The key has as many accounts as it may, or the account_id is taken.
        """
        if len(self.by_id) >= _MOST_PROVISIONED:
            raise InvalidRequest(
                f"Your API key acts for {_MOST_PROVISIONED:,} accounts, as many as it can.",
                suggestion="Use another API key for further accounts.",
            )
        taken = select(account.c.account_id).where(account.c.account_id == wanted.account_id)
        if wanted.account_id and self.connection.execute(taken).first():
            raise InvalidRequest("This account_id is taken.", field="account_id")
        made = replace(wanted, account_id=wanted.account_id or f"acc_{secrets.token_hex(8)}")
        _insert(self.connection, made, provisioned_by=self._key_id)
        link = {"key_id": self._key_id, "account_id": made.account_id}
        self.connection.execute(api_key_account.insert().values(link))
        self.by_id[made.account_id] = made
        self.own.add(made.account_id)
        self._ids[made.natural_key] = made.account_id
        return made

    def change(self, account_id: str, **values: Any) -> Account:
        """Set columns of an account, as ``payment_terms="net_30"``; returns it as it is now."""
        _update(self.connection, account_id, values)
        self.by_id[account_id] = changed = replace(self.by_id[account_id], **_complete(values))
        return changed


class AccountStore:
    """The accounts that this server keeps conversions for. Synchronous and thread-safe."""

    def __init__(self, control: ControlStore) -> None:
        self._control = control

    def create(
        self,
        account_id: str,
        name: str | None = None,
        brand_domain: str | None = None,
        operator: str | None = None,
        sandbox: bool = False,
    ) -> Account:
        """Add an account. A brand without ``operator`` operates itself.

        Raises:
            StartupError: A malformed or taken account_id, or a malformed or taken brand and operator.
        """
        if not _ACCOUNT_ID.fullmatch(account_id):
            raise StartupError(
                f"{account_id!r} is not an account_id: use 1 to 128 letters, digits and '_', '.', ':' or '-', "
                "beginning with a letter or digit."
            )
        if operator and not brand_domain:
            raise StartupError("An operator acts for a brand: give the brand's domain too.")
        operator = operator or brand_domain
        for role, domain in (("brand's domain", brand_domain), ("operator", operator)):
            if domain is not None and not is_domain(domain):
                raise StartupError(
                    f"{domain!r} is not a domain for the {role}: write it in lower case, as shop.example."
                )
        created = Account(account_id, name or account_id, brand_domain, operator, sandbox)
        with self._control.begin() as connection:
            self._refuse_taken(connection, created)
            _insert(connection, created)
        return created

    def list(self) -> list[Account]:
        """All accounts, by account_id."""
        with self._control.connect() as connection:
            return [account_from(row) for row in connection.execute(select(account).order_by(account.c.account_id))]

    def get(self, account_id: str) -> Account | None:
        """The account with this id, or None."""
        with self._control.connect() as connection:
            row = connection.execute(select(account).where(account.c.account_id == account_id)).one_or_none()
        return account_from(row) if row else None

    def provision(self, key_id: str, wanted: Account) -> Account:
        """The account of ``wanted``'s brand, operator and sandbox that a key acts for; made for it if there is none.

        Two keys never share an account in this way: what one agent reports is not shown to another that claims to act
        for the same brand.

        Args:
            key_id: The key.
            wanted: The account; an empty account_id stands for a new one.

        Raises:
            InvalidRequest: The key has as many accounts as it may, or the account_id is taken.
            StoreUnavailable: The control store doesn't take it.
        """
        with self.edit(key_id) as held:
            return held.find(*wanted.natural_key) or held.add(wanted)

    @contextmanager
    def edit(self, key_id: str, *, dry: bool = False) -> Iterator[KeyAccounts]:
        """Change a key's accounts; concurrent edits of one key's follow each other.

        Args:
            key_id: The key.
            dry: Whether to keep nothing of it.

        Raises:
            StoreUnavailable: The control store doesn't take the change; nothing of it is kept.
        """
        with self._control.begin() as connection:
            connection.execute(select(api_key.c.key_id).where(api_key.c.key_id == key_id).with_for_update())
            yield KeyAccounts(connection, key_id)
            if dry:
                connection.rollback()

    def change(self, account_id: str, **values: object) -> None:
        """Set columns of an account, as ``status="suspended"``, for the seller.

        Raises:
            StartupError: There is no such account.
        """
        with self._control.begin() as connection:
            changed = _update(connection, account_id, values)
        if not changed:
            raise _no_account(account_id)

    def move(self, account_id: str, status: AccountStatus, check: Callable[[Account], None]) -> Account:
        """Give an account a status, unless ``check`` raises for what it is; nobody else changes it meanwhile.

        Returns:
            The account as it was.

        Raises:
            StartupError: There is no such account. What ``check`` raises is passed on; nothing changes.
        """
        with self._control.begin() as connection:
            held = select(account).where(account.c.account_id == account_id).with_for_update()
            row = connection.execute(held).one_or_none()
            if row is None:
                raise _no_account(account_id)
            before = account_from(row)
            check(before)
            _update(connection, account_id, {"status": status})
        return before

    def _refuse_taken(self, connection: Connection, wanted: Account) -> None:
        if connection.execute(select(account).where(account.c.account_id == wanted.account_id)).first():
            raise StartupError(f"The account {wanted.account_id!r} exists already.")
        alike = (
            account.c.brand_domain == wanted.brand_domain,
            account.c.operator == wanted.operator,
            account.c.sandbox == wanted.sandbox,
        )
        if wanted.brand_domain and connection.execute(select(account).where(*alike)).first():
            raise StartupError("Another account has this brand and operator already.")


def account_from(row: Row[Any]) -> Account:
    """The account in a row of the table ``account``, or of a join with it."""
    return Account(**{field: getattr(row, field) for field in Account.__slots__})


def _no_account(account_id: str) -> StartupError:
    return StartupError(f"There is no account {account_id!r}. 'postback accounts list' shows them.")


def _insert(connection: Connection, created: Account, **more: object) -> None:
    values: Mapping[str, object] = {field: getattr(created, field) for field in Account.__slots__}
    connection.execute(account.insert().values({**values, "created_at": int(time.time()), **more}))


def _update(connection: Connection, account_id: str, values: Mapping[str, object]) -> int:
    changed = account.update().where(account.c.account_id == account_id).values(**_complete(values))
    return connection.execute(changed).rowcount


def _complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """A status that anybody decides ends what a buyer's closing remembered, but for that closing itself."""
    return {"closed_from": None, **values} if "status" in values else dict(values)
