"""An agent that speaks A2A finds the skills, calls them, and is told in its protocol what went wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from tests.conftest import Server


def send(server: Server, part: Any, method: str = "message/send", key: str | None = None, **members: Any) -> Any:
    message = {"kind": "message", "role": "user", "messageId": "1", "parts": [part]} | members
    if method == "SendMessage":
        message = {"role": "ROLE_USER", "messageId": "1", "parts": [part]} | members
    key = server.key if key is None else key
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    if method == "SendMessage":
        headers["A2A-Version"] = "1.0"
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {"message": message}}
    return httpx2.post(f"{server.url}/a2a", content=json.dumps(body), headers=headers, timeout=60)


def data(**said: Any) -> dict[str, Any]:
    return {"kind": "data", "data": said}


def test_the_card_names_the_skills_in_both_versions(server: Server) -> None:
    card = httpx2.get(f"{server.url}/.well-known/agent-card.json").json()

    named = [(skill["id"], skill["name"]) for skill in card["skills"]]
    assert {("log_event", "log_event"), ("sync_event_sources", "sync_event_sources")} <= set(named)
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


def test_empty_arguments_give_way_to_the_others(server: Server) -> None:
    called = data(skill="get_adcp_capabilities", input={}, parameters={"context": {"n": 1}})

    answer = send(server, called).json()["result"]

    assert answer["artifacts"][0]["parts"][0]["data"]["context"] == {"n": 1}


def test_the_part_that_calls_is_found_among_others(server: Server) -> None:
    parts = [{"kind": "text", "text": "please"}, data(note="none"), data(skill="list_accounts")]

    answer = send(server, None, parts=parts, contextId="talk").json()["result"]

    assert answer["artifacts"][0]["parts"][0]["data"]["status"] == "completed"
    assert answer["contextId"] == "talk"


@pytest.mark.parametrize(("method", "state"), [("message/send", "completed"), ("SendMessage", "TASK_STATE_FAILED")])
@pytest.mark.parametrize(
    ("part", "code"),
    [
        ({"kind": "text", "text": "log my events, please"}, "INVALID_REQUEST"),
        (data(input={}), "INVALID_REQUEST"),
        (data(skill="log_event", input=[]), "INVALID_REQUEST"),
        (data(skill="make_coffee"), "UNSUPPORTED_FEATURE"),
        (data(skill=["log_event"]), "INVALID_REQUEST"),
        (data(skill="\ud800"), "INVALID_REQUEST"),
        (data(skill="log_event", input={"a": 1}, parameters={"b": 1}), "INVALID_REQUEST"),
    ],
    ids=["text", "no skill", "no object", "unknown skill", "list", "half a pair", "two arguments"],
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


def test_a_skill_that_is_not_there_is_told_with_those_that_are(server: Server) -> None:
    answer = send(server, data(skill="make_coffee")).json()["result"]["artifacts"][0]["parts"][0]["data"]

    assert "log_event" in answer["adcp_error"]["details"]["supported_tasks"]


def request(method: str, params: Any = None, **members: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {"id": "x"}} | members).encode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"[]", -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "params": {}}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "\xff"}', -32700),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "\\ud800"}', -32700),
        (b'{"jsonrpc": "2.0", "method": "message/send", "params": {}}', -32600),
        (request("make/coffee"), -32601),
        (request("message/send", {"message": 1}), -32602),
        (request("message/send", {"message": {"parts": [], "contextId": 7}}), -32602),
        (request("message/send", {"message": {"parts": [], "contextId": "x" * 257}}), -32602),
        (request("message/stream", {"message": {"parts": [{"kind": "data", "data": {"skill": "x"}}]}}), -32004),
        (request("SendStreamingMessage"), -32004),
        (request("tasks/get"), -32001),
        (request("GetTask"), -32001),
        (request("tasks/resubscribe"), -32001),
        (request("tasks/pushNotificationConfig/set"), -32003),
        (request("agent/getAuthenticatedExtendedCard"), -32007),
    ],
)
def test_what_is_no_message_gets_an_error_of_the_protocol(server: Server, body: bytes, code: int) -> None:
    with server.client() as client:
        answer = client.post("/a2a", content=body, headers={"Content-Type": "application/json"}).json()

    assert answer["error"].keys() == {"code", "message"}
    assert answer["error"]["code"] == code


@pytest.mark.parametrize(
    ("method", "version", "code"),
    [
        ("message/send", "0.3.0", None),
        ("message/send", "1.0", -32601),
        ("SendMessage", "0.3", -32601),
        ("SendMessage", "ada@buyer.example", -32009),
    ],
)
def test_a_version_that_is_named_must_have_the_method(
    server: Server, method: str, version: str, code: int | None
) -> None:
    message = {"parts": [{"data": {"skill": "list_accounts"}}]}
    with server.client() as client:
        in_header = client.post("/a2a", content=request(method, {"message": message}), headers={"A2A-Version": version})
        in_query = client.post("/a2a", content=request(method, {"message": message}), params={"A2A-Version": version})

    for response in (in_header, in_query):
        assert response.json().get("error", {}).get("code") == code
        assert "ada@" not in response.text


def test_a_context_comes_back_whatever_it_looks_like(server: Server) -> None:
    answer = send(server, data(skill="get_adcp_capabilities", input={"context": {"$answer": "0" * 32}})).json()

    assert answer["result"]["artifacts"][0]["parts"][0]["data"]["context"] == {"$answer": "0" * 32}
