"""What tests of ``postback move`` share: the command as a process, and a seller with something to count."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, text
from tests.acceptance.conversions import ago, call
from tests.clickhouse_server import ClickHouseServer
from tests.conftest import eventually
from tests.faults.buyers import EVENTS, Body, Buyers, order_call
from tests.faults.buyers import call as batch_in_euros

if TYPE_CHECKING:
    from tests.conftest import Server

CLICKS = 10
"""Calls of buyers whose events somebody clicked for."""


class Move:
    """``postback move`` in a process of its own, or another command that moves something.

    Args:
        log: File for what it prints.
        arguments: Its options.
        command: Its name.
        settings: POSTBACK_* variables.
    """

    def __init__(self, log: Path, *arguments: str, command: Sequence[str] = ("move",), **settings: str) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("POSTBACK_")}
        environ |= {f"POSTBACK_{name.upper()}": value for name, value in settings.items()}
        self._log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "postback", *command, *arguments], env=environ, stdout=stream, stderr=stream
            )

    @property
    def printed(self) -> str:
        """What it has printed."""
        return self._log.read_text()

    def wait_until(self, words: str) -> None:
        """Wait until it has printed these words."""
        eventually(lambda: words in self.printed or self.process.poll() is not None, words)
        assert words in self.printed, self.printed

    def succeed(self) -> str:
        """Wait until it ends well; returns what it printed."""
        assert self.process.wait(timeout=300) == 0, self.printed
        return self.printed


def batch(number: int) -> Body:
    """The arguments of one log_event call, in the currency of media buys."""
    arguments = batch_in_euros(number)
    for event in arguments["events"][:-1]:
        event["custom_data"]["currency"] = "USD"
    return arguments


def sell(server: Server) -> str:
    """Have clicks on a media buy lead to the events that ``Buyers`` send first; returns its id."""
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    goal = {
        "kind": "event",
        "event_sources": [{"event_source_id": "website", "event_type": "purchase", "value_field": "value"}],
        "attribution_window": {"post_click": {"interval": 7, "unit": "days"}},
    }
    order = order_call(0)
    order["packages"][0]["optimization_goals"] = [goal]
    bought = call(server, "rest", "create_media_buy", order)
    click(server, bought["media_buy_id"], [event for number in range(CLICKS) for event in batch(number)["events"][:-1]])
    return str(bought["media_buy_id"])


def click(server: Server, media_buy_id: str, events: Sequence[dict[str, Any]]) -> None:
    """Have a click on a media buy lead to each of these events."""
    [found] = call(server, "rest", "get_media_buys", {"media_buy_ids": [media_buy_id]})["media_buys"]
    clicked = {"media_buy_id": media_buy_id, "package_id": found["packages"][0]["package_id"]}
    clicks = [
        clicked
        | {
            "exposure_id": event["event_id"],
            "kind": "click",
            "occurred_at": ago(hours=2),
            "user_match": {"hashed_email": event["user_match"]["hashed_email"]},
        }
        for event in events
    ]
    answer = call(server, "rest", "exposures", {"exposures": clicks})
    assert answer["exposures_processed"] == len(events), answer


def report(server: Server, media_buy_id: str) -> dict[str, Any]:
    """What a media buy achieved, without the time of the report."""
    response = server.call("get_media_buy_delivery", media_buy_ids=[media_buy_id])
    if response.status_code != 200:
        return {}
    [found] = response.json()["media_buy_deliveries"]
    return dict(found)


def is_reported(server: Server, media_buy_id: str, conversions: int) -> bool:
    """Whether a report has so many conversions, and their value."""
    totals = report(server, media_buy_id).get("totals", {})
    value = conversions // EVENTS * sum(number + 0.25 for number in range(EVENTS))
    return (totals.get("conversions"), totals.get("conversion_value")) == (conversions, value)


def health(server: Server) -> Any:
    """What a server says of its event sources, without what depends on the time."""
    [source] = server.call("sync_event_sources").json()["event_sources"][:1]
    return source["event_source_id"], source["health"]["events_received_24h"]


def check_ledger(buyers: Buyers, clickhouse: ClickHouseServer, database: str) -> None:
    """Check that a database has what was acknowledged: all of it, and once, in facts and in sums."""
    events = {event["event_id"] for body, _ in buyers.acknowledged.values() for event in body["events"][:-1]}
    stored = clickhouse.execute("SELECT event_id FROM event FINAL", database).split()
    assert len(stored) == len(events)
    assert set(stored) == events
    assert clickhouse.execute("SELECT uniqExact(event_id) FROM rejected_event FINAL", database) == (
        f"{len(buyers.acknowledged)}\n"
    )
    sums = "SELECT sum(accepted) - sum(duplicates), sum(rejected) >= uniqExact(minute) FROM source_activity"
    assert clickhouse.execute(sums, database).split()[0] == str(len(events))
    receipts = "SELECT countIf(outcome = 'accepted'), countIf(outcome = 'accepted_with_warnings') FROM receipt"
    assert sum(map(int, clickhouse.execute(receipts, database).split())) == len(events)


def has_rows(clickhouse: ClickHouseServer, database: str, table: str) -> bool:
    """Whether a move has copied rows of a table."""
    known = f"SELECT sum(total_rows) FROM system.tables WHERE database = '{database}' AND name = '{table}'"
    return clickhouse.execute(known).strip() not in ("0", "\\N")


def is_ending(data: Path, control: str) -> bool:
    """Whether an installation is leaving a data folder, and its control data have yet to arrive in PostgreSQL."""
    with closing(sqlite3.connect(data / "control.db")) as left:
        if left.execute("SELECT moved_to FROM installation").fetchone()[0] is None:
            return False
    engine = create_engine(control)
    with engine.connect() as connection:
        arrived = connection.scalar(text("SELECT count(*) FROM installation"))
    engine.dispose()
    return not arrived
