"""Media buys in the control store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, Text, and_, case, cast, func, or_, select
from sqlalchemy.exc import IntegrityError

from postback.errors import InvalidRequest, MediaBuyNotFound, StoreUnavailable
from postback.media_buys.media_buy import MediaBuy, PackageGoals
from postback.store.control_store import ControlStore
from postback.store.tables import account, finality_request, media_buy

__all__ = ["MediaBuyStore"]


InTransaction = Callable[[Connection, MediaBuy], None]
"""Called in the transaction of a change, with the media buy as read back."""

_TIMES = ("start_at", "end_at", "created_at", "canceled_at")
_PLAIN = ("account_id", "media_buy_id", "currency", "paused", "revision")
_DOCUMENT = ("total_budget", "packages", "name", "context", "cancellation_reason")
_NEW_DAYS = 30
_BYTES_EACH = 5_000
"""What a media buy of an account may have on average: of 500 packages it has 300,000 bytes."""


@dataclass(slots=True)
class _Packages:
    """The packages of an account, the currencies of their media buys and which are final, through a change of these.

    Two threads may add to it at once: both read the same.
    """

    currencies: dict[tuple[str, str], str] = field(default_factory=dict)
    final: set[tuple[str, str]] = field(default_factory=set)
    change: int = 0
    read: bool = False


class MediaBuyStore:
    """The media buys of every account. Synchronous and thread-safe."""

    def __init__(self, control: ControlStore) -> None:
        self._control = control
        self._packages: dict[str, _Packages] = {}

    def create(
        self, new: MediaBuy, in_transaction: InTransaction = lambda _, __: None, most: int | None = None
    ) -> MediaBuy | None:
        """Store a new media buy; returns it as read back, or None if the account has one with this id.

        Args:
            new: The media buy.
            in_transaction: Called in the same transaction.
            most: How many of the account's may be open or new: reports and attribution go through all that there are.

        Raises:
            InvalidRequest: More would be, or they would be too large.
            StoreUnavailable: The control store rejects the write.
        """
        try:
            with self._control.begin() as connection:
                change = _next_change(connection, new.account_id)
                connection.execute(media_buy.insert().values(**_row(new), change=change))
                if most is not None:
                    _check_number(connection, new.account_id, most)
                    _check_size(connection, new.account_id, most)
                stored = _read(connection.execute(_one(new.account_id, new.media_buy_id)).one())
                in_transaction(connection, stored)
                return stored
        except IntegrityError:
            return None

    def get(self, account_id: str, media_buy_id: str) -> MediaBuy | None:
        """The media buy with this id, or None."""
        found = self._select(_identity(account_id, media_buy_id))
        return found[0] if found else None

    def find(
        self,
        account_ids: Sequence[str],
        media_buy_ids: Sequence[str] | None = None,
        statuses: Sequence[str] | None = None,
        after: tuple[int, str, str] | None = None,
        limit: int | None = None,
    ) -> list[MediaBuy]:
        """The media buys of these accounts, newest first.

        Args:
            account_ids: The accounts.
            media_buy_ids: Only these; None means all.
            statuses: Only those that have one of these statuses now; None means any.
            after: Start after this ``MediaBuy.position``.
            limit: The maximum number to return.
        """
        conditions: list[ColumnElement[bool]] = [media_buy.c.account_id.in_(account_ids)]
        if media_buy_ids is not None:
            conditions.append(media_buy.c.media_buy_id.in_(media_buy_ids))
        if statuses is not None:
            conditions.append(_status(_now()).in_(statuses))
        if after:
            conditions.append(_after(*after))
        return self._select(*conditions, limit=limit)

    def goals(self, account_id: str) -> list[PackageGoals]:
        """The packages of an account with event goals or final numbers, of canceled and completed buys too."""
        return [
            PackageGoals(buy, package)
            for buy in self._select(media_buy.c.account_id == account_id)
            for package in buy.packages
            if package.event_goals or package.finalized_at
        ]

    def package_currencies(self, account_id: str) -> Mapping[tuple[str, str], str]:
        """The media_buy_id and package_id of every package of an account → the currency of its media buy.

        While the control store doesn't answer they are those of the last look, since calls are only warned by them.
        """
        known = self._packages.setdefault(account_id, _Packages())
        try:
            self._read_packages(account_id, known)
        except StoreUnavailable:
            if not known.read:
                raise
        return known.currencies

    def final_packages(self, account_id: str) -> Set[tuple[str, str]]:
        """The media_buy_id and package_id of every package of an account whose numbers are final.

        Raises:
            StoreUnavailable: The control store doesn't answer: another server may have made numbers final since the
                last look.
        """
        known = self._packages.setdefault(account_id, _Packages())
        self._read_packages(account_id, known)
        return known.final

    def _read_packages(self, account_id: str, known: _Packages) -> None:
        """Add what has changed: packages stay in their media buy, its currency stays, and final numbers stay final."""
        changed = (
            select(media_buy.c.media_buy_id, media_buy.c.currency, media_buy.c.document, media_buy.c.change)
            .where(media_buy.c.account_id == account_id, media_buy.c.change > known.change)
            .order_by(media_buy.c.change)
        )
        with self._control.connect() as connection:
            for buy in connection.execute(changed):
                for package in buy.document["packages"]:
                    known.currencies[buy.media_buy_id, package["package_id"]] = buy.currency
                    if package.get("finalized_at"):
                        known.final.add((buy.media_buy_id, package["package_id"]))
                known.change = buy.change
        known.read = True

    def change(self, account_id: str) -> int:
        """A number that grows with every change to a media buy of an account; 0 without one."""
        newest = select(func.max(media_buy.c.change)).where(media_buy.c.account_id == account_id)
        with self._control.connect() as connection:
            return connection.scalar(newest) or 0

    def changes(self) -> dict[str, int]:
        """By account, a number that grows with every change to one of its media buys."""
        newest = select(media_buy.c.account_id, func.max(media_buy.c.change).label("newest")).group_by(
            media_buy.c.account_id
        )
        with self._control.connect() as connection:
            return {row.account_id: row.newest for row in connection.execute(newest)}

    def finalize(self, account_id: str, media_buy_id: str, package_id: str, moment: datetime) -> None:
        """Record when a package's numbers became final; the first time stays.

        Raises:
            StoreUnavailable: The control store rejects the write.
        """

        def finalized(buy: MediaBuy) -> MediaBuy:
            packages = tuple(
                msgspec.structs.replace(package, finalized_at=package.finalized_at or moment)
                if package.package_id == package_id
                else package
                for package in buy.packages
            )
            return msgspec.structs.replace(buy, packages=packages)

        asked = finality_request.c
        of_buy = (asked.account_id == account_id) & (asked.media_buy_id == media_buy_id)
        done = finality_request.delete().where(of_buy, asked.package_id == package_id)

        def answered(connection: Connection, _: MediaBuy) -> None:
            connection.execute(done)

        self.update(account_id, media_buy_id, finalized, answered)

    def request_finality(self, account_id: str, media_buy_id: str, package_id: str, received_through: int) -> None:
        """Have a package's numbers made final by the server that attributes, when it has come to a receipt time.

        Args:
            account_id: The account.
            media_buy_id: Its media buy.
            package_id: The package.
            received_through: What was received until then is to be in its numbers, in µs since the epoch.

        Raises:
            StoreUnavailable: The control store rejects the write.
        """
        keys = {"account_id": account_id, "media_buy_id": media_buy_id, "package_id": package_id}
        request = self._control.insert(finality_request).values(**keys, received_through=received_through)
        with self._control.begin() as connection:
            connection.execute(request.on_conflict_do_nothing(index_elements=list(keys)))

    def finality_requests(self, received_through: int) -> list[tuple[str, str, str]]:
        """Packages to be made final whose numbers have what was received until this time, as ids."""
        due = select(finality_request).where(finality_request.c.received_through <= received_through)
        with self._control.connect() as connection:
            return [(row.account_id, row.media_buy_id, row.package_id) for row in connection.execute(due)]

    def update(
        self,
        account_id: str,
        media_buy_id: str,
        change: Callable[[MediaBuy], MediaBuy],
        in_transaction: InTransaction = lambda _, __: None,
        most: int | None = None,
    ) -> MediaBuy:
        """Replace a media buy by what ``change`` returns for it; concurrent updates are serialized.

        Args:
            account_id: Its account.
            media_buy_id: Its identifier in the account.
            change: Returns the changed media buy, or the same one if nothing changes.
            in_transaction: Called in the same transaction.
            most: As for ``create``.

        Returns:
            The media buy as read back.

        Raises:
            MediaBuyNotFound: The account has no media buy with this id.
            InvalidRequest: It has grown, and the account's media buys would be too large.
            StoreUnavailable: The control store rejects the write. Exceptions of ``change`` propagate, and nothing
                changes.
        """
        with self._control.begin() as connection:
            number = _next_change(connection, account_id)
            row = connection.execute(_one(account_id, media_buy_id)).one_or_none()
            if row is None:
                raise MediaBuyNotFound("media_buy_id does not name one of your media buys.", field="media_buy_id")
            before = _read(row)
            after = change(before)
            if after is not before:
                update = media_buy.update().where(_identity(account_id, media_buy_id))
                connection.execute(update.values(**_row(after), change=number))
                if most is not None and len(msgspec.json.encode(after)) > len(msgspec.json.encode(before)):
                    _check_size(connection, account_id, most)
                after = _read(connection.execute(_one(account_id, media_buy_id)).one())
            in_transaction(connection, after)
            return after

    def _select(self, *conditions: ColumnElement[bool], limit: int | None = None) -> list[MediaBuy]:
        statement = (
            select(media_buy, _status(_now()).label("status"))
            .where(*conditions)
            .order_by(media_buy.c.created_at.desc(), media_buy.c.account_id, media_buy.c.media_buy_id)
            .limit(limit)
        )
        with self._control.connect() as connection:
            return [_read(row) for row in connection.execute(statement)]


def _identity(account_id: str, media_buy_id: str) -> ColumnElement[bool]:
    return and_(media_buy.c.account_id == account_id, media_buy.c.media_buy_id == media_buy_id)


def _one(account_id: str, media_buy_id: str) -> Select[Any]:
    return select(media_buy, _status(_now()).label("status")).where(_identity(account_id, media_buy_id))


def _status(now: int) -> ColumnElement[str]:
    """A buy's status at a time. Nothing else derives it."""
    return case(
        (media_buy.c.canceled_at.is_not(None), "canceled"),
        (media_buy.c.end_at <= now, "completed"),
        (media_buy.c.paused, "paused"),
        (media_buy.c.start_at > now, "pending_start"),
        else_="active",
    )


def _after(created_at: int, account_id: str, media_buy_id: str) -> ColumnElement[bool]:
    columns = media_buy.c
    return or_(
        columns.created_at < created_at,
        and_(columns.created_at == created_at, columns.account_id > account_id),
        and_(
            columns.created_at == created_at,
            columns.account_id == account_id,
            columns.media_buy_id > media_buy_id,
        ),
    )


def _next_change(connection: Connection, account_id: str) -> int:
    # The account's row is locked, so that changes are numbered in the order in which they are committed.
    connection.execute(select(account.c.account_id).where(account.c.account_id == account_id).with_for_update())
    newest = select(func.max(media_buy.c.change)).where(media_buy.c.account_id == account_id)
    return (connection.scalar(newest) or 0) + 1


def _counted(account_id: str) -> ColumnElement[bool]:
    """An account's media buys that are open or new: else a caller makes them and cancels them without end."""
    now = _now()
    still_open = _status(now).not_in(("canceled", "completed"))
    return and_(
        media_buy.c.account_id == account_id, or_(still_open, media_buy.c.created_at > now - _NEW_DAYS * 86_400)
    )


def _check_number(connection: Connection, account_id: str, most: int) -> None:
    if (connection.scalar(select(func.count()).where(_counted(account_id))) or 0) > most:
        raise InvalidRequest(
            f"The account has {most:,} media buys that are open or were made in the last {_NEW_DAYS} days, canceled "
            "ones included, and may not have more.",
            suggestion="Add packages to one of them with update_media_buy, or ask the seller for a higher limit.",
        )


def _check_size(connection: Connection, account_id: str, most: int) -> None:
    size = func.sum(func.length(cast(media_buy.c.document, Text)))
    if (connection.scalar(select(size).where(_counted(account_id))) or 0) > most * _BYTES_EACH:
        raise InvalidRequest(
            f"The account's media buys that are open or were made in the last {_NEW_DAYS} days may have "
            f"{most * _BYTES_EACH:,} bytes together, and would have more.",
            suggestion="Use fewer packages and shorter contexts, or ask the seller for a higher limit.",
        )


def _row(buy: MediaBuy) -> dict[str, Any]:
    times = {name: moment and int(moment.timestamp()) for name in _TIMES for moment in [getattr(buy, name)]}
    document = msgspec.to_builtins({name: getattr(buy, name) for name in _DOCUMENT})
    return {name: getattr(buy, name) for name in _PLAIN} | times | {"document": document}


def _read(row: Row[Any]) -> MediaBuy:
    times = {
        name: None if seconds is None else datetime.fromtimestamp(seconds, UTC)
        for name in _TIMES
        for seconds in [getattr(row, name)]
    }
    columns = {name: getattr(row, name) for name in (*_PLAIN, "status")}
    return msgspec.convert(columns | times | row.document, MediaBuy)


def _now() -> int:
    return int(datetime.now(UTC).timestamp())
