"""A shop sends its orders of a month from its CRM, and to be sure sends them again."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tests.acceptance.conversions import fresh_source
from tests.engine import select_from

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Server, StartServer

DECEMBER = datetime(2010, 12, 1, 8, tzinfo=UTC)


def a_month_of_orders() -> list[dict[str, Any]]:
    """2,000 orders: a sixth of unknown customers, a fifth refunded, a fiftieth exported twice."""
    events: list[dict[str, Any]] = []
    for number in range(2_000):
        cents = 995 + number * 37
        purchase: dict[str, Any] = {
            "event_id": f"order_{536365 + number}",
            "event_type": "purchase",
            "event_time": (DECEMBER + timedelta(minutes=21 * number)).isoformat(),
            "action_source": "offline",
            "custom_data": {"value": cents / 100, "currency": "GBP", "order_id": str(536365 + number)},
        }
        if number % 6:
            purchase["user_match"] = {"hashed_email": sha256(f"customer{number % 300}".encode()).hexdigest()}
        events.append(purchase)
        if number % 5 == 0:
            events.append(purchase | {"event_type": "refund"})
        if number % 50 == 0:
            events.append(purchase | {"custom_data": {"value": 0.01, "currency": "EUR"}})
    return events


def send(server: Server, file: Path) -> str:
    command = [sys.executable, "-m", "postback", "send", str(file), "--url", server.url, "--source", "crm"]
    environ = os.environ | {"POSTBACK_KEY": server.key}
    return subprocess.run([*command, "--batch", "700"], env=environ, capture_output=True, text=True, check=True).stdout


def stored(server: Server) -> dict[tuple[str, str], tuple[Decimal, str]]:
    """What the store holds, once the server has let go of it: (type, id) → (value, currency)."""
    rows = select_from(
        server.data,
        "SELECT event_type, event_id, value, currency FROM event ORDER BY received_at LIMIT 1 BY event_type, event_id",
    )
    assert len(rows) == len({(event_type, event_id) for event_type, event_id, _, _ in rows})
    return {(event_type, event_id): (value, currency) for event_type, event_id, value, currency in rows}


def test_every_order_of_the_file_is_stored_once_however_often_it_is_sent(
    start_server: StartServer, tmp_path: Path
) -> None:
    events = a_month_of_orders()
    file = tmp_path / "2010-12.ndjson.gz"
    file.write_bytes(gzip.compress(b"".join(json.dumps(event).encode() + b"\n" for event in events)))
    server = start_server(max_event_age_days=9_000)
    fresh_source(server, "crm")

    first, second = send(server, file), send(server, file)
    server.stop()

    whole = f"{len(events):,} events: {len(events):,} accepted, 0 failed."
    assert whole in first
    assert whole in second
    assert "4 of 4 batches were sent before" in second
    expected: dict[tuple[str, str], tuple[Decimal, str]] = {}
    for event in events:
        money = event["custom_data"]
        expected.setdefault((event["event_type"], event["event_id"]), (Decimal(str(money["value"])), money["currency"]))
    found = stored(server)
    assert Counter(event_type for event_type, _ in found) == {"purchase": 2_000, "refund": 400}
    assert found == expected
