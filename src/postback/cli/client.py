"""Calls to a Postback server over HTTP, with retries."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx2
import msgspec

from postback.errors import StartupError

__all__ = ["Reply", "ServerClient"]

_ATTEMPTS = 8
_FIRST_PAUSE_S = 0.25
_MAX_PAUSE_S = 30.0
_TIMEOUT_S = 60.0
_RETRYABLE = frozenset({429, 500, 502, 503, 504})


class Reply(msgspec.Struct, frozen=True):
    """The server's response.

    Attributes:
        status: The HTTP status.
        body: The JSON object; empty if the body is something else.
        retry_after: Seconds that the server asks to wait; 0 if it doesn't.
    """

    status: int
    body: dict[str, Any]
    retry_after: int = 0

    @property
    def error(self) -> dict[str, Any] | None:
        """The error of a call that failed as a whole, as core/error.json; None when it succeeded."""
        if "adcp_error" in self.body:
            return dict(self.body["adcp_error"])
        if self.status == 200 and self.body:
            return None
        return {"message": f"HTTP {self.status} without an AdCP error. Check that the URL is a Postback server's."}


class _Unreachable(StartupError):
    """The server doesn't respond; it may a moment later."""


class ServerClient:
    """A caller with a key.

    Args:
        url: The server's URL, for example ``http://127.0.0.1:8787``.
        key: The API key.
        waiting: Called with the reason before each retry.
    """

    def __init__(self, url: str, key: str, waiting: Callable[[str], None]) -> None:
        if not (key.isascii() and key.isprintable()):
            raise StartupError("The key contains characters that an API key can't have. Copy it again.")
        self._url = url.rstrip("/")
        self._waiting = waiting
        self._http = httpx2.Client(
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"}, timeout=_TIMEOUT_S
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def call(self, task: str, request: bytes) -> Reply:
        """Call a task, and retry with longer and longer pauses while the server is unreachable or asks to wait.

        The request contains its idempotency key, so it takes effect once however often it is sent.

        Raises:
            StartupError: Every attempt failed to reach the server, or the URL is malformed.
        """
        for attempt in range(_ATTEMPTS - 1):
            try:
                reply = self._post(task, request)
                if reply.status not in _RETRYABLE:
                    return reply
                retry_after, reason = reply.retry_after, f"The server returned HTTP {reply.status}."
            except _Unreachable as error:
                retry_after, reason = 0, str(error)
            # A random share of a doubling bound spreads callers that were refused at the same time.
            pause = retry_after + random.uniform(0, min(_MAX_PAUSE_S, _FIRST_PAUSE_S * 2**attempt))  # noqa: S311
            self._waiting(f"{reason} Retrying in {pause:.1f} s.")
            time.sleep(pause)
        return self._post(task, request)

    def _post(self, task: str, request: bytes) -> Reply:
        try:
            response = self._http.post(f"{self._url}/v1/{task}", content=request)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise StartupError(
                f"{self._url!r} is not a valid URL. Give the server's, for example http://127.0.0.1:8787."
            ) from error
        except httpx2.TransportError as error:
            raise _Unreachable(f"{self._url} can't be reached ({str(error) or type(error).__name__}).") from error
        asked = response.headers.get("Retry-After", "")
        return Reply(response.status_code, _object(response.content), int(asked) if asked.isdecimal() else 0)


def _object(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
