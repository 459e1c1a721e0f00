"""Three transports to call a server: MCP, A2A and REST. Each accepts the variations that its protocol allows."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Literal
from uuid import uuid4

import httpx2

from postback.conformance.answer import SellerAnswer, Unreadable, dicts
from postback.errors import StartupError

__all__ = ["SellerTransport", "TransportName", "open_transport"]

TransportName = Literal["mcp", "a2a", "rest"]

_TIMEOUT = 120.0
_ACCEPT = {"Accept": "application/json, text/event-stream"}
_SHOWN = 300


class SellerTransport(ABC):
    """Calls the tasks of one server.

    Args:
        url: The server's URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx2.Client(timeout=_TIMEOUT, headers=_ACCEPT)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, task: str, arguments: dict[str, Any], key: str | None) -> SellerAnswer:
        """Call a task with exactly these arguments; None sends no key.

        Raises:
            StartupError: The server can't be reached.
            Unreadable: The response is malformed.
        """
        response = self._send(task, arguments, key)
        if response.status_code in (401, 403):
            return SellerAnswer({}, response.status_code, response.headers, refused=True)
        body, refused = self._read(response)
        return SellerAnswer(body, response.status_code, response.headers, refused)

    @abstractmethod
    def _send(self, task: str, arguments: dict[str, Any], key: str | None) -> httpx2.Response: ...

    @abstractmethod
    def _read(self, response: httpx2.Response) -> tuple[dict[str, Any], bool]:
        """The response's object, and whether the transport reports that the call failed."""

    def _post(self, url: str, body: dict[str, Any], key: str | None, headers: dict[str, str]) -> httpx2.Response:
        try:
            return self._http.post(url, json=body, headers=headers | _authorization(key))
        except httpx2.ConnectError:
            raise StartupError(f"{self.url} can't be reached. Check the URL.") from None
        except httpx2.HTTPError as error:
            raise Unreadable("a response", f"{type(error).__name__}, and no response") from None


class _Rest(SellerTransport):
    """``POST <base>/v1/<task>``, like Postback."""

    def _send(self, task: str, arguments: dict[str, Any], key: str | None) -> httpx2.Response:
        return self._post(f"{self.url}/v1/{task}", arguments, key, {})

    def _read(self, response: httpx2.Response) -> tuple[dict[str, Any], bool]:
        return _object(response.text, response.status_code), response.status_code >= 400


class _Mcp(SellerTransport):
    """Streamable HTTP, in a session where the server opens one, answered in JSON or in events."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._session: dict[str, str] | None = None
        self._authorization: dict[str, str] = {}

    def close(self) -> None:
        if self._session:
            with suppress(httpx2.HTTPError):  # a session that is left ends by itself
                self._http.delete(self.url, headers=self._session | self._authorization)
        super().close()

    def _send(self, task: str, arguments: dict[str, Any], key: str | None) -> httpx2.Response:
        if self._session is None:
            self._session, self._authorization = self._open_session(key), _authorization(key)
        body = _rpc("tools/call", {"name": task, "arguments": arguments})
        return self._post(self.url, body, key, self._session)

    def _open_session(self, key: str | None) -> dict[str, str]:
        """What every later request says of the session; nothing where the server opens none."""
        client = {"name": "postback-conformance", "version": "1"}
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
        try:
            response = self._post(self.url, _rpc("initialize", params), key, {})
            opened = _member(_rpc_answer(response), "result")
        except Unreadable:
            return {}
        if not (session := response.headers.get("mcp-session-id")):
            return {}
        version = str(opened.get("protocolVersion", params["protocolVersion"]))
        headers = {"Mcp-Session-Id": session, "MCP-Protocol-Version": version}
        with suppress(Unreadable):  # a notification has no answer
            self._post(self.url, {"jsonrpc": "2.0", "method": "notifications/initialized"}, key, headers)
        return headers

    def _read(self, response: httpx2.Response) -> tuple[dict[str, Any], bool]:
        told = _rpc_answer(response)
        if "error" in told:
            return _of_rpc_error(told["error"]), True
        result = _member(told, "result")
        refused = result.get("isError") is True
        if isinstance(structured := result.get("structuredContent"), dict):
            return structured, refused
        texts = [part["text"] for part in dicts(result.get("content")) if isinstance(part.get("text"), str)]
        for text in texts:
            if isinstance(said := _json(text), dict):
                return said, refused
        if refused:
            return {"text": " ".join(texts)}, True
        raise Unreadable("structuredContent, or an object as text", told)


class _A2a(SellerTransport):
    """``message/send`` with one data part, answered by a task or a message with one."""

    def _send(self, task: str, arguments: dict[str, Any], key: str | None) -> httpx2.Response:
        part = {"kind": "data", "data": {"skill": task, "parameters": arguments}}
        message = {"kind": "message", "role": "user", "messageId": str(uuid4()), "parts": [part]}
        body = _rpc("message/send", {"message": message, "configuration": {"blocking": True}})
        return self._post(self.url, body, key, {})

    def _read(self, response: httpx2.Response) -> tuple[dict[str, Any], bool]:
        told = _rpc_answer(response)
        if "error" in told:
            return _of_rpc_error(told["error"]), True
        result = _member(told, "result")
        status = _member(result, "status")
        parts = [
            *dicts(result.get("parts")),
            *dicts(_member(status, "message").get("parts")),
            *(part for artifact in dicts(result.get("artifacts")) for part in dicts(artifact.get("parts"))),
        ]
        said = [part["data"] for part in parts if isinstance(part.get("data"), dict)]
        if not said:
            raise Unreadable("a data part with the answer", told)
        return said[-1], status.get("state", "completed") != "completed"


_TRANSPORTS: dict[TransportName, Callable[[str], SellerTransport]] = {"mcp": _Mcp, "a2a": _A2a, "rest": _Rest}


def open_transport(url: str, name: TransportName | None = None) -> SellerTransport:
    """How to call the server at a URL; without a name, as the URL's end says: /mcp, /a2a, or anything else for REST."""
    if name is None:
        path = url.rstrip("/")
        name = "mcp" if path.endswith("/mcp") else "a2a" if path.endswith("/a2a") else "rest"
    return _TRANSPORTS[name](url)


def _authorization(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key is not None else {}


def _rpc(method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def _rpc_answer(response: httpx2.Response) -> dict[str, Any]:
    """The JSON-RPC answer; among events it is the one that isn't a notification or a request."""
    if "text/event-stream" not in response.headers.get("content-type", ""):
        return _object(response.text, response.status_code)
    for data in _events(response.text):
        told = _json(data)
        if isinstance(told, dict) and ("result" in told or "error" in told):
            return told
    raise Unreadable("an event with the answer", response.text[:_SHOWN])


def _events(text: str) -> Iterator[str]:
    """The data of each server-sent event."""
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("data:"):
            lines.append(line.removeprefix("data:"))
        elif not line and lines:
            yield "\n".join(lines)
            lines = []


def _of_rpc_error(error: Any) -> dict[str, Any]:
    """What AdCP says in the data of a JSON-RPC error, or the error itself."""
    data = error.get("data") if isinstance(error, dict) else None
    return data if isinstance(data, dict) and ("adcp_error" in data or "errors" in data) else {"error": error}


def _member(of: dict[str, Any], name: str) -> dict[str, Any]:
    """A member that is an object; an empty one where it isn't."""
    found = of.get(name)
    return found if isinstance(found, dict) else {}


def _object(text: str, status: int) -> dict[str, Any]:
    told = _json(text)
    if not isinstance(told, dict):
        raise Unreadable("a JSON object", f"HTTP {status}: {text[:_SHOWN]}")
    return told


def _json(text: str) -> Any:
    """JSON; None for what isn't any."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
