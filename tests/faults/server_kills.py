"""Kills a server under mixed load, again and again: python -m tests.faults.server_kills --kills 1000

Each try starts a server on a folder of its own and lets buyers send events and orders, agencies accounts, ad servers
exposures and totals, visitors click, and the server forward what it accepts. It is killed in the middle of inserts, of
a commit, with calls in its log, at any moment, and sometimes while it starts; each time the next server goes on with
the folder. In the end every answer is compared with what is stored, counted and forwarded. The tries are counted in a
file, so that a later run goes on with them.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import StartServer, eventually, servers
from tests.faults.counted_tries import counted_tries, markdown_table, options_of_tries
from tests.faults.kills import committing, inserting, kill_during, waiting_in_log
from tests.faults.mixed_load import MixedLoad
from tests.integration.upstream import Upstream, upstream

COUNTED = "tests/faults/counted/server_kills.jsonl"

_STARTS_KILLED = 0.4
"""How often the start after a kill is killed as well."""


def run_try() -> dict[str, Any]:
    """Kill one server after the other on one folder, and compare what is left.

    Returns:
        ``kills``, by what they hit; ``acknowledged``, by kind; ``cut_off``, the calls that a kill left without an
        answer.

    Raises:
        AssertionError: Something was lost, or is there twice. The folder is kept, and printed.
    """
    folder = Path(tempfile.mkdtemp(prefix="postback-kills-"))
    try:
        with upstream() as receiver, servers(partial(_place, folder)) as start:
            config = folder / "seller.toml"
            config.write_text(receiver.seller_config("website"))
            told = _kill_and_compare(start, receiver, config)
    except BaseException:
        sys.stderr.write(f"The folder of the try that failed: {folder}\n")
        raise
    shutil.rmtree(folder)
    return told


def _place(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix="server-", dir=folder))


def _kill_and_compare(start: StartServer, receiver: Upstream, config: Path) -> dict[str, Any]:
    server = start(sandbox="true", seller_config=config)
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    settings = {"data": server.data, "port": urlsplit(server.url).port, "sandbox": "true", "seller_config": config}
    load = MixedLoad(server, receiver)
    hits: Counter[str] = Counter()
    with load.sending():
        for what, moment in _moments(server.data):
            load.events.wait_for_answers(random.randint(1, 40))
            lost = load.cut_off
            kill_during(server.process, moment(), what)
            eventually(partial(_more_than, lost, load), f"the loss of a call that was sent during {what}")
            hits[what] += 1
            if random.random() < _STARTS_KILLED:
                _kill_a_start(settings)
                hits["a start"] += 1
            server = start(**settings)
        load.events.wait_for_answers(20)
    load.check_replays()
    eventually(load.everything_was_forwarded, "the forwarding of every event")
    server.stop()
    return {"kills": hits, "acknowledged": load.check_stored(), "cut_off": load.cut_off}


def _moments(data: Path) -> list[tuple[str, Callable[[], Callable[[], object]]]]:
    """What a server is caught in the middle of, in some order. Each is looked for anew when its turn comes."""
    moments: list[tuple[str, Callable[[], Callable[[], object]]]] = [
        ("an insert of events", lambda: inserting(data, "event")),
        ("an insert of exposures", lambda: inserting(data, "exposure")),
        ("a commit of the control store", lambda: partial(_committing, data)),
        ("calls in the log", lambda: partial(waiting_in_log, data)),
        ("any moment", lambda: partial(_later, time.monotonic() + random.random())),
    ]
    random.shuffle(moments)
    return moments


def _committing(data: Path) -> bool:
    with closing(sqlite3.connect(data / "control.db", timeout=0, isolation_level=None)) as control:
        return committing(control)


def _later(moment: float) -> bool:
    return time.monotonic() > moment


def _more_than(calls: int, load: MixedLoad) -> bool:
    return load.cut_off > calls


def _kill_a_start(settings: dict[str, Any]) -> None:
    """Start the next server and kill it before it is done with what the one before left in its log, or right after."""
    environ = os.environ | {f"POSTBACK_{name.upper()}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "postback", "serve"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(random.uniform(0.2, 3))
        process.kill()


def table(tries: Sequence[dict[str, Any]]) -> str:
    """What came of the tries, as tables of Markdown; one in which something was lost is not among them."""
    kills: Counter[str] = Counter()
    acknowledged: Counter[str] = Counter()
    for each in tries:
        kills.update(each["kills"])
        acknowledged.update(each["acknowledged"])
    killed = [*sorted(kills.items()), ("All", kills.total())]
    stored = [(what.capitalize(), number) for what, number in sorted(acknowledged.items())]
    again = ("Calls that a kill cut off, and that were sent again", sum(each["cut_off"] for each in tries))
    return "\n\n".join(
        (
            markdown_table(("Killed during", "Kills"), killed),
            markdown_table(("Acknowledged, and there once", "Number"), [*stored, again]),
        )
    )


def main() -> None:
    """Run the tries, and print what came of all of them."""
    options = options_of_tries(__doc__, COUNTED, kills=1000).parse_args()
    wanted = 0 if options.table else options.kills
    tries = counted_tries(wanted, options.counted, run_try, lambda each: sum(each["kills"].values()))
    sys.stdout.write(table(tries) + "\n")


if __name__ == "__main__":
    main()
