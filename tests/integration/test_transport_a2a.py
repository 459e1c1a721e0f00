"""An agent that speaks A2A finds the skills, calls them, and is told in its protocol what went wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from tests.acceptance.conversions import order

if TYPE_CHECKING:
    from tests.conftest import Server


def send(server: Server, part: Any, method: str = "message/send", key: str | None = None, **members: Any) -> Any:
    message = {"kind": "message", "role": "user", "messageId": "1", "parts": [part]} | members
    if method == "SendMessage":
        message = {"role": "ROLE_USER", "messageId": "1", "parts": [part]} | members
    key = server.key if key is None else key
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if method == "SendMessage":
        headers["A2A-Version"] = "1.0"
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {"message": message}}
    return httpx2.post(f"{server.url}/a2a", json=body, headers=headers, timeout=60)


def data(**said: Any) -> dict[str, Any]:
    return {"kind": "data", "data": said}


def test_the_card_names_the_skills_in_both_versions(server: Server) -> None:
    card = httpx2.get(f"{server.url}/.well-known/agent-card.json").json()

    assert {skill["id"] for skill in card["skills"]} >= {"log_event", "sync_event_sources", "create_media_buy"}
    assert [interface["protocolVersion"] for interface in card["supportedInterfaces"]] == ["1.0", "0.3"]
    assert card["url"] == card["supportedInterfaces"][0]["url"] == f"{server.url}/a2a"


@pytest.mark.parametrize("named", ["input", "parameters"])
def test_a_skill_is_called_by_either_name_of_its_arguments(server: Server, named: str) -> None:
    called = data(skill="get_adcp_capabilities", **{named: {"context": {"n": 1.5, "big": 12345678901234567890}}})

    answer = send(server, called).json()["result"]

    (artifact,) = answer["artifacts"]
    (part,) = artifact["parts"]
    assert (answer["kind"], answer["status"]["state"], part["kind"]) == ("task", "completed", "data")
    assert part["data"]["context"] == {"n": 1.5, "big": 12345678901234567890}, "numbers stay what they are"


def test_ten_thousand_events_fit_into_one_message(server: Server) -> None:
    events = [order(f"a2a_{number}") for number in range(10_000)]

    answer = send(server, data(skill="log_event", input={"event_source_id": "website", "events": events})).json()

    assert answer["result"]["artifacts"][0]["parts"][0]["data"]["events_processed"] == 10_000


@pytest.mark.parametrize(("method", "state"), [("message/send", "completed"), ("SendMessage", "TASK_STATE_FAILED")])
@pytest.mark.parametrize(
    ("part", "code"),
    [
        ({"kind": "text", "text": "log my events, please"}, "INVALID_REQUEST"),
        (data(input={}), "INVALID_REQUEST"),
        (data(skill="log_event", input=[]), "INVALID_REQUEST"),
        (data(skill="make_coffee"), "UNSUPPORTED_FEATURE"),
    ],
    ids=["text", "no skill", "no object", "unknown skill"],
)
def test_what_cannot_be_called_is_told_as_everywhere(
    server: Server, method: str, state: str, part: dict[str, Any], code: str
) -> None:
    if method == "SendMessage":
        part = {name: value for name, value in part.items() if name != "kind"}

    result = send(server, part, method).json()["result"]

    task = result.get("task", result)
    assert task["status"]["state"] == state
    assert task["artifacts"][0]["parts"][0]["data"]["adcp_error"]["code"] == code


@pytest.mark.parametrize(("key", "challenge"), [("", "Bearer"), ("wrong", 'error="invalid_token"')])
def test_a_call_needs_a_key(server: Server, key: str, challenge: str) -> None:
    response = send(server, data(skill="list_accounts"), key=key)

    assert response.status_code == 401
    assert challenge in response.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"[]", -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "make/coffee"}', -32601),
        (b'{"jsonrpc": "2.0", "id": 1, "params": {}}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"id": "x"}}', -32603),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "message/stream", "params": {"message": 1}}', -32600),
    ],
)
def test_a_body_that_is_no_message_gets_an_error_of_the_protocol(server: Server, body: bytes, code: int) -> None:
    with server.client() as client:
        answer = client.post("/a2a", content=body, headers={"Content-Type": "application/json"}).json()

    assert answer["error"]["code"] == code
    assert "Traceback" not in json.dumps(answer)


def test_somebody_elses_mark_is_not_replaced(server: Server) -> None:
    answer = send(server, data(skill="get_adcp_capabilities", input={"context": {"$answer": "0" * 32}})).json()

    assert answer["result"]["artifacts"][0]["parts"][0]["data"]["context"] == {"$answer": "0" * 32}
