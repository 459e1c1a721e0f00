"""An agent that speaks A2A finds the skills, calls them, and is told in its protocol what went wrong."""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from a2a.compat.v0_3.conversions import to_compat_task
from a2a.types import a2a_pb2
from google.protobuf.json_format import MessageToDict, ParseDict
from tests.conftest import HTTP
from tests.integration.test_hostile_connections import resident

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer


def send(server: Server, part: Any, method: str = "message/send", key: str | None = None, **members: Any) -> Any:
    message = {"kind": "message", "role": "user", "messageId": "1", "parts": [part]} | members
    if method == "SendMessage":
        message = {"role": "ROLE_USER", "messageId": "1", "parts": [part]} | members
    key = server.key if key is None else key
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    if method == "SendMessage":
        headers["A2A-Version"] = "1.0"
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {"message": message}}
    return HTTP.post(f"{server.url}/a2a", content=json.dumps(body), headers=headers)


def data(**said: Any) -> dict[str, Any]:
    return {"kind": "data", "data": said}


def test_the_card_names_the_skills_in_both_versions(server: Server) -> None:
    card = HTTP.get(f"{server.url}/.well-known/agent-card.json").json()

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


def test_tasks_are_what_the_official_sdk_writes(server: Server) -> None:
    called = data(skill="get_adcp_capabilities", input={"context": {"n": 1}})
    task = send(server, {"data": called["data"]}, "SendMessage").json()["result"]["task"]
    older = send(server, called).json()["result"]

    parsed = ParseDict(task, a2a_pb2.Task())

    assert MessageToDict(parsed) == task
    theirs = to_compat_task(parsed).model_dump(mode="json", by_alias=True, exclude_none=True)
    theirs["status"].pop("timestamp")
    theirs["artifacts"][0]["parts"][0]["data"] = older["artifacts"][0]["parts"][0]["data"]
    assert datetime.fromisoformat(older["status"].pop("timestamp"))
    assert older == theirs | {"id": older["id"], "contextId": older["contextId"]}


def rpc(server: Server, method: str, params: dict[str, Any], key: str | None = None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key or server.key}"}
    answer: dict[str, Any] = HTTP.post(f"{server.url}/a2a", content=request(method, params), headers=headers).json()
    return answer


@pytest.mark.parametrize(("sending", "getting"), [("message/send", "tasks/get"), ("SendMessage", "GetTask")])
@pytest.mark.parametrize("skill", ["list_accounts", "make_coffee"])
def test_a_task_that_was_returned_can_be_read_again(server: Server, sending: str, getting: str, skill: str) -> None:
    said = {"data": {"skill": skill, "input": {"context": {"n": 1.5}}}}
    result = send(server, said, sending, contextId="talk").json()["result"]
    task = result.get("task", result)

    again = rpc(server, getting, {"id": task["id"], "historyLength": 5})

    assert again["result"] == task
    assert again["result"]["contextId"] == "talk"


def test_a_task_can_be_read_in_the_other_version(server: Server) -> None:
    task = send(server, data(skill="list_accounts")).json()["result"]

    newer = rpc(server, "GetTask", {"id": task["id"]})["result"]

    assert newer["status"]["state"] == "TASK_STATE_COMPLETED"
    assert newer["artifacts"][0]["parts"][0]["data"] == task["artifacts"][0]["parts"][0]["data"]


@pytest.mark.parametrize(("getting", "canceling"), [("tasks/get", "tasks/cancel"), ("GetTask", "CancelTask")])
def test_a_finished_task_cannot_be_canceled_and_an_unknown_one_is_not_found(
    server: Server, getting: str, canceling: str
) -> None:
    task = send(server, data(skill="list_accounts")).json()["result"]

    assert rpc(server, canceling, {"id": task["id"]})["error"] == {"code": -32002, "message": "Task cannot be canceled"}
    assert rpc(server, getting, {"id": task["id"]})["result"]["id"] == task["id"], "and stays"
    for unknown in ("x", "", task["id"].upper(), task["id"][:-1], "\x00"):
        assert rpc(server, canceling, {"id": unknown})["error"]["code"] == -32001
        assert rpc(server, getting, {"id": unknown})["error"]["code"] == -32001
    for malformed in ({"id": 7}, {"name": "x"}, {"id": "x" * 257}):
        assert rpc(server, getting, malformed)["error"]["code"] == -32602


@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel", "GetTask", "CancelTask"])
def test_a_task_of_another_key_is_answered_as_one_that_does_not_exist(server: Server, method: str) -> None:
    task = send(server, data(skill="list_accounts")).json()["result"]
    other = server.command("keys", "create", "--account", "default", "--scope", "both").split()[-1]

    theirs = rpc(server, method, {"id": task["id"]}, other)

    assert theirs == rpc(server, method, {"id": "x"}, other)
    assert theirs["error"]["code"] == -32001


def test_a_task_outlives_the_server_and_its_context_is_stored_encrypted(start_own_server: StartServer) -> None:
    first = start_own_server()
    said = data(skill="list_accounts", input={"context": {"of": "ada.lovelace@buyer.example"}})
    task = send(first, said).json()["result"]
    first.stop()

    second = start_own_server(data=first.data)

    assert rpc(second, "tasks/get", {"id": task["id"]})["result"] == task
    stored = b"".join(path.read_bytes() for path in first.data.glob("control.db*"))
    assert stored
    assert b"ada.lovelace" not in stored


@pytest.mark.parametrize(
    ("method", "name"), [("message/send", "pushNotificationConfig"), ("SendMessage", "taskPushNotificationConfig")]
)
def test_a_webhook_of_the_protocol_is_accepted_and_said_not_to_be_served(
    server: Server, method: str, name: str
) -> None:
    message = {"role": "user", "messageId": "1", "parts": [{"data": {"skill": "list_accounts"}}]}
    for configuration, told in (
        ({name: {"url": "https://hooks.example/4711", "token": "t-4711"}}, 1),
        ({}, 0),
        (None, 0),
    ):
        result = rpc(server, method, {"message": message, "configuration": configuration})["result"]

        answer = result.get("task", result)["artifacts"][0]["parts"][0]["data"]
        warnings = answer["ext"]["postback"].get("warnings", [])
        assert answer["status"] == "completed"
        assert len(warnings) == told
        assert "4711" not in json.dumps(warnings)


def test_a_message_has_64_kib_beside_the_arguments_and_the_arguments_have_more(server: Server) -> None:
    def called(size: int, beside: int) -> Any:
        skill = {"skill": "list_accounts", "input": {"ext": {"x": "y" * size}}}
        params = {"message": {"parts": [{"data": skill}]}, "configuration": {"x": "y" * beside}}
        return rpc(server, "SendMessage", params)

    assert called(200_000, 65_000)["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
    refused = called(200_000, 66_000)["error"]
    assert refused["code"] == -32602
    assert "65,536 bytes" in refused["message"]


def test_a_message_that_grows_large_in_memory_is_refused_before_that(start_own_server: StartServer) -> None:
    """62 KB took 1.6 GB."""
    server = start_own_server()
    rpc(server, "SendMessage", {"message": {"parts": [{"data": {"skill": "list_accounts"}}]}})
    message = b'"message":{"parts":[{"data":{"skill":"list_accounts"}}]}'
    params = b'{%s,"configuration":[%s0]}' % (message, b"[]," * 6_000_000)
    bomb = gzip.compress(b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":%s}' % params, 1)
    before = resident(server, "VmHWM")

    with server.client(**{"Content-Encoding": "gzip"}) as client:
        assert client.post("/a2a", content=bomb).json()["error"]["code"] == -32602

    assert resident(server, "VmHWM") - before < 100_000_000
