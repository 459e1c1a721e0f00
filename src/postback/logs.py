"""The server's log: one line of text a record, on standard error.

An exception is logged as its type and its frames. Its message is left out unless it is one of ours or the operating
system's, because the messages of parsers and databases quote what they were given.
"""

from __future__ import annotations

import logging
import logging.config
import time
import traceback
from types import TracebackType

from postback.errors import PostbackError, StartupError

__all__ = ["LineFormatter", "configure"]

_QUIET = ("alembic", "clickhouse_connect", "httpcore", "httpcore2", "httpx2", "mcp", "sqlalchemy", "urllib3")
"""Libraries whose debug and info records are noise, or may quote payloads."""


def configure(level: str) -> None:
    """Send every record from ``level`` (a name, as ``info``) up to standard error."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"()": LineFormatter}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "root": {"level": level.upper(), "handlers": ["stderr"]},
            "loggers": {name: {"level": "WARNING"} for name in _QUIET},
        }
    )


class LineFormatter(logging.Formatter):
    """``2026-01-15T14:30:00Z INFO postback.access message``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime

    def formatException(  # noqa: N802 - the name is logging's
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """Format an exception and its causes without what they quote."""
        return _frames(ei[1]) if ei[1] else ""


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
