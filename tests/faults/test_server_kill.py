"""SIGKILL of the server at any moment, while buyers send: what it acknowledged is there, whole and once."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.conftest import Server, StartServer, free_port
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

_ROUNDS = 3


def _killed_again_and_again(server: Server, buyers: Buyers, start_server: StartServer, **settings: Any) -> Server:
    """Kill the server and start it again while these buyers send; returns the one that runs in the end."""
    place = {"data": server.data, "port": server.url.rpartition(":")[2]} | settings
    with buyers.sending():
        for _ in range(_ROUNDS):
            buyers.wait_for_answers(random.randint(1, 40))
            time.sleep(random.uniform(0, 0.02))  # somewhere inside an insert, a commit or an answer
            server.process.kill()
            server.process.wait()
            server = start_server(**place)
        buyers.wait_for_answers(20)
    return server


def test_what_was_acknowledged_survives_kill_after_kill(start_server: StartServer) -> None:
    server = start_server()
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    buyers = Buyers(server)
    server = _killed_again_and_again(server, buyers, start_server)
    for body, answer in random.sample(list(buyers.acknowledged.values()), 20):
        replay = server.call("log_event", **body).json()
        assert replay["replayed"]
        assert _without_envelope(replay) == _without_envelope(answer)
    server.stop()

    bodies = [body for body, _ in buyers.acknowledged.values()]
    assert stored_events(server) == sent_events(bodies)
    assert stored_rejections(server) == {f"{body['idempotency_key']}-broken" for body in bodies}
    with closing(sqlite3.connect(server.data / "control.db")) as control:
        assert control.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_what_an_ad_server_reported_survives_kill_after_kill(start_server: StartServer) -> None:
    server = start_server()
    reporters = Buyers(server, "exposures", exposures_call)
    server = _killed_again_and_again(server, reporters, start_server)
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
    server = _killed_again_and_again(server, buyers, start_server, sandbox="true")
    server.stop()

    with closing(sqlite3.connect(server.data / "control.db")) as control:
        kept = [media_buy_id for (media_buy_id,) in control.execute("SELECT media_buy_id FROM media_buy")]
    assert sorted(kept) == sorted(answer["media_buy_id"] for _, answer in buyers.acknowledged.values())


def test_a_server_that_is_killed_while_it_starts_for_the_first_time_can_start_again(
    start_server: StartServer, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    command = [sys.executable, "-m", "postback", "serve", "--data", str(data), "--port", str(free_port())]
    for moment in (0.4, 0.7, 1.0):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(moment * random.uniform(0.9, 1.1))
            process.kill()

    server = start_server(data=data)
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    assert Buyers(server).send_one()["events_processed"] > 0


def _without_envelope(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in {"ext", "replayed"}}
