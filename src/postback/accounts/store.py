"""Accounts of advertisers, as they are kept."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from postback.errors import InvalidRequest, StartupError
from postback.principal import Account
from postback.store.control import ControlStore
from postback.store.tables import account, api_key, api_key_account

__all__ = ["AccountStore", "account_from"]

_ACCOUNT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_MOST_PROVISIONED = 1000
"""A key's accounts are read with every call of it."""


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
            if domain is not None and not _DOMAIN.fullmatch(domain):
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
        with self._control.begin() as connection:
            # The key's row is held, so that of two calls at once only one makes the account.
            connection.execute(select(api_key.c.key_id).where(api_key.c.key_id == key_id).with_for_update())
            found = self._granted(connection, key_id, wanted)
            return found or self._grant_new(connection, key_id, wanted)

    def provisioned_by(self, key_id: str) -> Sequence[Account]:
        """The accounts that were made for a key's own calls, by account_id."""
        made = select(account).where(account.c.provisioned_by == key_id).order_by(account.c.account_id)
        with self._control.connect() as connection:
            return [account_from(row) for row in connection.execute(made)]

    def change(self, account_id: str, **values: object) -> None:
        """Set columns of an account, as ``status="suspended"``.

        Raises:
            StartupError: There is no such account.
        """
        with self._control.begin() as connection:
            changed = connection.execute(account.update().where(account.c.account_id == account_id).values(values))
        if not changed.rowcount:
            raise StartupError(f"There is no account {account_id!r}. 'postback accounts list' shows them.")

    def _granted(self, connection: Connection, key_id: str, wanted: Account) -> Account | None:
        granted = select(account).join(api_key_account, api_key_account.c.account_id == account.c.account_id)
        row = connection.execute(
            granted.where(
                api_key_account.c.key_id == key_id,
                account.c.brand_domain == wanted.brand_domain,
                account.c.operator == wanted.operator,
                account.c.sandbox == wanted.sandbox,
            ).limit(1)
        ).one_or_none()
        return account_from(row) if row else None

    def _grant_new(self, connection: Connection, key_id: str, wanted: Account) -> Account:
        count = select(func.count()).where(api_key_account.c.key_id == key_id)
        if (connection.scalar(count) or 0) >= _MOST_PROVISIONED:
            raise InvalidRequest(
                f"Your API key acts for {_MOST_PROVISIONED:,} accounts, as many as it can.",
                suggestion="Use another API key for further accounts.",
            )
        account_id = wanted.account_id or f"acc_{secrets.token_hex(8)}"
        if connection.execute(select(account.c.account_id).where(account.c.account_id == account_id)).first():
            raise InvalidRequest("This account_id is taken.", field="account_id")
        values = {field: getattr(wanted, field) for field in Account.__slots__} | {"account_id": account_id}
        created = Account(**values)
        _insert(connection, created, provisioned_by=key_id)
        connection.execute(api_key_account.insert().values(key_id=key_id, account_id=account_id))
        return created

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


def _insert(connection: Connection, created: Account, **more: object) -> None:
    values: Mapping[str, object] = {field: getattr(created, field) for field in Account.__slots__}
    connection.execute(account.insert().values({**values, "created_at": int(time.time()), **more}))
