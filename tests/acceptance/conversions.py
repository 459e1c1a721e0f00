"""What a shop's buyer agent logs in the acceptance tests, and how it reads the answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from tests.acceptance.official import pinned

if TYPE_CHECKING:
    from tests.conftest import Server

__all__ = ["DOORS", "Door", "ago", "call", "error_of", "fresh_source", "log", "order", "send", "shop_orders"]

Door = Literal["rest", "mcp", "a2a"]
DOORS: tuple[Door, ...] = ("rest", "mcp", "a2a")


def call(server: Server, door: Door, task: str, arguments: dict[str, Any], **headers: str) -> dict[str, Any]:
    """Call a task through one of the doors; returns its answer, whichever arm it is."""
    return send(server, door, task, json.dumps(arguments).encode(), **headers)[1]


def send(server: Server, door: Door, task: str, arguments: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    """Call a task with arguments that are sent byte by byte as they are; returns the HTTP status and the answer."""
    path, frame = _DOORS[door]
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"} | headers
    with server.client(**headers) as client:
        response = client.post(path % task, content=frame.replace(b"TASK", task.encode()).replace(b"ARGS", arguments))
    told = response.json()
    result = told.get("result")
    if result is None:
        return response.status_code, dict(told)
    return response.status_code, _of_mcp(result) if door == "mcp" else _of_a2a(result)


_DOORS: dict[Door, tuple[str, bytes]] = {
    "rest": ("/v1/%s", b"ARGS"),
    "mcp": ("/mcp%.0s", b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"TASK","arguments":ARGS}}'),
    "a2a": (
        "/a2a%.0s",
        b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"role":"ROLE_USER","messageId":"1",'
        b'"parts":[{"data":{"skill":"TASK","input":ARGS}}]}}}',
    ),
}
"""Where each door is, and what is said around the arguments."""


def _of_mcp(result: dict[str, Any]) -> dict[str, Any]:
    answer = dict(result["structuredContent"])
    assert json.loads(result["content"][0]["text"]) == answer
    assert result["isError"] == (answer["status"] == "failed" or answer.get("success") is False)
    return answer


def _of_a2a(result: dict[str, Any]) -> dict[str, Any]:
    done = result["task"]
    answer = dict(done["artifacts"][0]["parts"][0]["data"])
    state = "TASK_STATE_FAILED" if answer["status"] == "failed" else "TASK_STATE_COMPLETED"
    assert done["status"]["state"] == state
    return answer


def log(server: Server, source: str, *events: Any, release: str | None = None, **members: Any) -> dict[str, Any]:
    """Log events over REST."""
    return call(server, "rest", "log_event", pinned(release) | {"event_source_id": source, "events": events} | members)


def error_of(answer: dict[str, Any]) -> dict[str, Any]:
    """The error of a call that failed as a whole."""
    assert answer["status"] == "failed", answer
    assert answer["errors"] == [answer["adcp_error"]]
    error: dict[str, Any] = answer["adcp_error"]
    assert error["message"]
    assert error["suggestion"]
    assert error["recovery"] in {"transient", "correctable", "terminal"}
    return error


def fresh_source(server: Server, event_source_id: str, **declared: Any) -> dict[str, Any]:
    """Declare an event source that no other test uses; returns it as the answer shows it."""
    entry = {"event_source_id": event_source_id, **declared}
    answer = call(server, "rest", "sync_event_sources", {"event_sources": [entry]})
    source: dict[str, Any] = answer["event_sources"][0]
    assert source["action"] == "created"
    return source


def ago(**time: float) -> str:
    """A time in the past, as ``ago(hours=3)``."""
    return (datetime.now(UTC) - timedelta(**time)).isoformat()


def order(event_id: str, /, **members: Any) -> dict[str, Any]:
    """An order that is right in every respect, but for ``members``; one that is None is left out."""
    event = {
        "event_id": event_id,
        "event_type": "purchase",
        "event_time": ago(minutes=5),
        "action_source": "website",
        "event_source_url": "https://shop.example/thanks",
        "user_match": {"hashed_email": sha256(b"ada@buyer.example").hexdigest()},
        "custom_data": {"value": 149.99, "currency": "USD"},
    } | members
    return {name: value for name, value in event.items() if value is not None}


def shop_orders(name: str, count: int) -> list[dict[str, Any]]:
    """Orders with several identifiers and a basket each, 600 bytes of JSON each as real ones have."""
    return [
        order(
            f"{name}_{number}",
            event_time=ago(seconds=number),
            event_source_url=f"https://www.shop.example/checkout/thanks?order={number}",
            user_match={
                "hashed_email": sha256(f"buyer{number}@shop.example".encode()).hexdigest(),
                "hashed_phone": sha256(f"+1206555{number:04}".encode()).hexdigest(),
                "uids": [{"type": "uid2", "value": f"A4AAA{number:027}"}],
                "click_id": f"EAIaIQobChMI{number:020}",
                "click_id_type": "gclid",
            },
            custom_data={
                "value": 20 + number / 100,
                "currency": "EUR",
                "order_id": str(number),
                "num_items": 2,
                "contents": [{"id": f"sku-{number % 97}", "quantity": 2, "price": 10.5, "brand": "Example"}],
            },
        )
        for number in range(count)
    ]
