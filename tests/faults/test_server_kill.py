"""SIGKILL of the server in the midst of its work, while buyers send: what it acknowledged is there, whole and once."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Server, StartServer, eventually, free_port
from tests.engine import select_from
from tests.faults.buyers import (
    Buyers,
    counted_impressions,
    exposures_call,
    order_call,
    sent_events,
    sent_exposures,
    stored_events,
    stored_exposures,
    stored_rejections,
)
from tests.faults.kills import committing, inserting, kill_during, waiting_in_log

Moment = Callable[[], object]
"""Tells whether the server is in the midst of something."""


def _killed_again_and_again(
    server: Server, buyers: Buyers, start_server: StartServer, *during: str, table: str = "", **settings: Any
) -> Server:
    """Kill the server and start it again while these buyers send; returns the one that runs in the end.

    It is killed during each of these: "an insert" into ``table``; "a commit" to the control store; "an answer" to one
    of several calls; and when there are "calls in the log". Each time some call is lost with it.
    """
    place = {"data": server.data, "port": server.url.rpartition(":")[2]} | settings
    control = sqlite3.connect(server.data / "control.db", timeout=0, isolation_level=None)
    commits: Moment = partial(committing, control)
    moments: dict[str, Callable[[], Moment]] = {
        "an insert": lambda: inserting(server.data, table),
        "a commit": lambda: commits,
        "an answer": lambda: partial(_has_answered_more_than, len(buyers.acknowledged), buyers),
        "calls in the log": lambda: partial(_has_logged_more_than, len(buyers.acknowledged), buyers, server.data),
    }
    with closing(control), buyers.sending():
        for what in during:
            buyers.wait_for_answers(random.randint(1, 40))
            _kill(server, buyers, moments[what](), what)
            server = start_server(**place)
        buyers.wait_for_answers(20)
    return server


def _kill(server: Server, buyers: Buyers, moment: Moment, what: str) -> None:
    lost = buyers.cut_off
    kill_during(server.process, moment, what)
    eventually(lambda: buyers.cut_off > lost, f"the loss of a call that was sent during {what}")


def _has_answered_more_than(calls: int, buyers: Buyers) -> bool:
    return len(buyers.acknowledged) > calls and bool(buyers.unanswered)


def _has_logged_more_than(calls: int, buyers: Buyers, data: Path) -> bool:
    return _has_answered_more_than(calls, buyers) and waiting_in_log(data)


def test_what_was_acknowledged_survives_kill_after_kill(start_server: StartServer) -> None:
    server = start_server()
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    buyers = Buyers(server)
    moments = ("an insert", "a commit", "an answer", "calls in the log")
    server = _killed_again_and_again(server, buyers, start_server, *moments, table="event")
    for body, answer in random.sample(list(buyers.acknowledged.values()), 20):
        replay = server.call("log_event", **body).json()
        assert replay["replayed"]
        assert _without_envelope(replay) == _without_envelope(answer)
    server.stop()

    bodies = [body for body, _ in buyers.acknowledged.values()]
    assert stored_events(server) == sent_events(bodies)
    assert stored_rejections(server) == {f"{body['idempotency_key']}-broken" for body in bodies}
    # Each call has a key, so that no retry was received twice; and no insert that was repeated is counted twice.
    counted = select_from(server.data, "SELECT sum(accepted), sum(rejected) FROM source_activity")
    assert counted == [(len(sent_events(bodies)), len(bodies))]
    with closing(sqlite3.connect(server.data / "control.db")) as control:
        assert control.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_start_that_is_killed_while_it_stores_the_log_is_repeated(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    buyers = Buyers(server)
    # While somebody's backup holds the control store, calls go into the log and stay there.
    with (
        closing(sqlite3.connect(server.data / "control.db", isolation_level=None)) as backup,
        buyers.sending(persistently=False),
    ):
        backup.execute("BEGIN IMMEDIATE")
        buyers.wait_for_answers(100)
        server.process.kill()
        server.process.wait()
    assert waiting_in_log(server.data)
    bodies = [body for body, _ in buyers.acknowledged.values()]
    for _ in range(3):
        _killed_while_it_stores_the_log(server.data, tmp_path / "printed")
    again = start_server(data=server.data)
    for body in bodies:
        assert again.call("log_event", **body).raise_for_status().json()["replayed"]
    again.stop()

    stored = stored_events(again)
    assert sent_events(bodies).items() <= stored.items()
    assert select_from(again.data, "SELECT sum(accepted) FROM source_activity") == [(len(stored),)]


def _killed_while_it_stores_the_log(data: Path, printed: Path) -> None:
    """Start a server and kill it when it is open and not done with the log, if it is to be caught."""
    command = [sys.executable, "-m", "postback", "serve", "--data", str(data), "--port", str(free_port())]
    with printed.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as process:
        eventually(printed.read_bytes, "a start", pause=0.001)
        process.kill()


def test_what_an_ad_server_reported_survives_kill_after_kill(start_server: StartServer) -> None:
    server = start_server()
    reporters = Buyers(server, "exposures", exposures_call)
    moments = ("an insert", "calls in the log")
    server = _killed_again_and_again(server, reporters, start_server, *moments, table="exposure")
    server.stop()
    server.command("attribute")

    sent = sent_exposures(body for body, _ in reporters.acknowledged.values())
    assert stored_exposures(server) == sent
    assert counted_impressions(server) == (len(sent), sum(cost for _, cost, _ in sent.values()))
    for body, answer in reporters.acknowledged.values():
        assert answer["exposures_processed"] == len(body["exposures"]) - 1


def test_what_was_ordered_is_bought_once_kill_after_kill(start_server: StartServer) -> None:
    server = start_server(sandbox="true")
    buyers = Buyers(server, "create_media_buy", order_call)
    server = _killed_again_and_again(server, buyers, start_server, "a commit", "an answer", sandbox="true")
    server.stop()

    with closing(sqlite3.connect(server.data / "control.db")) as control:
        kept = [media_buy_id for (media_buy_id,) in control.execute("SELECT media_buy_id FROM media_buy")]
    assert sorted(kept) == sorted(answer["media_buy_id"] for _, answer in buyers.acknowledged.values())


@pytest.mark.parametrize(
    ("made", "not_yet"),
    [
        ("secret.key", "control.db"),
        ("control.db", "events/metadata/default/*.sql"),
        ("events/metadata/default/*.sql", "events/data/default/event/*/checksums.txt"),
    ],
)
def test_a_server_that_is_killed_while_it_starts_for_the_first_time_can_start_again(
    start_server: StartServer, tmp_path: Path, made: str, not_yet: str
) -> None:
    data = next(filter(None, (_killed_between(made, not_yet, tmp_path / str(attempt)) for attempt in range(50))))

    server = start_server(data=data)
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    assert Buyers(server).send_one()["events_processed"] > 0


def _killed_between(made: str, not_yet: str, folder: Path) -> Path | None:
    """The data folder of a server that was killed when it had made the one and not the other; None if it was faster."""
    data, printed = folder / "data", folder / "printed"
    folder.mkdir()
    command = [sys.executable, "-m", "postback", "serve", "--data", str(data), "--port", str(free_port())]
    with printed.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as process:
        kill_during(process, lambda: any(data.glob(made)), f"making {made}")
    # It prints where it listens when all is open.
    return None if any(data.glob(not_yet)) or printed.read_bytes() else data


def _without_envelope(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in {"ext", "replayed"}}
