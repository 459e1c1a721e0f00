"""What befalls a cluster: each fault is a context in which it lasts, and is sure to hit work in progress."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from email.utils import parsedate_to_datetime
from functools import partial

from tests.conftest import HTTP, Server, eventually
from tests.fault_proxy import Fault, FaultProxy
from tests.faults.cluster import Cluster, faketime, with_clock
from tests.faults.cluster_load import ClusterLoad
from tests.faults.kills import kill_during, suspended_during, waiting_in_log
from tests.integration.moves import Move

from postback.store.account_moves import COPYING, LEAVING, SWITCHING
from postback.store.nodes import GONE_SECONDS

__all__ = ["CLOCK", "FAULTS", "ON_STORES", "Faults"]

CLOCK = "a server's clock is ten seconds off"

_CLOCK_SECONDS = 10
_LEFT_BEHIND = "rows are stored. Node"


class Faults:
    """Faults of one cluster under load.

    Args:
        cluster: What they befall.
        load: Who calls it.
        chance: Chooses servers and shards.
    """

    def __init__(self, cluster: Cluster, load: ClusterLoad, chance: random.Random) -> None:
        self._cluster = cluster
        self._load = load
        self._chance = chance
        self._on_its_way = ""

    @contextmanager
    def killed(self) -> Iterator[None]:
        """A server is killed with calls in its log and others on their way, and started again on its folder."""
        server = self._killed()
        yield
        self._cluster.restart(server)

    @contextmanager
    def killed_in_move(self, phase: str) -> Iterator[None]:
        """The same while an account moves to the other shard."""
        with self._moving(phase):
            server = self._killed(partial(self._is_in, phase))
            yield
            self._cluster.restart(server)

    @contextmanager
    def move_killed(self, phase: str) -> Iterator[None]:
        """The command that moves an account to the other shard is killed, and run again until the account is there."""
        with self._moving(phase) as move:
            kill_during(move.process, partial(self._is_in, phase), f"the {phase} of an account")
            yield

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """A server stands still with calls in its log, and goes on: a machine that was paused."""
        server = self._any_server()
        with self._suspended(server):
            yield

    @contextmanager
    def added(self) -> Iterator[None]:
        """A server comes, and gets its share of the calls."""
        self._answers(self._cluster.add())
        yield

    @contextmanager
    def removed(self) -> Iterator[None]:
        """A server is killed for good. What lies in its log is stored by another machine that mounts its folder."""
        server = self._killed()
        self._cluster.remove(server)
        gone_at = time.monotonic() + GONE_SECONDS + 2
        yield
        time.sleep(max(gone_at - time.monotonic(), 0))
        said = self._cluster.command("log", "adopt", str(server.data))
        assert _LEFT_BEHIND in said, said

    @contextmanager
    def clocked(self) -> Iterator[None]:
        """A server is stopped, and started with a clock that is ten seconds off; it keeps that."""
        server, ahead = self._any_server(), self._chance.choice((-_CLOCK_SECONDS, _CLOCK_SECONDS))
        server.stop()
        server = self._cluster.restart(server, with_clock(ahead))
        shown = parsedate_to_datetime(HTTP.get(f"{server.url}/healthz").headers["Date"]).timestamp() - time.time()
        assert abs(shown - ahead) < _CLOCK_SECONDS / 2, f"the clock is {shown} s off, not {ahead} s"
        self._answers(server)
        yield

    @contextmanager
    def of_a_shard(self, fault: Fault) -> Iterator[None]:
        """Something befalls what servers ask of a shard: one with an account that stays, so that they insert there."""
        places = self._cluster.places.items()
        shard = self._chance.choice(sorted({shard for account_id, shard in places if account_id != self._on_its_way}))
        with self._failing(self._cluster.shards[shard], fault):
            yield

    @contextmanager
    def of_clickhouse(self) -> Iterator[None]:
        """The ClickHouse server of both shards is killed, and started again; calls wait in the logs meanwhile."""
        self._cluster.clickhouse.kill()
        try:
            for server in self._cluster.servers:
                eventually(partial(waiting_in_log, server.data), "a call in the log of a server")
            yield
        finally:
            self._cluster.clickhouse.start()

    @contextmanager
    def of_postgresql(self, fault: Fault) -> Iterator[None]:
        """Something befalls what servers ask of PostgreSQL."""
        with self._failing(self._cluster.postgresql, fault):
            yield

    @contextmanager
    def _failing(self, proxy: FaultProxy, fault: Fault) -> Iterator[None]:
        with proxy.failing(fault):
            eventually(lambda: proxy.hits, f"a request that meets the fault '{fault.kind}'")
            yield

    def _any_server(self) -> Server:
        return self._chance.choice(self._cluster.servers)

    def _killed(self, when: Callable[[], bool] = lambda: True) -> Server:
        server = self._any_server()
        with self._suspended(server, when):
            server.process.kill()
        server.process.wait()
        return server

    @contextmanager
    def _moving(self, phase: str) -> Iterator[Move]:
        """An account is about to get to a phase of its move when the block begins, and moved when it has ended."""
        account_id, shard = self._chance.choice(sorted(self._cluster.places.items()))
        other, self._on_its_way = 1 - shard, account_id
        move = self._cluster.move(account_id, other)
        for earlier in list(_PHASES)[: list(_PHASES).index(phase)]:
            eventually(partial(self._is_in, earlier, phase), f"the {earlier} of an account")
        yield move
        move.process.wait()
        eventually(lambda: self._cluster.has_moved(account_id, other), "the move of an account, run again,", 1)
        self._on_its_way = ""

    def _is_in(self, *phases: str) -> bool:
        return self._cluster.phase() in phases

    @contextmanager
    def _suspended(self, server: Server, when: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """A server stands still in the block, with calls in its log and a call that waits for its answer."""
        caught = suspended_during(
            server.process, lambda: when() and waiting_in_log(server.data), "calls in the log of a server"
        )
        with caught:
            eventually(lambda: self._load.pending[server.url], "a call to the server that stands still")
            yield

    def _answers(self, server: Server) -> None:
        before = self._load.answered[server.url]
        eventually(lambda: self._load.answered[server.url] > before, "the first answer of a server")


_Befalling = Callable[[Faults], AbstractContextManager[None]]

_PHASES = {
    COPYING: "while an account is copied to the other shard",
    SWITCHING: "while an account is switched to the other shard",
    LEAVING: "while an account leaves its old shard",
}


def _of_phase(fault: Callable[[Faults, str], AbstractContextManager[None]], phase: str) -> _Befalling:
    return lambda faults: fault(faults, phase)


ON_STORES: dict[str, _Befalling] = {
    "a shard refuses connections": lambda faults: faults.of_a_shard(Fault("refuse")),
    "a shard answers 503": lambda faults: faults.of_a_shard(Fault("busy")),
    "a shard's connection is cut in the middle of an insert": lambda faults: faults.of_a_shard(
        Fault("cut", only=b"INSERT")
    ),
    "a shard's acknowledgement of an insert is lost": lambda faults: faults.of_a_shard(Fault("lose", only=b"INSERT")),
    "a shard answers late": lambda faults: faults.of_a_shard(Fault("delay", seconds=0.5)),
    "a shard doesn't answer": lambda faults: faults.of_a_shard(Fault("freeze")),
    "ClickHouse is killed": Faults.of_clickhouse,
    "PostgreSQL refuses connections": lambda faults: faults.of_postgresql(Fault("refuse")),
    "PostgreSQL doesn't answer": lambda faults: faults.of_postgresql(Fault("freeze")),
    "PostgreSQL answers late": lambda faults: faults.of_postgresql(Fault("delay", seconds=0.1)),
}
"""By its name in tables, a fault of what servers share; a server may be killed or frozen meanwhile."""

FAULTS: dict[str, _Befalling] = {
    "a server is killed": Faults.killed,
    **{f"a server is killed {when}": _of_phase(Faults.killed_in_move, phase) for phase, when in _PHASES.items()},
    **{f"a move is killed {when}": _of_phase(Faults.move_killed, phase) for phase, when in _PHASES.items()},
    "a server stands still": Faults.frozen,
    "a server is added": Faults.added,
    "a server is killed for good, and its log adopted": Faults.removed,
    **({CLOCK: Faults.clocked} if faketime() else {}),
    **ON_STORES,
}
"""Every fault by its name in tables; that of clocks only where Debian's faketime is installed."""
