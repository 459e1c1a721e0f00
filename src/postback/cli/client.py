"""Calls to a Postback server over HTTP, repeated while that may help."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx2
import msgspec

from postback.errors import StartupError

__all__ = ["Client", "Reply"]

_ATTEMPTS = 8
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
_TIMEOUT_S = 60.0
_WORTH_REPEATING = frozenset({429, 500, 502, 503, 504})


class Reply(msgspec.Struct, frozen=True):
    """What the server answered.

    Attributes:
        status: The HTTP status.
        body: The JSON object; empty when the answer was something else.
        retry_after: Seconds that the server asks to wait; 0 when it doesn't.
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
        return {"message": f"HTTP {self.status} without a reason: is the URL that of a Postback server?"}


class _Unreachable(StartupError):
    """The server doesn't answer; it may a moment later."""


class Client:
    """A caller with a key.

    Args:
        url: The server's, as ``http://127.0.0.1:8787``.
        key: The API key.
        waiting: Told why, each time before a call is repeated.
    """

    def __init__(self, url: str, key: str, waiting: Callable[[str], None]) -> None:
        if not (key.isascii() and key.isprintable()):
            raise StartupError("The key holds characters that no API key has. Copy it again.")
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
        """Call a task, and again after ever longer pauses while the server can't be reached or asks to wait.

        The request holds its idempotency key, so it takes effect once however often it is sent.

        Raises:
            StartupError: The server was out of reach every time, or the URL isn't one.
        """
        for attempt in range(_ATTEMPTS - 1):
            try:
                reply = self._post(task, request)
                if reply.status not in _WORTH_REPEATING:
                    return reply
                asked, why = reply.retry_after, f"The server answers HTTP {reply.status}."
            except _Unreachable as error:
                asked, why = 0, str(error)
            # A random share of a doubling bound spreads the callers that were refused together.
            pause = asked + random.uniform(0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt))  # noqa: S311
            self._waiting(f"{why} Trying again in {pause:.1f} s.")
            time.sleep(pause)
        return self._post(task, request)

    def _post(self, task: str, request: bytes) -> Reply:
        try:
            response = self._http.post(f"{self._url}/v1/{task}", content=request)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise StartupError(f"{self._url!r} is not a server's URL; an example is http://127.0.0.1:8787.") from error
        except httpx2.TransportError as error:
            raise _Unreachable(f"{self._url} can't be reached ({str(error) or type(error).__name__}).") from error
        asked = response.headers.get("Retry-After", "")
        return Reply(response.status_code, _object(response.content), int(asked) if asked.isdecimal() else 0)


def _object(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
