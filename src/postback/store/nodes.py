"""The nodes of an installation: the servers, each with a data folder of its own, that share one PostgreSQL.

A node has a number, which is in every receipt time that it issues, so that no two nodes issue the same one. With
several writers the order of receipt times is not that of inserts: each node publishes through which time it has stored
what it received, and whatever reads in that order stops at the earliest. A node that was killed holds that up until it
has stored what its log has, or an operator removes it. One that was stopped, and has stored all, holds nothing up.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, cast, delete, func, insert, select, update

from postback.errors import StartupError
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.receipt_times import ReceiptTimes
from postback.store.shards import Shards
from postback.store.tables import node

__all__ = [
    "GONE_SECONDS",
    "MOST_NODES",
    "Node",
    "NodeStatus",
    "forget_node",
    "list_nodes",
    "nodes_at_work",
    "nodes_behind",
    "silent_nodes",
]

MOST_NODES = 16
"""A node issues every sixteenth receipt time: 62,500 a second."""

GONE_SECONDS = 15
"""A node that was silent for so long doesn't live: each publishes every second."""

_NOW = cast(func.extract("epoch", func.now()), BigInteger)

_STATUS = node.c.number, node.c.place, node.c.role, node.c.stored_through, (_NOW - node.c.seen_at)


class NodeStatus(NamedTuple):
    """A node as the others see it.

    Attributes:
        number: From 0 to MOST_NODES - 1.
        place: Its machine and data folder.
        role: What it does, by POSTBACK_ROLE.
        stored_through: The time through which it has stored what it received, in µs since the epoch; None if that is
            all and nothing comes: it was stopped, or only works.
        silent_seconds: How long ago it last published that.
    """

    number: int
    place: str
    role: str
    stored_through: int | None
    silent_seconds: int

    @property
    def may_work(self) -> bool:
        """Whether it only works, and may live: of such a node nothing else tells."""
        return self.role == "work" and self.silent_seconds < GONE_SECONDS


class Node:
    """This process as a node. Synchronous and thread-safe.

    Attributes:
        number: From 0 to MOST_NODES - 1, for good.
        placements: The version of the placements that the others believe it to go by.
    """

    def __init__(self, control: ControlStore, node_id: str, process: str, number: int, placements: int = 0) -> None:
        self._control = control
        self._own = (node.c.node_id == node_id, node.c.process == process)
        self._others = node.c.node_id != node_id
        self.number = number
        self.placements = placements

    @classmethod
    def joined(cls, control: ControlStore, folder: DataDir, shards: Shards, role: str = "all") -> Node | None:
        """Whoever receives into the event stores, as a node; None on SQLite, where it is the only one.

        Raises:
            StartupError: There are MOST_NODES others, or some although the event store is in the data folder.
            StoreUnavailable: The control store rejects the write.
        """
        if not control.shared:
            return None
        if shards.embedded and (others := _others(control, folder)):
            raise StartupError(
                f"The events of this server are in its data folder, but {others} uses this database, too, and would "
                "lack them. Have all servers store events in one ClickHouse by POSTBACK_EVENTS; or, if that server is "
                "gone for good, see 'postback nodes list' and 'postback nodes remove'."
            )
        joined = cls.join(control, folder, shards.receipt_times, role)
        shards.stored_elsewhere = joined.stored_through_elsewhere
        return joined

    @classmethod
    def join(cls, control: ControlStore, folder: DataDir, times: ReceiptTimes, role: str = "all") -> Node:
        """Register a data folder as a node, and have ``times`` issue the node's.

        Call it before anything is received, while no other node starts.

        Raises:
            StartupError: There are MOST_NODES others.
            StoreUnavailable: The control store rejects the write.
        """
        node_id, process = folder.node_id(), secrets.token_hex(8)
        with control.begin() as connection:
            numbers = {row.node_id: row.number for row in connection.execute(select(node.c.node_id, node.c.number))}
            free = set(range(MOST_NODES)) - set(numbers.values())
            if node_id not in numbers and not free:
                raise StartupError(
                    f"{MOST_NODES} servers use this database already, which is the most. 'postback nodes list' lists "
                    "them; remove one whose data folder is gone with 'postback nodes remove'."
                )
            number = numbers.get(node_id, min(free, default=0))
            # Readers see this node before it looks how far they may have come.
            began = _furthest(connection)
            values: dict[str, Any] = {"process": process, "place": _place(folder.path), "role": role}
            values |= {"by_shard": None, "seen_at": _NOW}
            if node_id not in numbers:
                values |= {"node_id": node_id, "number": number, "stored_through": began}
                connection.execute(insert(node).values(values))
            else:
                values |= {"stored_through": func.coalesce(node.c.stored_through, began)}
                connection.execute(update(node).where(node.c.node_id == node_id).values(values))
        with control.connect() as connection:
            times.share(number, MOST_NODES, _furthest(connection))
            placements = connection.scalar(select(node.c.placements).where(node.c.node_id == node_id)) or 0
        return cls(control, node_id, process, number, placements)

    @classmethod
    def taken_over(cls, control: ControlStore, node_id: str) -> Node | None:
        """The place of a node that is gone for good, for whoever has its log; None if it was removed.

        If its process lives nevertheless, it notices and stops.

        Raises:
            StartupError: It may live.
            StoreUnavailable: The control store rejects the write.
        """
        process = secrets.token_hex(8)
        own = node.c.node_id == node_id
        with control.begin() as connection:
            row = connection.execute(select(*_STATUS).where(own).with_for_update()).first()
            if row is None:
                return None
            found = NodeStatus(*row)
            if found.stored_through is not None and found.silent_seconds < GONE_SECONDS:
                raise StartupError(
                    f"Node {found.number} ({found.place}) was seen {found.silent_seconds} s ago: it runs, or another "
                    f"command adopts its log. If it was killed, run this again in {GONE_SECONDS} s."
                )
            connection.execute(update(node).where(own).values(process=process, seen_at=_NOW))
        return cls(control, node_id, process, found.number)

    @staticmethod
    def that_issued(control: ControlStore, received_at: int) -> str | None:
        """The id of the node that issued a receipt time which it has not stored; None if it was removed.

        Raises:
            StoreUnavailable: The control store doesn't answer.
        """
        issued = (node.c.number == received_at % MOST_NODES) & (node.c.stored_through < received_at)
        with control.connect() as connection:
            node_id: str | None = connection.scalar(select(node.c.node_id).where(issued))
            return node_id

    def publish(self, stored_through: Mapping[int, int | None] | None) -> bool:
        """Tell the others through which time this node has stored what it received, in µs since the epoch.

        With None it holds nothing up, also when it is killed: it has stored everything, and receives nothing.

        Args:
            stored_through: By the number of the shard; None for one for which it has stored all, and receives nothing.

        Returns:
            Whether this process still is the node; not when another one uses a copy of its data folder.

        Raises:
            StoreUnavailable: The control store rejects the write.
        """
        times = [through for through in (stored_through or {}).values() if through is not None]
        if not stored_through or not times:
            return self._write(None)
        several = {str(number): through for number, through in stored_through.items()}
        return self._write(min(times), several if len(several) > 1 else None)

    def follow(self, placements: int) -> None:
        """Tell the others by which version of the placements this node goes.

        Raises:
            StoreUnavailable: The control store rejects the write.
        """
        with self._control.begin() as connection:
            connection.execute(update(node).where(*self._own).values(placements=placements))
        self.placements = placements

    def leave(self) -> None:
        """Tell the others that this node stops, and has stored everything.

        Raises:
            StoreUnavailable: The control store rejects the write.
        """
        self._write(None)

    def remove(self) -> None:
        """Have it forgotten, for its folder is used no more and all of its log is stored.

        Raises:
            StoreUnavailable: The control store rejects the write.
        """
        with self._control.begin() as connection:
            connection.execute(delete(node).where(*self._own))

    def stored_through_elsewhere(self, shard: int) -> int | None:
        """The earliest time that another node has published, in µs since the epoch; None if none holds anything up.

        Args:
            shard: Of this shard.

        Raises:
            StoreUnavailable: The control store doesn't answer.
        """
        published = select(node.c.stored_through, node.c.by_shard).where(
            self._others, node.c.stored_through.is_not(None)
        )
        with self._control.connect() as connection:
            rows = connection.execute(published).all()
        times = ((row.by_shard or {}).get(str(shard), row.stored_through) for row in rows)
        return min((through for through in times if through is not None), default=None)

    def _write(self, stored_through: int | None, by_shard: dict[str, int | None] | None = None) -> bool:
        values = {"stored_through": stored_through, "by_shard": by_shard, "seen_at": _NOW}
        with self._control.probing() as connection:
            return connection.execute(update(node).where(*self._own).values(values)).rowcount == 1


def list_nodes(control: ControlStore) -> list[NodeStatus]:
    """Every node, by its number."""
    with control.connect() as connection:
        return [NodeStatus(*row) for row in connection.execute(select(*_STATUS).order_by(node.c.number))]


def nodes_at_work(control: ControlStore, node_id: str) -> list[NodeStatus]:
    """The nodes, but for one, that have not stopped, or have not stored all that they received."""
    others = select(*_STATUS).where(node.c.node_id != node_id).order_by(node.c.number)
    with control.connect() as connection:
        found = [NodeStatus(*row) for row in connection.execute(others)]
    return [each for each in found if each.stored_through is not None or each.may_work]


def nodes_behind(control: ControlStore, placements: int) -> list[NodeStatus]:
    """The nodes that do not go by a version of the placements yet, and store or derive something.

    Raises:
        StoreUnavailable: The control store doesn't answer.
    """
    behind = select(*_STATUS).where(node.c.placements < placements).order_by(node.c.number)
    with control.connect() as connection:
        found = [NodeStatus(*row) for row in connection.execute(behind)]
    return [each for each in found if each.stored_through is not None or each.may_work]


def silent_nodes(connection: Connection) -> list[NodeStatus]:
    """The nodes that went without leave: what they received last may not be stored, so attribution waits for them."""
    rows = connection.execute(select(*_STATUS).where(node.c.stored_through.is_not(None)).order_by(node.c.number))
    return [found for row in rows if (found := NodeStatus(*row)).silent_seconds >= GONE_SECONDS]


def forget_node(control: ControlStore, number: int) -> None:
    """Remove a node whose data folder is gone; what its log had is lost, and nothing waits for it any more.

    Raises:
        StartupError: There is none with this number.
    """
    with control.begin() as connection:
        if not connection.execute(delete(node).where(node.c.number == number)).rowcount:
            raise StartupError(f"There is no node {number}. 'postback nodes list' lists the nodes.")


def _furthest(connection: Connection) -> int:
    """The latest time that a node has published of any shard, in µs since the epoch; 0 if none has."""
    rows = connection.execute(select(node.c.stored_through, node.c.by_shard))
    times = (through for row in rows for through in (row.stored_through, *(row.by_shard or {}).values()))
    return max((through or 0 for through in times), default=0)


def _others(control: ControlStore, folder: DataDir) -> str:
    """Another node than a folder's, by its place; empty if there is none."""
    with control.connect() as connection:
        return connection.scalar(select(node.c.place).where(node.c.node_id != folder.node_id())) or ""


def _place(folder: Path) -> str:
    return f"{socket.gethostname()}:{folder}"
