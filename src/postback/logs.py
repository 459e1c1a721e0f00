"""The server's log, on standard error: one line a record, as text or as JSON.

An exception is logged as its type and its frames. Its message is left out unless it is one of ours or the operating
system's, because the messages of parsers and databases quote the data that they were given. So are exceptions that a
library logs as a message, or as an argument of one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import logging.config
import re
import time
import traceback
from asyncio import AbstractEventLoop
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Literal, TextIO

import msgspec

from postback.errors import PostbackError, StartupError

__all__ = [
    "GatheredLines",
    "JsonFormatter",
    "LogFields",
    "RequestContext",
    "TextFormatter",
    "bind_shared",
    "configure",
    "current_request",
    "log_loop_exception",
]

_QUIET = ("alembic", "httpcore", "httpcore2", "httpx2", "mcp", "sqlalchemy", "urllib3")
"""Libraries whose debug and info records are noise, or may quote payloads."""

_SILENT = ("clickhouse_connect", "urllib3.connectionpool")
"""Libraries that warn of each failed attempt, which whoever calls them logs in our words."""


_GATHERED_SECONDS = 0.1
_GATHERED_LINES = 1_000


class RequestContext(msgspec.Struct):
    """What every line that is logged during a request carries.

    Attributes:
        request_id: Identifies the request in the log and in its response.
        key_id: The API key that was used; empty until it is known.
    """

    request_id: str
    key_id: str = ""


current_request: ContextVar[RequestContext | None] = ContextVar("postback.current_request", default=None)
"""The request that the running code works for. ``asyncio.to_thread`` and new tasks inherit it; a thread pool doesn't,
unless it is given ``copy_context().run``."""


def bind_shared(requests: Iterable[RequestContext | None]) -> None:
    """Bind the one request that asked for some work; none when several requests share it, as they share an insert."""
    first, *others = requests
    current_request.set(None if any(other is not first for other in others) else first)


class LogFields(msgspec.Struct):
    """A log message that has fields: JSON lines show each of them, text lines show ``str()`` of it.

    Attributes:
        message: What happened, in a few words.
    """

    message: str


def configure(level: str, line_format: Literal["text", "json"]) -> None:
    """Send every record from ``level`` (a name, for example ``info``) up to standard error."""
    # Nobody reads these, and to look them up takes a third of a record's time.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    formatter = JsonFormatter if line_format == "json" else TextFormatter
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"()": formatter}},
            "handlers": {"stderr": {"()": GatheredLines, "formatter": "line"}},
            "root": {"level": level.upper(), "handlers": ["stderr"]},
            "loggers": {name: {"level": "WARNING"} for name in _QUIET} | {name: {"level": "ERROR"} for name in _SILENT},
        }
    )


def log_loop_exception(_: AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what no task awaits, for ``loop.set_exception_handler``: asyncio's own handler quotes arguments."""
    what = re.split(r"\s*[<({]", str(context.get("message") or "Unhandled exception in event loop"))[0]
    logging.getLogger("asyncio").error("%s", what, exc_info=context.get("exception"))


class GatheredLines(logging.StreamHandler[TextIO]):
    """Writes the lines of a stream together: one that the event loop logs waits for others, at most 0.1 s.

    A system call for each line takes longer than all else about it, and lets other threads keep the event loop waiting.
    A warning or worse waits for nothing, nor does what another thread logs.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or have it written with those that follow."""
        try:
            self._lines.append(self.format(record) + self.terminator)
            loop = _running_loop() if record.levelno < logging.WARNING else None
            if loop is None or len(self._lines) >= _GATHERED_LINES:
                self.flush()
            elif len(self._lines) == 1:
                loop.call_later(_GATHERED_SECONDS, self.flush)
        except Exception:  # as StreamHandler does: a log that fails stops nobody
            self.handleError(record)

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            lines, self._lines = self._lines, []
            if lines:
                self.stream.write("".join(lines))
            super().flush()
        finally:
            self.release()


def _running_loop() -> AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class TextFormatter(logging.Formatter):
    """``2026-01-15T14:30:00Z INFO postback.access message key=key_1 request=4f1c``, then an exception's frames."""

    def __init__(self) -> None:
        super().__init__()
        self._clock = _Clock()

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line, and more only for frames."""
        line = f"{self._clock.second(record.created)}Z {record.levelname} {record.name} {_message(record)}"
        if request := current_request.get():
            line += f" key={request.key_id or '-'} request={request.request_id}"
        frames = _exception(record)
        return f"{line}\n{frames}" if frames else line


class JsonFormatter(logging.Formatter):
    """One JSON object a record, in ASCII: time, level, logger, message, request_id, key_id, and a message's fields."""

    def __init__(self) -> None:
        super().__init__()
        self._clock = _Clock()

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line without a line feed in it."""
        line: dict[str, object] = {
            "time": f"{self._clock.second(record.created)}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
        }
        if isinstance(record.msg, LogFields):
            line |= msgspec.structs.asdict(record.msg)
        else:
            line["message"] = _message(record)
        if request := current_request.get():
            line["request_id"] = request.request_id
            if request.key_id:
                line["key_id"] = request.key_id
        if frames := _exception(record):
            line["exception"] = frames
        return _ascii_json(line)


class _Clock:
    """UTC as text; seconds are formatted once, since many lines share one."""

    def __init__(self) -> None:
        self._last = (-1, "")

    def second(self, created: float) -> str:
        number, text = self._last
        if number != int(created):
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
            self._last = int(created), text
        return text


def _ascii_json(line: dict[str, object]) -> str:
    try:
        text = msgspec.json.encode(line).decode()
    except UnicodeEncodeError:  # half a surrogate pair
        return json.dumps(line)
    return text if text.isascii() else json.dumps(line)


def _message(record: logging.LogRecord) -> str:
    """The record's message; an exception in it is shown without what it quotes."""
    if not record.args:
        return _shown(record.msg)
    arguments = record.args
    if isinstance(arguments, tuple):
        arguments = tuple(_name(value) if isinstance(value, BaseException) else value for value in arguments)
    else:
        arguments = {k: _name(value) if isinstance(value, BaseException) else value for k, value in arguments.items()}
    try:
        return str(record.msg) % arguments
    except (TypeError, ValueError, KeyError):
        return str(record.msg)  # a library's mistake; logging would print the arguments in a traceback


def _shown(message: object) -> str:
    return _name(message) if isinstance(message, BaseException) else str(message)


def _exception(record: logging.LogRecord) -> str:
    shown = [_frames(record.exc_info[1])] if record.exc_info and record.exc_info[1] else []
    return "\n".join([*shown, record.stack_info] if record.stack_info else shown)


def _frames(error: BaseException) -> str:
    inner = [error.__cause__ or error.__context__]
    if isinstance(error, BaseExceptionGroup):
        inner += error.exceptions
    causes = "".join(f"{_frames(cause)}\nwhich led to:\n" for cause in inner if cause)
    return causes + "".join(traceback.format_tb(error.__traceback__)) + _name(error)


def _name(error: BaseException) -> str:
    name = type(error).__qualname__
    if isinstance(error, PostbackError | StartupError):
        return f"{name}: {error}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    return name
