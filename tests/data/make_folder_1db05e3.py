"""Makes folder_1db05e3.tar.gz, a data folder as Postback wrote it at commit 1db05e3, and what its server answered then.

Run once, with a checkout of that commit::

    python tests/data/make_folder_1db05e3.py CHECKOUT/src tests/data

Every table of both stores has rows. The server is started twice: what expires (test events after seven days,
rejections after thirty, idempotency records after one) is written by the second one, whose clock is in the year 2099,
so that the folder can be opened for as long as anybody keeps it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2

KEY = "pb_of_the_tests_servers"
BUY, ENDED_BUY, TOTALS_BUY = "mb_summer", "mb_ended", "mb_totals"
PERSONS = 40

_NOW = datetime.now(UTC).replace(microsecond=0)
_CLOCK_IN_2099 = """
import time
_shift = 4_070_908_800 - time.time_ns() // 1_000_000_000
time.time = lambda real=time.time: real() + _shift
time.time_ns = lambda real=time.time_ns: real() + _shift * 1_000_000_000
"""

_GOAL = {
    "kind": "event",
    "event_sources": [
        {"event_source_id": "shop", "event_type": "purchase", "value_field": "value"},
        {"event_source_id": "server", "event_type": "purchase", "value_field": "value"},
        {"event_source_id": "shop", "event_type": "refund", "value_field": "value", "value_factor": -1},
    ],
    "target": {"kind": "per_ad_spend", "value": 4},
    "attribution_window": {"post_click": {"interval": 7, "unit": "days"}, "post_view": {"interval": 1, "unit": "days"}},
}
_IDENTITY = ("event_source_id", "event_type", "event_id")
LOOKED_UP = ["shop/purchase/order_1", "shop/refund/refund_1", "server/purchase/order_2", "shop/lead/lead_0"]
LOOKED_UP += ["shop/purchase/test_1", "shop/purchase/rejected_1", "shop/purchase/order_39", "shop/custom/signup_0"]


def main(source: Path, target: Path) -> None:
    """Make both files in ``target``."""
    with tempfile.TemporaryDirectory() as parent:
        folder, shifted = Path(parent) / "data", Path(parent) / "clock"
        with _server(source, folder) as call:
            _log_everything(call)
        shifted.mkdir()
        (shifted / "sitecustomize.py").write_text(_CLOCK_IN_2099)
        with _server(source, folder, shifted) as call:
            rejected = _event("rejected_1", 1) | {"event_time": "yesterday"}
            call("log_event", event_source_id="shop", events=[rejected])
            call("log_event", event_source_id="shop", events=[_event("test_1", 1)], test_event_code="TEST_2099")
            bought = _order("mb_replayed", "asap", "2099-06-30T23:59:59Z")
            answered = call("create_media_buy", **bought)
        with _server(source, folder) as call:
            time.sleep(3)  # for attribution
            recorded = _record(call) | {"create_media_buy": {"request": bought, "answer": answered}}
        lines = [f"{json.dumps(name)}: {json.dumps(recorded[name])}" for name in sorted(recorded)]
        (target / "folder_1db05e3.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
        with tarfile.open(target / "folder_1db05e3.tar.gz", "w:gz") as archive:
            for name in ("control.db", "secret.key", "events"):
                archive.add(folder / name, name)


def _log_everything(call: Any) -> None:
    sources = [{"event_source_id": "shop"}, {"event_source_id": "server", "event_types": ["purchase"]}]
    call("sync_event_sources", event_sources=sources, idempotency_key="made-by-1db05e3-0000")
    package = _buy(call, BUY, "asap", "2099-06-30T23:59:59Z")
    ended = _buy(call, ENDED_BUY, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")
    totalled = _buy(call, TOTALS_BUY, "asap", "2099-06-30T23:59:59Z")
    shown = [exposure(f"view_{n}", n, "impression", BUY, package, hours=30) for n in range(PERSONS)]
    shown += [exposure(f"click_{n}", n, "click", BUY, package, hours=20) for n in range(0, PERSONS, 2)]
    shown += [exposure("ended_1", 1, "click", ENDED_BUY, ended, hours=1) | {"occurred_at": "2026-01-15T14:30:00Z"}]
    call("exposures", exposures=[*shown, shown[0], shown[-1]])
    call("exposures", exposures=shown[:10])
    hour = f"{_NOW - timedelta(hours=5):%Y-%m-%dT%H}:00:00Z"
    total = {"media_buy_id": TOTALS_BUY, "package_id": totalled, "hour": hour}
    call("delivery", totals=[total | {"impressions": 1000, "clicks": 10, "spend": 12.5, "currency": "USD"}])
    time.sleep(3)  # so that what follows is attributed by another run
    orders = [_event(f"order_{n}", n % (PERSONS + 20)) for n in range(300)]
    call("log_event", event_source_id="shop", events=[*orders, orders[0], orders[1]])
    call("log_event", event_source_id="shop", events=orders[:50])
    call("log_event", event_source_id="server", events=[_event(f"order_{n}", n % PERSONS) for n in range(20)])
    refunds = [_event(f"refund_{n}", n, "refund", value=3) for n in range(5)]
    others = [_event(f"lead_{n}", n, "lead") for n in range(5)]
    others += [_event(f"signup_{n}", n, "custom") | {"custom_event_name": "signup"} for n in range(5)]
    call("log_event", event_source_id="shop", events=[*refunds, *others])
    time.sleep(3)
    late = [exposure(f"late_{n}", PERSONS + n, "click", BUY, package, hours=10) for n in range(10)]
    call("exposures", exposures=late)
    time.sleep(3)
    call(f"media-buys/{ENDED_BUY}/packages/{ended}/finalize")


def _record(call: Any) -> dict[str, Any]:
    """What the server tells of what it has, without what depends on the time of day."""
    period = {"start_date": f"{_NOW - timedelta(days=7):%Y-%m-%d}", "end_date": f"{_NOW + timedelta(days=1):%Y-%m-%d}"}
    report = call("get_media_buy_delivery", media_buy_ids=[BUY, TOTALS_BUY], **period)
    ended = call("get_media_buy_delivery", media_buy_ids=[ENDED_BUY], start_date="2026-01-01", end_date="2026-02-01")
    deliveries = report["media_buy_deliveries"] + ended["media_buy_deliveries"]
    found = {key: call.get(f"/v1/events/{key}") for key in LOOKED_UP}
    discovered = call("sync_event_sources")["event_sources"]
    return {
        "period": period,
        "totals": {delivery["media_buy_id"]: delivery["totals"] for delivery in deliveries},
        "final": [delivery["media_buy_id"] for delivery in deliveries if delivery.get("is_final")],
        "events": {
            key: {
                "received_at": [verdict["received_at"] for verdict in answer["verdicts"]],
                "match_quality": [verdict.get("match_quality") for verdict in answer["verdicts"]],
                "attribution": {
                    name: answer.get("attribution", {}).get(name)
                    for name in ("status", "package_id", "exposure_id", "value", "run_id")
                },
            }
            for key, answer in found.items()
        },
        "last_event_at": {
            source["event_source_id"]: source["health"].get("last_event_at")
            for source in discovered
            if source["event_source_id"] in ("shop", "server")
        },
        "conversions": _conversions(call),
    }


def _conversions(call: Any) -> list[str]:
    rows: list[str] = []
    path = f"/v1/media-buys/{BUY}/conversions"
    page = call.get(path)
    while True:
        rows += ["/".join(row[name] for name in _IDENTITY) for row in page["conversions"]]
        cursor = page.get("pagination", {}).get("cursor")
        if not cursor:
            return sorted(rows)
        page = call.get(f"{path}?cursor={cursor}")


def _buy(call: Any, media_buy_id: str, start: str, end: str) -> str:
    """Buy one package; returns its package_id."""
    answer = call("create_media_buy", **_order(media_buy_id, start, end))
    return str(answer["packages"][0]["package_id"])


def _order(media_buy_id: str, start: str, end: str) -> dict[str, Any]:
    package = {"product_id": "sandbox_display_auction", "pricing_option_id": "auction_cpm_usd", "budget": 5000}
    return {
        "account": {"account_id": "default"},
        "idempotency_key": f"made-by-1db05e3-{media_buy_id}",
        "brand": {"domain": "acme.example"},
        "start_time": start,
        "end_time": end,
        "ext": {"postback": {"media_buy_id": media_buy_id}},
        "packages": [package | {"bid_price": 4, "optimization_goals": [_GOAL]}],
    }


def exposure(exposure_id: str, number: int, kind: str, buy: str, package: str, *, hours: int) -> dict[str, Any]:
    return {
        "exposure_id": exposure_id,
        "kind": kind,
        "occurred_at": (_NOW - timedelta(hours=hours, minutes=number)).isoformat(),
        "media_buy_id": buy,
        "package_id": package,
        "creative_id": f"banner_{number % 2}",
        "user_match": person(number),
        "cost": 0.004,
        "currency": "USD",
    }


def _event(event_id: str, number: int, event_type: str = "purchase", value: float | None = None) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "event_type": event_type,
        "event_time": (_NOW - timedelta(hours=9, seconds=number)).isoformat(),
        "action_source": "website",
        "event_source_url": "https://shop.example/thanks",
        "user_match": person(number),
        "custom_data": {"value": 10 + number / 100 if value is None else value, "currency": "USD"},
    }


def person(number: int) -> dict[str, str]:
    return {"hashed_email": sha256(f"person{number}@example.com".encode()).hexdigest()}


class _Call:
    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def __call__(self, task: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.post(f"/v1/{task}", json=arguments).raise_for_status().json()
        if answer.get("status") == "failed":
            raise RuntimeError(f"{task}: {answer}")
        return answer

    def get(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.get(path).raise_for_status().json()
        return answer


@contextmanager
def _server(source: Path, folder: Path, *more: Path) -> Iterator[_Call]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environ = os.environ | {
        "PYTHONPATH": ":".join(map(str, [*more, source])),
        "POSTBACK_DATA": str(folder),
        "POSTBACK_PORT": str(port),
        "POSTBACK_BOOTSTRAP_KEY": KEY,
        "POSTBACK_SANDBOX": "true",
        "POSTBACK_RATE_LIMIT": "0",
    }
    process = subprocess.Popen([sys.executable, "-m", "postback", "serve"], env=environ)
    headers = {"Authorization": f"Bearer {KEY}"}
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
            while not _ready(client):
                time.sleep(0.1)
            yield _Call(client)
    finally:
        process.terminate()
        process.wait(timeout=60)


def _ready(client: httpx2.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx2.TransportError:
        return False


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
