"""Of several servers one works at a time, and one that was replaced stores nothing any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.conftest import eventually

from postback.attribution.by_shard import lease_of, unattributed_shards
from postback.errors import StoreUnavailable
from postback.store.control_store import ControlStore
from postback.store.leases import LEASE_SECONDS, Lease


@pytest.fixture
def control(new_postgresql: Callable[[], str]) -> Iterator[ControlStore]:
    with closing(ControlStore(new_postgresql())) as store:
        store.migrate()
        yield store


def let_it_end(control: ControlStore) -> None:
    """As if nobody had renewed a lease for long enough."""
    with control.begin() as connection:
        connection.execute(text(f"UPDATE lease SET held_until = held_until - {LEASE_SECONDS}"))


def waiting(control: ControlStore) -> Any:
    """How many transactions wait for another."""
    with control.connect() as connection:
        return connection.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))


def test_one_of_many_gets_the_lease_and_keeps_it(control: ControlStore) -> None:
    leases = [Lease(control, "attribution") for _ in range(8)]

    with ThreadPoolExecutor(8) as threads:
        numbers = [state.number for state in threads.map(Lease.take, leases)]
        again = [state.number for state in threads.map(Lease.take, leases)]

    assert sorted(filter(None, numbers)) == [1]
    assert again == numbers
    assert Lease(control, "retention").take().number == 1


def test_a_holder_that_is_gone_is_replaced_and_stores_nothing_any_more(control: ControlStore) -> None:
    gone, other = Lease(control, "attribution"), Lease(control, "attribution")
    gone.take()
    gone.note(5_000)
    let_it_end(control)

    taken = other.take()

    assert (taken.number, taken.progress) == (2, 5_000)
    with control.begin() as connection:
        other.require(connection)
        with pytest.raises(StoreUnavailable, match="Another server has taken over: attribution"):
            gone.require(connection)
    with pytest.raises(StoreUnavailable):
        gone.note(9_000)
    assert gone.take() == (None, 5_000)


def test_a_holder_that_was_late_for_its_own_lease_begins_anew(control: ControlStore) -> None:
    lease = Lease(control, "attribution")
    lease.take()
    let_it_end(control)

    assert lease.take().number == 2


def test_nobody_takes_over_while_the_holder_stores_what_its_work_came_to(control: ControlStore) -> None:
    holder, other = Lease(control, "attribution"), Lease(control, "attribution")
    holder.take()
    let_it_end(control)
    with ThreadPoolExecutor(1) as threads:
        with control.begin() as connection:
            holder.require(connection)
            taking = threads.submit(other.take)
            eventually(lambda: waiting(control))
            before = taking.done()

        assert not before
        assert taking.result().number == 2


def test_a_server_that_stops_lets_another_take_over_at_once(control: ControlStore) -> None:
    stopped, other = Lease(control, "attribution"), Lease(control, "attribution")
    other.release()
    stopped.take()
    other.release()
    assert other.take().number is None

    stopped.release()

    assert other.take().number == 2


def test_shards_on_which_nobody_attributes_are_known(control: ControlStore) -> None:
    for shard in (1, 3):
        lease_of(control, shard).take()

    with control.connect() as connection:
        assert unattributed_shards(connection, [1, 2, 3]) == [2]


def test_the_only_server_on_sqlite_holds_every_lease_without_storing_it(tmp_path: Path) -> None:
    with closing(ControlStore(f"sqlite:///{tmp_path}/control.db")) as control:
        control.migrate()
        lease = Lease(control, "attribution")
        lease.note(7)
        with control.begin() as connection:
            lease.require(connection)
            stored = connection.scalar(text("SELECT count(*) FROM lease"))

        assert lease.take() == (0, 7)
        assert stored == 0
