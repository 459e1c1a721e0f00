"""The shards of the event store: databases of their own, each with all that is stored of the accounts placed on it.

What is asked about an account is asked of its shard, and what is asked about all is asked of each: no statement reads
two shards, so that one that is away is away for its own accounts only.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Self, TypeVar

from postback.clickhouse_url import ClickHouseUrl
from postback.clock import Clock
from postback.errors import StartupError, StoreUnavailable
from postback.store.account_moves import AccountMove, PlacedAccount
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.event_engine import EngineUnreachable
from postback.store.event_store import EventStore
from postback.store.installation import open_event_store, open_shared_event_store
from postback.store.placements import FIRST_SHARD, Placements, ShardRow, list_shards
from postback.store.receipt_times import ReceiptTimes

__all__ = ["Shards", "open_shards", "open_shared_shards"]

_Item = TypeVar("_Item")

_log = logging.getLogger(__name__)


class Shards:
    """The event stores of an installation. Synchronous and thread-safe. ``Shards.alone`` makes one of a single store.

    Args:
        times: Of what arrives, for whatever shard.
        control: Where the shards and the accounts on them are listed; None where there is one shard for good.
        connect: Opens the store of a shard.

    Attributes:
        receipt_times: The same as ``times``.
        stored_elsewhere: Returns the time through which other servers have stored what they received for the shard of a
            number, in µs since the epoch; None where none holds anything up.
    """

    def __init__(
        self,
        times: ReceiptTimes,
        control: ControlStore | None = None,
        connect: Callable[[ShardRow], EventStore] | None = None,
    ) -> None:
        self.receipt_times = times
        self.stored_elsewhere: Callable[[int], int | None] = lambda _: None
        self._control = control
        self._connect = connect
        self._placements = Placements(control) if control else None
        self._stores: dict[int, EventStore] = {}
        self._away: dict[int, str] = {}
        self._opening = threading.Lock()

    @classmethod
    def alone(cls, events: EventStore) -> Self:
        """An event store that has every account."""
        shards = cls(events.receipt_times)
        shards._take(FIRST_SHARD, events)
        return shards

    def close(self) -> None:
        """Close every store."""
        with ExitStack() as stack:
            for events in self:
                stack.callback(events.close)

    def __iter__(self) -> Iterator[EventStore]:
        """The stores that are open, by the number of the shard."""
        return iter([self._stores[number] for number in sorted(self._stores)])

    @property
    def embedded(self) -> EventStore | None:
        """The only store, if its engine is inside this process."""
        first = self._stores.get(FIRST_SHARD)
        return first if first and first.engine.embedded else None

    @property
    def numbers(self) -> list[int]:
        """The numbers of all shards that are known."""
        return sorted({*self._stores, *self._away})

    @property
    def away(self) -> dict[int, str]:
        """What is wrong with the shards that can't be opened, by number."""
        return dict(self._away)

    def require_all(self) -> None:
        """Check that every shard is open, for a command that works on all.

        Raises:
            StartupError: One is away.
        """
        for number, problem in self.away.items():
            raise StartupError(f"Shard {number} is away, and this works on all. {problem}")

    def known(self, account_id: str) -> int | None:
        """The number of an account's shard, without asking the control store; None where that is necessary."""
        return self._placements.known(account_id) if self._placements else FIRST_SHARD

    def number(self, account_id: str) -> int:
        """The number of an account's shard.

        Raises:
            StoreUnavailable: The control store doesn't answer.
        """
        return self._placements.of(account_id) if self._placements else FIRST_SHARD

    def has(self, events: EventStore, account_id: str) -> bool:
        """Whether an event store is that of an account, and anything may be derived from what it has.

        Raises:
            StoreUnavailable: The control store doesn't answer.
        """
        if (switching := self.switching) and switching.account_id == account_id:
            return False
        return self.number(account_id) == events.number

    @property
    def move(self) -> AccountMove | None:
        """The account that is on its way to another shard, as far as this server goes by it."""
        return self._placements.move if self._placements else None

    @property
    def switching(self) -> AccountMove | None:
        """The account that is being switched to another shard, so that nothing may be stored; None if there is none."""
        return self._placements.switching if self._placements else None

    def stands_still(self, number: int) -> bool:
        """Whether nothing may be derived on a shard, since it gets or loses an account."""
        switching = self.switching
        return switching is not None and number in (switching.shard, switching.other)

    @property
    def placements(self) -> int:
        """The version of the placements that this server goes by."""
        return self._placements.version if self._placements else 0

    def placement_changes(self) -> Sequence[PlacedAccount]:
        """The accounts whose placement has changed since.

        Raises:
            StoreUnavailable: The control store doesn't answer.
        """
        return self._placements.changes() if self._placements else ()

    def take_up(self, changes: Sequence[PlacedAccount]) -> None:
        """Go by what has changed; no flush is at work."""
        if self._placements:
            self._placements.take_up(changes)

    def require_flowing(self) -> None:
        """Go by where accounts are now, for a command that stores what waits in a log; no server uses the log.

        Raises:
            StartupError: An account is being switched to another shard, so nothing may be stored.
            StoreUnavailable: The control store doesn't answer.
        """
        self.take_up(self.placement_changes())
        if switching := self.switching:
            raise StartupError(
                f"Account {switching.account_id} is being moved to shard {switching.other}, and nothing may be stored "
                "meanwhile. Run the command again when that has ended."
            )

    def of(self, account_id: str) -> EventStore:
        """The event store that has an account.

        Raises:
            StoreUnavailable: It is away, or the control store doesn't answer.
        """
        return self.get(self.number(account_id))

    def get(self, number: int) -> EventStore:
        """The event store of a shard.

        Raises:
            StoreUnavailable: It is away, or the control store doesn't answer.
        """
        if number not in self._stores and number not in self._away:
            self.refresh()  # another server has added it
        events = self._stores.get(number)
        if events is None:
            raise StoreUnavailable("The event store is not available.", retry_after=1)
        return events

    def grouped(
        self, items: Iterable[_Item], account_of: Callable[[_Item], str]
    ) -> list[tuple[EventStore, list[_Item]]]:
        """The event stores that have the accounts of these items, each with its own of them.

        Raises:
            StoreUnavailable: One is away, or the control store doesn't answer.
        """
        groups: dict[int, list[_Item]] = {}
        for item in items:
            groups.setdefault(self.number(account_of(item)), []).append(item)
        return [(self.get(number), group) for number, group in sorted(groups.items())]

    def stored_through(self) -> dict[int, int]:
        """By shard, the time through which this server has stored what it received, in µs since the epoch."""
        return {number: self.receipt_times.stored_through(number) for number in self.numbers}

    def last_received_at(self) -> int:
        """The newest received_at of any live event in the stores that are open; 0 when there is none.

        Raises:
            StoreUnavailable: One of them doesn't answer.
        """
        return max((events.last_received_at() for events in self), default=0)

    def refresh(self, *, starting: bool = False) -> None:
        """Open the shards that were added, and those that are away.

        Args:
            starting: Whether the start fails if one can't be used, unless it can't be reached and there are others.

        Raises:
            StartupError: The start fails.
            StoreUnavailable: The control store doesn't answer.
        """
        if self._control is None or self._connect is None:
            return
        rows = list_shards(self._control)
        with self._opening:
            for row in (row for row in rows if row.number not in self._stores):
                try:
                    events = self._connect(row)
                except (StartupError, StoreUnavailable) as error:
                    if starting and (len(rows) == 1 or not isinstance(error, EngineUnreachable)):
                        raise
                    if row.number not in self._away:
                        _log.error("Shard %d is away, and tried again every second. %s", row.number, error)
                    self._away[row.number] = str(error)
                else:
                    self._take(row.number, events)
            if starting and self._placements:
                self._placements.learn()

    def _take(self, number: int, events: EventStore) -> None:
        events.number = number
        events.receipt_times = self.receipt_times
        events.stored_elsewhere = partial(self._elsewhere, number)
        self._stores[number] = events
        if self._away.pop(number, None):
            _log.warning("Shard %d answers again.", number)

    def _elsewhere(self, number: int) -> int | None:
        return self.stored_elsewhere(number)


def open_shards(
    folder: DataDir,
    control: ControlStore,
    url: str | None = None,
    *,
    sandbox: bool | None = None,
    clock: Clock | None = None,
    patience: float = 0,
) -> Shards:
    """Open the shards of an installation. Where there are several, one that can't be reached is left for later.

    Args:
        folder: The data folder.
        control: Its control store.
        url: The first shard, if it isn't in the folder.
        sandbox: Whether the server is a sandbox; None for a command, which may work on either.
        clock: The time, for receipt times.
        patience: Seconds for which to wait for the only shard, if it can't be reached.

    Raises:
        StartupError: A shard can't be used, or belongs to another control store, secret or kind of server.
    """
    if url is None:
        return Shards.alone(open_event_store(folder, control, sandbox=sandbox, clock=clock))
    alone = len(list_shards(control)) == 1

    def connect(dsn: str, times: ReceiptTimes) -> EventStore:
        wait = patience if alone else 0
        return open_event_store(folder, control, dsn, sandbox=sandbox, times=times, patience=wait)

    return _opened(control, url, connect, clock)


def open_shared_shards(control: ControlStore, url: str) -> Shards:
    """The same for a command that has no data folder.

    Raises:
        StartupError: A shard can't be used, or belongs to another control store.
    """
    return _opened(control, url, partial(open_shared_event_store, control))


def _opened(
    control: ControlStore,
    url: str,
    connect: Callable[[str, ReceiptTimes], EventStore],
    clock: Clock | None = None,
) -> Shards:
    first, times = ClickHouseUrl.parse(url), ReceiptTimes(clock=clock)
    shards = Shards(times, control, lambda row: connect(first.beside(row.url).text if row.url else first.text, times))
    try:
        shards.refresh(starting=True)
    except BaseException:
        shards.close()
        raise
    return shards
