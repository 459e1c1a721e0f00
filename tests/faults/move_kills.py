"""Kills moves to servers under load, again and again: python -m tests.faults.move_kills --kills 100

Each try starts a server on a folder of its own and lets buyers send events. Its installation is moved to ClickHouse and
PostgreSQL; the command is killed at any moment, several times, before and after the server was stopped. In the end the
new place must have what was acknowledged, once. The tries are counted in a file, so that a later run goes on with them.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import Server, StartServer, eventually, servers, shared_clickhouse
from tests.faults.buyers import EVENTS, Buyers
from tests.faults.counted_tries import counted_tries, markdown_table, options_of_tries
from tests.integration.conftest import postgresql_databases
from tests.integration.moves import CLICKS, Move, batch, check_ledger, is_reported, sell

COUNTED = "tests/faults/counted/move_kills.jsonl"
_LONGEST_SECONDS = 6


def run_try() -> dict[str, Any]:
    """Move one installation, and compare; returns how often its moves were killed, by when, as ``kills``."""
    with (
        tempfile.TemporaryDirectory(prefix="postback-move-kills-") as name,
        postgresql_databases() as new_postgresql,
        servers(partial(_place, Path(name))) as start,
    ):
        return {"kills": _kill_and_compare(start, Path(name) / "log", new_postgresql())}


def _place(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix="server-", dir=folder))


def _kill_and_compare(start: StartServer, log: Path, control: str) -> Counter[str]:
    server = start(sandbox="true", validation_workers=0)
    events = shared_clickhouse().new_database()
    move = partial(Move, log, "--to", events, "--control", control, data=str(server.data))
    media_buy_id, buyers, kills = sell(server), Buyers(server, arguments=batch, buyers=1), Counter[str]()
    with buyers.sending():
        buyers.wait_for_answers(CLICKS)
        kills["while the server runs"] = sum(_killed(move()) for _ in range(3))
        server.stop()
        kills["after it has stopped"] = sum(_killed(move()) for _ in range(3))
        move().succeed()
        server = _moved(start, server, events, control)
        buyers.wait_for_answers(2)
    eventually(partial(is_reported, server, media_buy_id, CLICKS * EVENTS), "the report of every conversion")
    server.stop()
    check_ledger(buyers, shared_clickhouse(), events.rpartition("/")[2])
    return kills


def _killed(move: Move) -> bool:
    """Kill a move at any moment; returns whether it was still at work."""
    time.sleep(random.uniform(1, _LONGEST_SECONDS))
    at_work = move.process.poll() is None
    move.process.kill()
    move.process.wait()
    return at_work


def _moved(start: StartServer, server: Server, events: str, control: str) -> Server:
    place: dict[str, Any] = {"data": server.data, "port": urlsplit(server.url).port, "sandbox": "true"}
    return start(events=events, control=control, validation_workers=0, **place)


def main() -> None:
    """Run the tries, and print what came of all of them."""
    options = options_of_tries(__doc__, COUNTED, kills=100).parse_args()
    wanted = 0 if options.table else options.kills
    tries = counted_tries(wanted, options.counted, run_try, lambda told: sum(told["kills"].values()))
    kills: Counter[str] = Counter()
    for told in tries:
        kills.update(told["kills"])
    sys.stdout.write(markdown_table(("Killed", "Moves"), [*sorted(kills.items()), ("All", kills.total())]) + "\n")


if __name__ == "__main__":
    main()
