"""A seller's server, as the checks call it: over MCP (Streamable HTTP, stateless) or Postback's REST surface."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from types import TracebackType
from typing import Any, Literal, Self
from uuid import uuid4

import httpx2

from postback.errors import StartupError
from postback.times import rfc3339

__all__ = ["Answer", "Seller", "Transport", "event", "fresh"]

Transport = Literal["mcp", "rest"]
_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered.

    Attributes:
        body: The answer's JSON object, whichever arm it is.
        status: The HTTP status.
        headers: The HTTP headers.
    """

    body: dict[str, Any]
    status: int
    headers: httpx2.Headers

    @property
    def error(self) -> dict[str, Any]:
        """The error of a call that failed as a whole; empty when it succeeded."""
        errors = self.body.get("errors") or [{}]
        found = self.body.get("adcp_error") or (errors[0] if "event_sources" not in self.body else {})
        return found if isinstance(found, dict) else {}

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The events that failed."""
        return list(self.body.get("partial_failures") or [])


class Seller:
    """Calls one server with one key, in one AdCP release.

    Args:
        url: The server's MCP endpoint, or the base of its REST surface.
        key: The API key.
        transport: How to call it; None: MCP when the URL ends in /mcp.
        account: core/account-ref.json to send along, or None.
    """

    def __init__(
        self, url: str, key: str, transport: Transport | None = None, account: dict[str, Any] | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self.transport: Transport = transport or ("mcp" if self.url.endswith("/mcp") else "rest")
        self.release: str | None = None
        self.source = f"suite-{secrets.token_hex(6)}"
        self._account = account
        self._http = httpx2.Client(timeout=_TIMEOUT, headers={"Authorization": f"Bearer {key}"})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def call(self, task: str, release: str | None = "", **arguments: Any) -> Answer:
        """Call a task; ``release`` "" pins the suite's, None pins none.

        Raises:
            StartupError: The server can't be reached, or speaks something else.
        """
        pin = self.release if release == "" else release
        said: dict[str, Any] = {"adcp_version": pin, "idempotency_key": str(uuid4())} if pin else {}
        if self._account and task in {"sync_event_sources", "log_event"}:
            said["account"] = self._account
        return self.post(task, {**said, **arguments})

    def post(self, task: str, arguments: dict[str, Any], **headers: str) -> Answer:
        """Send exactly these arguments; a header that is empty isn't sent."""
        url, body = self.url, arguments
        if self.transport == "rest":
            url = f"{url}/v1/{task}"
        else:
            params = {"name": task, "arguments": arguments}
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        request = self._http.build_request(
            "POST", url, json=body, headers={"Accept": "application/json, text/event-stream", **headers}
        )
        for name, value in headers.items():
            if not value:
                del request.headers[name]
        try:
            response = self._http.send(request)
            return Answer(self._read(response), response.status_code, response.headers)
        except httpx2.HTTPError as error:
            raise StartupError(f"{self.url} can't be reached ({type(error).__name__}). Check the URL.") from None
        except (ValueError, KeyError, TypeError):
            raise StartupError(f"{url} does not answer as an AdCP server over {self.transport.upper()} does.") from None

    def log(self, *events: Any, source: str | None = None, **arguments: Any) -> Answer:
        """Log events to the suite's source, or another."""
        return self.call("log_event", event_source_id=source or self.source, events=list(events), **arguments)

    def _read(self, response: httpx2.Response) -> dict[str, Any]:
        text = response.text
        if "text/event-stream" in response.headers.get("content-type", ""):
            text = next(line[5:] for line in text.splitlines() if line.startswith("data:"))
        if response.status_code in {401, 403}:
            return {}
        answer = httpx2.Response(200, text=text).json()
        if self.transport == "mcp" and "result" in answer:
            answer = answer["result"]["structuredContent"]
        elif self.transport == "mcp" and "error" in answer:
            answer = {"adcp_error": {"code": "INVALID_REQUEST", "message": answer["error"].get("message")}}
        return dict(answer)


def event(event_id: str, /, **members: Any) -> dict[str, Any]:
    """An event that is right in every respect but for ``members``; one that is None is left out."""
    whole = {
        "event_id": event_id,
        "event_type": "purchase",
        "event_time": rfc3339(datetime.now(UTC) - timedelta(minutes=5)),
        "action_source": "website",
        "event_source_url": "https://shop.example/thanks",
        "user_match": {"hashed_email": sha256(secrets.token_bytes(16)).hexdigest()},
        "custom_data": {"value": 149.99, "currency": "USD"},
    } | members
    return {name: value for name, value in whole.items() if value is not None}


def fresh(name: str) -> str:
    """An event_id that nobody has used."""
    return f"{name}-{secrets.token_hex(6)}"
