"""Media buys, as they are kept: who bought what, when it runs, and which conversions it counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, func, or_, select
from sqlalchemy.exc import IntegrityError

from postback.errors import MediaBuyNotFound
from postback.media_buys.goals import EventGoal
from postback.protocol.enums import MediaBuyStatus, Pacing
from postback.store.control import ControlStore
from postback.store.tables import account, media_buy

__all__ = ["MediaBuy", "MediaBuyStore", "Package", "PackageGoals"]


class Package(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of a media buy (core/package.json).

    Attributes:
        package_id: Unique in the buy.
        product_id: What is bought.
        pricing_option_id: How it is paid for.
        budget: Most that it may spend, in the buy's currency.
        start_at: When it begins, if later than the buy.
        end_at: When it ends, if sooner than the buy.
        goals: The conversions that count for it.
        context: The buyer's own, echoed unchanged.
        finalized_at: Since when its numbers are final; None while they may change.
        canceled_at: When it was canceled, or None.
        cancellation_reason: Why, in the buyer's words.
    """

    package_id: str
    product_id: str
    pricing_option_id: str
    budget: float
    bid_price: float | None = None
    impressions: float | None = None
    pacing: Pacing | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None
    paused: bool = False
    goals: tuple[EventGoal, ...] = ()
    context: dict[str, Any] | None = None
    finalized_at: datetime | None = None
    canceled_at: datetime | None = None
    cancellation_reason: str | None = None

    @property
    def event_goals(self) -> tuple[EventGoal, ...]:
        """The goals that count conversions."""
        return tuple(goal for goal in self.goals if goal.kind == "event")


class MediaBuy(msgspec.Struct, frozen=True, kw_only=True):
    """A media buy. Times are UTC, to the second.

    Attributes:
        account_id: The account that it is billed to.
        media_buy_id: Unique in the account.
        status: Its status at the time it was read.
        currency: ISO 4217 code of all its amounts.
        start_at: When it begins.
        end_at: When it ends.
        created_at: When it was made, which is when the seller committed to it.
        paused: Whether it is held.
        canceled_at: When it was canceled, or None.
        revision: Grows whenever the buyer or seller changes it.
        total_budget: Most that it may spend.
        packages: Its lines, at least one.
        name: For people, or None.
        context: The buyer's own, echoed unchanged.
        cancellation_reason: Why it was canceled, in the buyer's words.
    """

    account_id: str
    media_buy_id: str
    status: MediaBuyStatus = "active"
    currency: str
    start_at: datetime
    end_at: datetime
    created_at: datetime
    paused: bool = False
    canceled_at: datetime | None = None
    revision: int = 1
    total_budget: float
    packages: tuple[Package, ...]
    name: str | None = None
    context: dict[str, Any] | None = None
    cancellation_reason: str | None = None

    @property
    def position(self) -> tuple[int, str, str]:
        """Where it stands in the order of ``MediaBuyStore.page``."""
        return int(self.created_at.timestamp()), self.account_id, self.media_buy_id


class PackageGoals(NamedTuple):
    """A package that counts conversions, and the buy that it belongs to."""

    media_buy: MediaBuy
    package: Package


Also = Callable[[Connection, MediaBuy], None]
"""Something that happens in the transaction of a change."""

_TIMES = ("start_at", "end_at", "created_at", "canceled_at")
_PLAIN = ("account_id", "media_buy_id", "currency", "paused", "revision")
_DOCUMENT = ("total_budget", "packages", "name", "context", "cancellation_reason")


class MediaBuyStore:
    """The media buys of every account. Synchronous and thread-safe."""

    def __init__(self, control: ControlStore) -> None:
        self._control = control
        self._keys: dict[str, tuple[int, frozenset[tuple[str, str]]]] = {}

    def create(self, created: MediaBuy, also: Also = lambda _, __: None) -> MediaBuy | None:
        """Keep a new media buy; returns it as read back, or None when the account has one of this id.

        Args:
            created: The media buy.
            also: What is to happen in the same transaction, with the media buy as read back.

        Raises:
            StoreUnavailable: The control store doesn't take it.
        """
        try:
            with self._control.begin() as connection:
                connection.execute(
                    media_buy.insert().values(**_row(created), change=_next_change(connection, created.account_id))
                )
                kept = _read(connection.execute(_one(created.account_id, created.media_buy_id)).one())
                also(connection, kept)
                return kept
        except IntegrityError:
            return None

    def get(self, account_id: str, media_buy_id: str) -> MediaBuy | None:
        """The media buy of this id, or None."""
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
            statuses: Only those with one of these statuses now; None means any.
            after: Begin after this ``MediaBuy.position``.
            limit: The most to return.
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
        """The packages of an account that count conversions, those of canceled and completed buys too."""
        return [
            PackageGoals(buy, package)
            for buy in self._select(media_buy.c.account_id == account_id)
            for package in buy.packages
            if package.event_goals
        ]

    def package_keys(self, account_id: str) -> frozenset[tuple[str, str]]:
        """The media_buy_id and package_id of every package of an account."""
        change = self.changes().get(account_id, 0)
        if account_id not in self._keys or self._keys[account_id][0] != change:
            buys = self._select(media_buy.c.account_id == account_id)
            keys = frozenset((buy.media_buy_id, package.package_id) for buy in buys for package in buy.packages)
            self._keys[account_id] = change, keys
        return self._keys[account_id][1]

    def changes(self) -> dict[str, int]:
        """By account, a number that grows with every change of one of its media buys."""
        newest = select(media_buy.c.account_id, func.max(media_buy.c.change).label("newest")).group_by(
            media_buy.c.account_id
        )
        with self._control.connect() as connection:
            return {row.account_id: row.newest for row in connection.execute(newest)}

    def finalize(self, account_id: str, media_buy_id: str, package_id: str, moment: datetime) -> None:
        """Note since when a package's numbers are final; the first such note stays.

        Raises:
            StoreUnavailable: The control store doesn't take it.
        """

        def finalized(buy: MediaBuy) -> MediaBuy:
            packages = tuple(
                msgspec.structs.replace(package, finalized_at=package.finalized_at or moment)
                if package.package_id == package_id
                else package
                for package in buy.packages
            )
            return msgspec.structs.replace(buy, packages=packages)

        self.change(account_id, media_buy_id, finalized)

    def change(
        self,
        account_id: str,
        media_buy_id: str,
        changed: Callable[[MediaBuy], MediaBuy],
        also: Also = lambda _, __: None,
    ) -> MediaBuy:
        """Replace a media buy by what ``changed`` makes of it; nobody else changes it meanwhile.

        Args:
            account_id: Its account.
            media_buy_id: Its identifier in the account.
            changed: What becomes of it; the media buy itself when nothing does.
            also: What is to happen in the same transaction, with the media buy as read back.

        Returns:
            The media buy as read back.

        Raises:
            MediaBuyNotFound: The account has none of this id.
            StoreUnavailable: The control store doesn't take it. What ``changed`` raises is passed on; nothing changes.
        """
        with self._control.begin() as connection:
            number = _next_change(connection, account_id)
            row = connection.execute(_one(account_id, media_buy_id)).one_or_none()
            if row is None:
                raise MediaBuyNotFound("There is no such media buy of yours.", field="media_buy_id")
            before = _read(row)
            after = changed(before)
            if after is not before:
                update = media_buy.update().where(_identity(account_id, media_buy_id))
                connection.execute(update.values(**_row(after), change=number))
                after = _read(connection.execute(_one(account_id, media_buy_id)).one())
            also(connection, after)
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
    """A buy's status at a moment; the one place that says what it depends on."""
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
    # The account's row is held, so that concurrent changes are numbered in the order in which they are committed.
    connection.execute(select(account.c.account_id).where(account.c.account_id == account_id).with_for_update())
    newest = select(func.max(media_buy.c.change)).where(media_buy.c.account_id == account_id)
    return (connection.scalar(newest) or 0) + 1


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
    members = {name: getattr(row, name) for name in (*_PLAIN, "status")}
    return msgspec.convert(members | times | row.document, MediaBuy)


def _now() -> int:
    return int(datetime.now(UTC).timestamp())
