"""Servers that share one PostgreSQL know each other, and how far each has stored what it received."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from postback.errors import StartupError
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore
from postback.store.nodes import MOST_NODES, Node, forget_node, list_nodes
from postback.store.receipt_times import ReceiptTimes
from postback.store.shards import Shards


@pytest.fixture
def control(new_postgresql: Callable[[], str]) -> Iterator[ControlStore]:
    with closing(ControlStore(new_postgresql())) as store:
        store.migrate()
        yield store


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Callable[[str], DataDir]]:
    """Opens data folders by their names."""
    with ExitStack() as opened:
        yield lambda name: opened.enter_context(closing(DataDir.open(tmp_path / name)))


def test_no_two_servers_issue_the_same_receipt_time(control: ControlStore, folders: Callable[[str], DataDir]) -> None:
    issued = []
    for name in ("first", "second", "third"):
        times = ReceiptTimes()
        Node.join(control, folders(name), times)
        issued += [{first + n * times.step for n in range(1_000)} for first in (times.take(1_000), times.take(1_000))]

    assert len(set().union(*issued)) == 6_000


def test_a_server_is_the_same_node_after_a_restart(control: ControlStore, folders: Callable[[str], DataDir]) -> None:
    first, second = folders("first"), folders("second")

    joined = [Node.join(control, folder, ReceiptTimes()).number for folder in (first, second, first, second)]

    assert joined == [0, 1, 0, 1]
    assert [status.number for status in list_nodes(control)] == [0, 1]


def test_nothing_is_stored_through_a_time_that_another_server_has_not_reached(
    control: ControlStore, folders: Callable[[str], DataDir]
) -> None:
    fast, slow = (Node.join(control, folders(name), ReceiptTimes()) for name in ("fast", "slow"))

    assert fast.publish({1: 5_000})
    assert slow.publish({1: 3_000})
    assert (fast.stored_through_elsewhere(1), slow.stored_through_elsewhere(1)) == (3_000, 5_000)

    slow.leave()
    assert fast.stored_through_elsewhere(1) is None


def test_a_shard_that_one_server_could_not_reach_is_all_that_the_others_wait_for(
    control: ControlStore, folders: Callable[[str], DataDir]
) -> None:
    here, there = (Node.join(control, folders(name), ReceiptTimes()) for name in ("here", "there"))

    there.publish({1: 5_000, 2: 3_000})
    assert [here.stored_through_elsewhere(shard) for shard in (1, 2, 3)] == [5_000, 3_000, 3_000]

    there.publish({1: None, 2: 3_000})  # it was stopped, and what it received for the second shard waits
    assert [here.stored_through_elsewhere(shard) for shard in (1, 2)] == [None, 3_000]


def test_a_killed_server_holds_the_others_up_until_it_has_stored_its_log_or_is_removed(
    control: ControlStore, folders: Callable[[str], DataDir]
) -> None:
    folder = folders("killed")
    other = Node.join(control, folders("other"), ReceiptTimes())
    killed = Node.join(control, folder, ReceiptTimes())
    other.publish({1: 1_000})
    killed.publish({1: 2_000})
    other.publish({1: 9_000})
    again = Node.join(control, folder, ReceiptTimes())

    assert other.stored_through_elsewhere(1) == 2_000
    assert again.publish({1: 8_000})
    assert other.stored_through_elsewhere(1) == 8_000

    forget_node(control, again.number)
    assert other.stored_through_elsewhere(1) is None
    with pytest.raises(StartupError, match="There is no node 7"):
        forget_node(control, 7)


def test_a_server_that_starts_issues_no_time_that_others_have_gone_past(
    control: ControlStore, folders: Callable[[str], DataDir]
) -> None:
    ahead, times = 2**62, ReceiptTimes()
    Node.join(control, folders("ahead"), ReceiptTimes()).publish({1: ahead})

    Node.join(control, folders("new"), times)

    assert times.take(1) > ahead


def test_a_server_notices_that_another_one_runs_on_a_copy_of_its_folder(
    control: ControlStore, folders: Callable[[str], DataDir], tmp_path: Path
) -> None:
    original = Node.join(control, folders("original"), ReceiptTimes())
    (tmp_path / "copy").mkdir(mode=0o700)
    (tmp_path / "copy" / "node").write_text((tmp_path / "original" / "node").read_text())
    copy = Node.join(control, folders("copy"), ReceiptTimes())

    assert not original.publish({1: 1_000})
    assert copy.publish({1: 1_000})
    assert [status.stored_through for status in list_nodes(control)] == [1_000]


def test_so_many_servers_and_no_more(control: ControlStore, folders: Callable[[str], DataDir]) -> None:
    joined = [Node.join(control, folders(f"node{n}"), ReceiptTimes()).number for n in range(MOST_NODES)]
    one_more = folders("one more")

    with pytest.raises(StartupError, match="16 servers use this database already"):
        Node.join(control, one_more, ReceiptTimes())
    forget_node(control, 3)

    assert sorted(joined) == list(range(MOST_NODES))
    assert Node.join(control, one_more, ReceiptTimes()).number == 3


def test_a_server_whose_events_are_in_its_folder_shares_its_database_with_none(
    control: ControlStore, folders: Callable[[str], DataDir]
) -> None:
    alone, other = folders("alone"), folders("other")
    with closing(EventStore.open(alone.events_dsn, alone.scratch)) as events:
        joined = [Node.joined(control, alone, Shards.alone(events)) for _ in range(2)]
        with pytest.raises(StartupError, match="alone uses this database, too, and would lack them"):
            Node.joined(control, other, Shards.alone(events))

    assert [node and node.number for node in joined] == [0, 0]
